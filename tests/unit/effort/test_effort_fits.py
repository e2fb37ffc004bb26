"""Weights and learning curves are found again where the truth is known, and nothing is said without evidence."""

from datetime import UTC, datetime

import numpy as np
import pytest

from infra.effort.counts import DEFAULT_WEIGHTS
from infra.effort.edits import Kind
from infra.effort.weights import Timed, fit_weights
from shared.state.learning_curve import Curve, curve_of
from shared.state.versions import Gate, Manifest

TRUE = {"moved": 0.7, "relabelled": 0.15, "deleted": 0.35}


def annotators(count: int, *, pauses: float = 0.1, seed: int = 0) -> list[Timed]:
    """Three people who differ in speed, on 8 objects an image, with times that spread by a third and pauses."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        objects = int(random.poisson(8))
        found = int(random.binomial(objects, random.uniform(0.3, 0.9))) if random.random() < 0.85 else 0
        kept = int(random.binomial(found, 0.5))
        relabelled = int(random.binomial(found - kept, 0.25))
        moved, deleted, added = found - kept - relabelled, int(random.poisson(0.25 * found)), objects - found
        whose = int(random.integers(3))
        work = TRUE["moved"] * moved + TRUE["relabelled"] * relabelled + TRUE["deleted"] * deleted + added
        seconds = (0.6, 1.0, 1.7)[whose] * (4 + 0.3 * kept + 6 * work) * np.exp(random.normal(0, 0.3))
        seconds += random.exponential(300) * (random.random() < pauses)
        edits: dict[Kind, int] = {"kept": kept, "moved": moved, "relabelled": relabelled}
        rows.append(Timed(whose, float(seconds), edits | {"deleted": deleted, "added": added}))
    return rows


@pytest.mark.parametrize("pauses", [0.0, 0.2])
def test_the_weights_of_simulated_annotators_are_found(pauses: float) -> None:
    fit = fit_weights(annotators(1000, pauses=pauses))
    assert set(fit.fitted) == set(TRUE), fit.why
    for name, true in TRUE.items():
        assert getattr(fit.weights, name) == pytest.approx(true, abs=0.1), name
    assert fit.seconds == pytest.approx(6, rel=0.2)


def test_too_little_evidence_leaves_the_usual_weights() -> None:
    assert fit_weights(annotators(100)).weights == DEFAULT_WEIGHTS
    assert "150 would tell" in fit_weights(annotators(100)).why
    spread = [
        one._replace(seconds=float(np.random.default_rng(place).exponential(60)))
        for place, one in enumerate(annotators(200))
    ]
    assert fit_weights(spread).weights == DEFAULT_WEIGHTS, "times that have nothing to do with the work"
    nothing_relabelled = [one._replace(edits={**one.edits, "relabelled": 0}) for one in annotators(1000)]
    fit = fit_weights(nothing_relabelled)
    assert fit.weights.relabelled == DEFAULT_WEIGHTS.relabelled
    assert "but relabelled" in fit.why


def manifest(version: int, tasks: int, value: float, *, metric: str = "mAP50-95", passed: bool = True) -> Manifest:
    return Manifest(
        version=version,
        control="label",
        yolo_task="detect",
        labels=("Tree",),
        files=(),
        metrics={metric: value},
        gate=Gate(
            metric=metric, challenger=value, champion=None, champion_version=None, tasks=tasks // 5,
            things=tasks, passed=passed, reason="",
        ),
        lineage={"tasks": {"train": tasks - tasks // 5, "val": tasks // 5}},
        run_id=f"r{version}",
        fence=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def known(curve: Curve | None) -> Curve:
    assert curve is not None
    return curve


def test_three_versions_say_nothing() -> None:
    curve = known(curve_of("label", [manifest(n, 20 * n, 0.3 + 0.05 * n) for n in (1, 2, 3)]))
    assert curve.gain() is None
    assert "not known yet" in curve.sentence()
    assert "the store has 3" in curve.sentence()
    same = [manifest(n, 40, 0.4) for n in range(1, 7)]
    assert known(curve_of("label", same)).gain() is None, "all from the same number of tasks"
    assert curve_of("label", []) is None


def test_another_metric_is_another_curve() -> None:
    older = [manifest(n, 20 * n, 0.3, metric="IDF1") for n in range(1, 5)]
    assert [point.version for point in known(curve_of("label", [*older, manifest(5, 200, 0.5)])).points] == [5]


def test_the_next_labels_are_worth_it_while_the_curve_rises_and_not_where_it_is_flat() -> None:
    rising = [manifest(n, tasks, 0.9 - 1.2 * tasks**-0.25) for n, tasks in enumerate((40, 80, 160, 320, 640), 1)]
    curve = known(curve_of("label", rising[:4]))
    low, _, high = curve.gain() or (0, 0, 0)
    assert low <= 1.2 * (320**-0.25 - 420**-0.25) <= high
    assert "are worth it" in curve.sentence()
    flat = [manifest(n, tasks, 0.7 - 2 / tasks) for n, tasks in enumerate((100, 500, 2000, 4000, 8000), 1)]
    assert "hardly worth it" in known(curve_of("label", flat)).sentence()
    few = [
        manifest(n, tasks, value) for n, (tasks, value) in enumerate([(20, 0.5), (22, 0.3), (25, 0.55), (30, 0.5)], 1)
    ]
    assert "it is not clear" in known(curve_of("label", few)).sentence()


@pytest.mark.parametrize("value", [-5.0, 1.5, float("nan"), float("inf")])
def test_a_metric_out_of_range_is_no_point(value: float) -> None:
    rising = [manifest(n, 20 * n, 0.3 + 0.05 * n) for n in range(1, 6)]
    curve = known(curve_of("label", [*rising[:2], manifest(3, 60, value), *rising[3:]]))
    assert [point.version for point in curve.points] == [1, 2, 4, 5]
    assert curve.gain() is not None
