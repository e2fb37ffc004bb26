"""Which annotations are worth a look: errors planted in real annotations, and each kind by itself."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from jobs.train.evidence import Classified, Outcome
from jobs.train.suspects import Dispute, disputed_choices, disputes
from jobs.train.yolo.overlaps import box_overlaps
from tests.samples.planted import KINDS, drawn, hits_among, outcomes, plant, recorded

FIRST = 20
TREE, ROCK = 0, 1


def test_errors_planted_in_real_annotations_are_among_the_first() -> None:
    """Of real models of few images, each asked about images that it was not trained on."""
    labels, pictures = recorded()
    listed, right, planted, found = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for fold in sorted({one["fold"] for one in pictures}):
        judged = [one for one in pictures if one["fold"] == fold]
        for seed in range(5):
            spoilt, errors = plant(drawn(judged), len(labels), np.random.default_rng(seed))
            first = disputes(outcomes(judged, spoilt), range(len(labels)))[:FIRST]
            hits = hits_among(first, errors, judged)
            listed.update(one.kind for one in first)
            right.update(one.kind for one, hit in zip(first, hits, strict=True) if hit is not None)
            planted.update(error.kind for error in errors)
            found.update(errors[hit].kind for hit in set(hits) if hit is not None)
    precision, recall = right.total() / listed.total(), found.total() / planted.total()
    print(f"of the first {FIRST}: precision {precision:.0%}, recall {recall:.0%}")
    print({kind: f"{found[kind]} of {planted[kind]} found" for kind in KINDS})
    assert precision > 0.48
    assert recall > 0.48
    assert found["swapped"] / planted["swapped"] > 0.8
    assert min(found[kind] / planted[kind] for kind in KINDS) > 0.2, "no kind is left out"


def picture(
    truth: Sequence[tuple[int, Sequence[float]]], found: Sequence[tuple[int, float, Sequence[float]]]
) -> Outcome:
    """One of 100 × 100 pixels; boxes xyxy."""
    boxes = np.array([box for *_, box in found], dtype=np.float64).reshape(-1, 4)
    annotated = np.array([box for _, box in truth], dtype=np.float64).reshape(-1, 4)
    return Outcome(
        "1",
        np.array([class_ for class_, _ in truth], dtype=np.int64),
        np.array([class_ for class_, *_ in found], dtype=np.int64),
        np.array([score for _, score, _ in found], dtype=np.float64),
        box_overlaps(annotated, boxes),
        boxes,
        annotated=annotated,
        size=(100, 100),
    )


def ordinary(count: int = 40, score: float = 0.2) -> list[Outcome]:
    """Pictures in which a model that is never sure finds what is annotated."""
    boxes = [(10.0, 10.0, 40.0, 40.0), (50.0, 50.0, 90.0, 90.0)]
    return [
        picture(
            [(number % 2, box) for box in boxes],
            [(number % 2, score + number / 1000, (box[0] + 1, *box[1:])) for box in boxes],
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("score", [0.05, 0.9], ids=["a model that is seldom sure", "a sure model"])
@pytest.mark.parametrize(
    ("kind", "truth", "where"),
    [
        ("missing", [], (None, 0)),
        ("spurious", [(TREE, (10, 10, 40, 40)), (TREE, (60, 60, 90, 90))], (1, None)),
        ("swapped", [(ROCK, (10, 10, 40, 40))], (0, 0)),
        ("loose", [(TREE, (22, 10, 55, 40))], (0, 0)),
    ],
)
def test_each_kind(
    kind: str, score: float, truth: list[tuple[int, tuple[float, ...]]], where: tuple[int | None, int | None]
) -> None:
    odd = picture(truth, [(TREE, score + 0.05, (10, 10, 40, 40))])
    first, *_ = disputes([*ordinary(score=score), odd], [TREE, ROCK])
    assert (first.kind, first.picture, first.annotated, first.found) == (kind, 40, *where)
    assert first.rarity > 0.95


def test_an_object_is_suspected_once_and_twins_are_one() -> None:
    odd = picture([(ROCK, (10, 10, 40, 40))], [(TREE, 0.3, (10, 10, 40, 40)), (TREE, 0.29, (11, 10, 40, 40))])
    lost = picture([], [(TREE, 0.3, (10, 10, 40, 40)), (TREE, 0.29, (11, 10, 40, 40)), (ROCK, 0.28, (10, 11, 40, 40))])
    found = disputes([*ordinary(), odd, lost], [TREE, ROCK])
    assert [(one.kind, one.found) for one in found if one.picture == 40] == [("swapped", 0)]
    assert [(one.kind, one.found) for one in found if one.picture == 41] == [("missing", 0)]


def test_nothing_is_said_without_anything_to_compare_with() -> None:
    assert disputes([], [TREE]) == []
    assert disputes(ordinary(), []) == []
    lost = picture([(TREE, (10, 10, 40, 40))], [])
    assert disputes([lost] * 10, [TREE]) == [], "a model that finds nothing knows nothing"
    unknown = picture([(ROCK, (10, 10, 40, 40))], [(TREE, 0.3, (10, 10, 40, 40))])
    assert [one for one in disputes([*ordinary(), unknown], [TREE]) if one.picture == 40] == [], "it knows no rocks"


def test_what_is_as_usual_is_not_listed() -> None:
    assert disputes(ordinary(), [TREE, ROCK]) == []


def test_poses_are_compared_by_their_boxes() -> None:
    odd = picture([(TREE, (10, 10, 40, 40))], [(TREE, 0.3, (10, 10, 40, 40))])
    odd.overlap[:] = 0.0  # likeness of the points
    every = disputes([*ordinary(), odd], [TREE, ROCK], by_boxes=True)
    assert [one for one in every if one.picture == 40] == []


def choices(rows: Sequence[tuple[int, float]]) -> Classified:
    """(class, confidence of class 1) of each image."""
    chances = np.array([(1 - chance, chance) for _, chance in rows])
    truth = np.array([class_ for class_, _ in rows])[:, None] == np.arange(2)
    tasks = [str(number) for number in range(len(rows))]
    return Classified(tasks, truth, chances.argmax(axis=1), [0, 1], chances=chances)


def test_a_swapped_choice() -> None:
    rows = [(0, 0.2)] * 20 + [(1, 0.8)] * 20 + [(0, 0.85), (1, 0.45)]
    (one,) = disputed_choices(choices(rows), [0, 1])
    assert one == Dispute("swapped", one.severity, 40, 0, 1, one.rarity)
    assert disputed_choices(choices(rows), [0]) == [], "a model of one class cannot tell"
