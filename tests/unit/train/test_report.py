"""The report of a version: what it counts, which pictures it shows, and that nothing from outside gets out of hand."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from jobs.train.data.dataset import Counts
from jobs.train.data.taken_up import Objects, TakenUp
from jobs.train.evidence import Classified, Found, Outcome
from jobs.train.gate import Samples
from jobs.train.report import charts, scenes
from jobs.train.report.changes import Changes
from jobs.train.report.choosing import choose
from jobs.train.report.matching import class_rows, confusion, curve, matches
from jobs.train.report.page import MAX_BYTES, Report
from jobs.train.report.verdict import verdict_of
from jobs.train.shown_choice import kept
from jobs.train.tracking_scores import Trajectories
from jobs.train.training import Seen
from shared.geometry.detections import Detections, Floats
from shared.state.versions import DEFAULT_SHOWN, Gate, Manifest, Shown
from tests.fakes.train_parts import found_part

NAMES = ("Tree", "Rock")
SHOWN = dict.fromkeys(range(2), DEFAULT_SHOWN)
BOX = np.array([0.0, 0.0, 10.0, 10.0])
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script>\u202eevil'


def outcome(number: int, truth: list[int], found: list[tuple[int, float, list[float]]]) -> Outcome:
    """`found`: class, confidence, and overlap with each annotated object; no two overlap one another."""
    boxes = np.array([BOX + 20 * place for place in range(len(found))]).reshape(-1, 4)
    return Outcome(
        str(number),
        np.array(truth, dtype=np.int64),
        np.array([class_ for class_, _, _ in found], dtype=np.int64),
        np.array([score for _, score, _ in found]),
        np.array([overlap for _, _, overlap in found]).reshape(len(found), len(truth)).T,
        boxes,
        picture=f"{number}.jpg",
    )


RIGHT = outcome(1, [0], [(0, 0.9, [0.95])])
LOOSE = outcome(2, [0], [(0, 0.9, [0.6])])
SWAPPED = outcome(3, [0, 1], [(1, 0.9, [0.9, 0.0]), (0, 0.8, [0.0, 0.0]), (1, 0.1, [0.0, 0.9])])
MISSED = outcome(4, [1], [])


def test_what_is_shown_is_matched_with_what_is_annotated() -> None:
    shown = SWAPPED.only(kept(SWAPPED, SHOWN))
    assert len(shown.found) == 2, "one is too unsure to be shown"
    assert matches(shown, same_class=True).tolist() == [-1, -1]
    assert matches(shown, same_class=False).tolist() == [0, -1]
    assert kept(SWAPPED, {0: DEFAULT_SHOWN}).tolist() == [False, True, False], (
        "classes without thresholds are not shown"
    )
    near = Outcome("1", RIGHT.truth, np.zeros(2, np.int64), np.array([0.9, 0.8]), np.ones((1, 2)), np.stack([BOX, BOX]))
    assert kept(near, SHOWN).tolist() == [True, False], "of two that overlap one is hidden"


def test_each_label_has_its_numbers() -> None:
    evidence = Found([RIGHT, LOOSE, SWAPPED, MISSED], range(2))
    tree, rock = class_rows(evidence, SHOWN, (0, 1))
    assert (tree.annotated, tree.images, tree.found, tree.precision, tree.recall) == (3, 3, 3, 2 / 3, 2 / 3)
    assert (rock.annotated, rock.images, rock.found, rock.precision, rock.recall) == (2, 2, 1, 0.0, 0.0)
    table = confusion(evidence, SHOWN, 2)
    assert table is not None
    assert table.tolist() == [[2, 1, 0], [0, 0, 2], [1, 0, 0]]
    points = curve(evidence, (0, 1))
    assert points[-1].tolist() == [3 / 5, 3 / 5], "found at any confidence, as the average precision counts"
    assert (np.diff(points[:, 0]) >= 0).all()
    assert curve(Found([], range(2)), (0, 1)).shape == (0, 2)
    (alone,) = class_rows(Found([RIGHT], range(2)), SHOWN, (1,))
    assert (alone.annotated, alone.precision, alone.recall, alone.score) == (0, None, None, None)


def test_guesses_are_counted_by_image() -> None:
    truth = np.array([[True, False], [True, False], [False, True], [True, True]])
    evidence = Classified(
        ["1", "2", "3", "4"], truth, np.array([0, 1, -1, 1]), (0, 1), ["a/1.png", "a/2.png", "b/3.png"]
    )
    table = confusion(evidence, {}, 2)
    assert table is not None
    assert table.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    rows = class_rows(evidence, {}, (0, 1))
    assert [(row.annotated, row.found, row.precision) for row in rows] == [(3, 1, 1.0), (2, 2, 0.5)]


def evidence(*outcomes: Outcome) -> Found:
    return Found(outcomes, range(2))


def at(number: int, one: Outcome) -> Outcome:
    found = zip(one.found.tolist(), one.scores.tolist(), one.overlap.T.tolist(), strict=True)
    return outcome(number, one.truth.tolist(), list(found))


def test_pictures_are_chosen_where_both_differ_most_for_better_or_worse() -> None:
    ours = evidence(at(1, RIGHT), at(2, MISSED), at(3, LOOSE), at(4, RIGHT), at(5, SWAPPED))
    empty = outcome(5, [0, 1], [])
    theirs = evidence(at(1, RIGHT), outcome(2, [1], [(1, 0.9, [0.9])]), outcome(3, [0], []), at(4, LOOSE), empty)
    choice = choose(ours, SHOWN, theirs, SHOWN, (0, 1))
    said = [(each.task, each.work, each.before) for each in choice.different]
    assert said == [("2", 1.0, 0.0), ("3", 0.5, 1.0), ("4", 0.0, 0.5), ("5", 2.4, 2.0)]
    assert (choice.better, choice.worse, choice.pictures) == (2, 2, 5)
    assert not choice.worst, "all that are bad are among those that differ"
    same = choose(ours, SHOWN, ours, SHOWN, (0, 1))
    assert (same.different, [each.task for each in same.worst]) == ((), ["5", "2", "3"])


def test_frames_of_many_videos_are_shown_before_more_of_one() -> None:
    frames = [replace(at(number, MISSED), task="long", picture=f"long-{number}.jpg") for number in range(20)]
    others = [at(number, LOOSE) for number in (31, 32)]
    every = Found([*frames, *others], range(2))
    right = Found([replace(at(1, RIGHT), truth=each.truth, found=each.truth, task=each.task, picture=each.picture)
                   for each in every.outcomes], range(2))  # fmt: skip
    choice = choose(every, SHOWN, right, SHOWN, (0, 1))
    assert [each.task for each in choice.different] == ["long"] * 4 + ["31", "32"]


def test_without_a_champion_pictures_are_spread_from_the_best_to_the_worst() -> None:
    many = [at(number, (RIGHT, LOOSE, MISSED)[number % 3]) for number in range(1, 31)]
    choice = choose(Found(many, range(2)), SHOWN, None, {}, (0, 1))
    work = [each.work for each in choice.different]
    assert len(work) == 6
    assert (work[0], work[-1]) == (0.0, 1.0)
    assert work == sorted(work)
    assert {each.work for each in choice.worst} == {1.0}
    assert not {each.picture for each in choice.worst} & {each.picture for each in choice.different}
    assert not choose(found_part(0.5), {0: DEFAULT_SHOWN}, None, {}, (0,)).different, "evidence without pictures"


def test_guesses_differ_where_one_is_right() -> None:
    truth = np.eye(2, dtype=np.bool_)[[0, 1, 0]]
    files = ["class000000/7.png", "class000001/8-1.png", "class000000/9.png"]
    ours = Classified(["7", "8", "9"], truth, np.array([0, 0, 1]), (0, 1), files)
    theirs = Classified(["7", "8", "9"], truth, np.array([0, 1, 1]), (0, 1), files)
    choice = choose(ours, {}, theirs, {}, (0, 1))
    assert [(each.task, each.work, each.before) for each in choice.different] == [("8", 1.0, 0.0)]
    assert [each.task for each in choice.worst] == ["9"]


def test_the_worst_guesses_are_the_surest_wrong_ones() -> None:
    truth = np.eye(2, dtype=np.bool_)[[0, 1, 0, 1]]
    files = [f"class000000/{number}.png" for number in range(4)]
    chances = np.array([[0.45, 0.55], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    ours = Classified(list("0123"), truth, chances.argmax(axis=1), (0, 1), files, chances)
    same = Classified(list("0123"), truth, chances.argmax(axis=1), (0, 1), files, chances)
    assert [each.task for each in choose(ours, {}, same, {}, (0, 1)).worst] == ["1", "2", "0"]
    other = Classified(list("0123"), truth, 1 - chances.argmax(axis=1), (0, 1), files, chances[:, ::-1])
    assert [each.task for each in choose(ours, {}, other, {}, (0, 1)).different] == ["1", "2", "3", "0"]
    spread = choose(ours, {}, None, {}, (0, 1)).different
    assert [each.task for each in spread] == ["3", "0", "2", "1"]


def noise(folder: Path, width: int = 900, height: int = 700) -> Path:
    path = folder / "noise.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    return path


def crowd(count: int, **more: object) -> Detections:
    corners = np.random.default_rng(1).uniform(0, 600, (count, 2))
    boxes = np.hstack([corners, corners + 50])
    return Detections.annotated(900, 700, boxes, np.arange(count) % 2, NAMES, **more)


def seen_in(file: Path, objects: Detections) -> Seen:
    overlap = np.eye(len(objects))
    scored = np.linspace(1, 0.3, len(objects), dtype=np.float64)
    found = replace(objects, scores=scored)
    one = Outcome("1", objects.classes, objects.classes, scored, overlap, objects.xyxy, picture=file.name)
    return Seen(file, objects, found, one)


ROTATED = np.array([[450.0, 350.0, 90.0, 70.0, 0.5]])
RING = np.array([[0.0, 0.0], [90.0, 0.0], [90.0, 70.0]])
HOLE = np.array([[10.0, 10.0], [20.0, 10.0], [20.0, 20.0]])
POINTS = np.array([[[90.0, 70.0, 1.0], [180.0, 140.0, 1.0], [0.0, 0.0, 0.0]]])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, r"M[\d. L]+Z", id="a box"),
        pytest.param({"rotated": ROTATED}, r"M[\d. L]+Z", id="a rotated box"),
        pytest.param({"outlines": ((RING, HOLE),)}, r"M0 0L44.8 0L44.8 34.8ZM[\d. L]+Z", id="an outline with a hole"),
        pytest.param(
            {"keypoints": POINTS}, r"M[\d. L]+ZM[\d. ]+a3[-\d. a]+ZM[\d. L]+Z", id="points, one of them missing"
        ),
    ],
)
def test_every_shape_is_drawn_to_scale(tmp_path: Path, more: dict[str, object], expected: str) -> None:
    seen = seen_in(noise(tmp_path), crowd(1, **more))
    copy = scenes.small_copy(seen.picture, 10**6)
    (style, path), *_ = scenes.label_panel(seen, copy, NAMES, ("thing", "things")).drawn
    assert re.fullmatch(expected, path), path
    assert style == ("label area" if "outlines" in more else "label")
    panel = scenes.found_panel(seen, copy, NAMES, "v2", SHOWN)
    assert (panel.says, panel.tone) == ("1 right", "good")
    assert panel.names[0][2] == "Tree 100%"


def test_a_picture_says_what_is_right_loose_wrong_and_missed(tmp_path: Path) -> None:
    file = noise(tmp_path)
    copy = scenes.small_copy(file, 10**6)
    for one, says in ((RIGHT, "1 right"), (LOOSE, "1 loose"), (SWAPPED, "2 wrong, 2 missed"), (MISSED, "1 missed")):
        found = crowd(len(one.found))
        found = Detections(900, 700, found.xyxy, one.scores, one.found, NAMES)
        truth = Detections.annotated(900, 700, crowd(len(one.truth)).xyxy, one.truth, NAMES)
        panel = scenes.found_panel(Seen(file, truth, found, one), copy, NAMES, "v2", SHOWN)
        assert (panel.says, panel.tone) == (says, "good" if one is RIGHT else "bad")
    empty = Seen(file, crowd(0), crowd(0), outcome(1, [], []))
    assert scenes.found_panel(empty, copy, NAMES, "v2", SHOWN).says == "nothing"


def test_pictures_and_what_is_drawn_over_them_are_bounded(tmp_path: Path) -> None:
    ring = np.random.default_rng(2).uniform(0, 700, (5000, 2))
    seen = seen_in(noise(tmp_path, 4000, 3000), crowd(900, outlines=((ring,),) * 900))
    copy = scenes.small_copy(seen.picture, 10**8)
    assert len(copy.uri) < 82_000
    panel = scenes.found_panel(seen, copy, NAMES, "v2", SHOWN)
    assert sum(len(path) for _, path in panel.drawn) <= 20_000
    assert "not drawn" in panel.says
    trajectories = Trajectories({number: [(frame, 0.5, 0.5) for frame in range(300)] for number in range(2000)})
    assert sum(len(path) for _, path in scenes.trajectories_panel(trajectories, copy, "v2", "").drawn) <= 20_000


def gate(**more: object) -> Gate:
    standard = {
        "metric": "mAP50-95", "challenger": 0.5, "champion": 0.4, "champion_version": 1, "against": "v1", "worse": 0.03,
        "interval": (0.45, 0.55), "gain": (0.02, 0.18), "tasks": 40, "things": 300, "passed": True, "reason": "better",
    }  # fmt: skip
    return Gate.model_validate(standard | more)


def version(gate: Gate, name: str = "label", labels: tuple[str, ...] = NAMES) -> Manifest:
    return Manifest(
        version=2, control=name, yolo_task="detect", labels=labels, files=(), metrics={"mAP50-95": 0.5, "saved": 0.3},
        gate=gate, lineage={"seconds": 738, "price_per_hour": "0.80 EUR"}, run_id="run-1", fence=1, created_at=MOMENT,
    )  # fmt: skip


def verdict(neither: bool = True, caveat: str = "", **more: object) -> list[str]:
    said = verdict_of(version(gate(**more)), [], NAMES, caveat=caveat, neither=neither)
    return [said.heading, said.sentence, said.sure, *said.cautions]


def test_the_first_sentence_says_only_what_the_gate_knows() -> None:
    heading, sentence, sure = verdict()
    assert (heading, sure) == ("v2 passed the gate: better than v1", "clear")
    assert "40 tasks with 300 boxes" in sentence
    assert "neither of them learnt from" in sentence
    assert "about 97 say" in sentence
    assert "promoted" not in heading + sentence, "somebody may roll back meanwhile"
    assert verdict(challenger=0.4)[0] == "v2 passed the gate: as good as v1"
    assert "held out from the training" in verdict(neither=False)[1]
    assert "neither" not in verdict(caveat="v1 may have seen it")[1]
    assert "V1 may have seen it." in verdict(caveat="v1 may have seen it")


def test_a_rejected_version_and_one_that_was_not_compared_say_so() -> None:
    heading, sentence, sure = verdict(passed=False, worse=0.9, reason="worse with a probability of 90%: …")
    assert (heading, sure) == ("v2 did not pass the gate: v1 stays", "likely")
    assert sentence == "Worse with a probability of 90%: …."
    heading, _, sure = verdict(champion=None, against=None, worse=None, gain=None)
    assert (heading, sure) == ("v2 passed the gate, compared with nothing", "not compared")
    assert verdict(worse=0.45)[2] == "too close to tell"
    alone = gate(against=None, champion=None, worse=None, reason="mAP50-95 0.4 on 4 tasks; not compared")
    said = verdict_of(version(alone), [], NAMES, caveat="", neither=True).sentence
    assert said == "mAP50-95 0.4 on 4 tasks; not compared.", "a metric's name keeps its letters"


def test_weak_evidence_is_named() -> None:
    assert any("val set is small (4 tasks" in said for said in verdict(tasks=4))
    assert verdict(tasks=4)[2] == "little evidence", "however alike the few tasks are"
    assert any("known to ±0.20" in said for said in verdict(gain=(-0.1, 0.3)))
    (alone,) = class_rows(Found([RIGHT], range(2)), SHOWN, (1,))
    said = verdict_of(version(gate()), [alone], NAMES, caveat="", neither=True)
    assert said.cautions == ("The val set holds nothing of Rock: nothing is known of that.",)


def test_the_interval_of_the_gate_is_that_of_the_samples() -> None:
    samples = Samples.of(found_part(0.6), found_part(0.5))
    assert samples.interval is not None
    assert samples.gain is not None
    assert 0.45 < samples.interval[0] < 0.55 < 0.65 < samples.interval[1] < 0.75
    assert 0.0 < samples.gain[0] < 0.1 < samples.gain[1] < 0.2
    assert Samples.of(found_part(0.6)).gain is None
    reach = charts.reach_of(-0.02, 0.18, 0.08)
    assert (reach.low, reach.high, reach.middle) == (45.0, 95.0, 70.0)


def report(folder: Path, name: str = HOSTILE, objects: int = 2) -> Report:
    seen = seen_in(noise(folder, 2000, 1500), crowd(objects))
    copy = scenes.small_copy(seen.picture, 10**7)
    names = (name, "Rock")
    panels = (
        scenes.label_panel(seen, copy, names, ("box", "boxes")),
        scenes.found_panel(seen, copy, names, "v1", SHOWN),
        scenes.found_panel(seen, copy, names, "v2", SHOWN),
    )
    scene = scenes.Scene(f"task 7 {name}", copy, panels, drawn=True)
    manifest = version(gate(reason=f"better {name}"), name, names)
    found = Found([RIGHT, LOOSE, SWAPPED, MISSED], range(2))
    rows = class_rows(found, SHOWN, (0, 1))
    counts = Counts(tasks=9, train=5, val=4, left_out=Counter({"broken": 1}), named=[(8, name)])
    points: Floats = curve(found, (0, 1))
    return Report(
        manifest=manifest,
        title=name,
        project_uid="1.1767225600",
        made_at=MOMENT,
        verdict=verdict_of(manifest, rows, names, caveat=name, neither=True),
        names=names,
        metrics=manifest.metrics,
        champion={"mAP50-95": 0.4},
        points=(),
        different=[scene] * 6,
        different_said="Of the 4 images …",
        worst=[scene] * 6,
        trajectories=[],
        changes=Changes("Tasks: 3 added.", ((name, "–", "5"),), ""),
        rows=rows,
        champion_rows={0: rows[0]},
        charts=[chart for chart in [charts.precision_recall([("v2", points), (name, points)])] if chart],
        confused=confusion(found, SHOWN, 2),
        counts=counts,
        skipped=1,
        shown={name: Shown(confidence=0.3, iou=0.5)},
        notes=(name,),
        taken_up=TakenUp("v1", 3, Objects(2, 2, 3)),
        minutes=12.3,
        attempts=2,
        lineage=[("base", name)],
        commands=[("Again:", f"labelloop retrain 2 --control={name}")],
        missing=(),
    )


def test_names_from_outside_stay_text_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = report(tmp_path).html()
    assert "<script" not in page
    assert "\u202e" not in page, "it would turn around the text after it"
    assert page.count("&lt;script&gt;") > 10
    assert not re.findall(r"""(?:src|href)=["'](?!data:image/webp;base64,|#)""", page)
    assert not re.findall(r"url\(|@import|https?:", page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) == set(ids)


def test_the_order_is_that_in_which_a_person_asks(tmp_path: Path) -> None:
    page = report(tmp_path, name="Tree").html()
    headings = re.findall(r"<h[12]>([^<]+)", page)
    assert [each.strip() for each in headings] == [
        "v2 passed the gate: better than v1", "Before and after", "The gate", "What changed since v1", "Each label",
        "Curves", "What is taken for what", "Where v2 is worst", "Effort", "Where it comes from",
    ]  # fmt: skip
    assert "labelloop retrain 2 --control=Tree" in page
    assert (
        "The run took 12 minutes of one machine up to here, in 2 attempts: at 0.80 EUR an hour that is 0.16 EUR."
        in page
    )


def test_a_report_stays_below_three_megabytes(tmp_path: Path) -> None:
    assert len(report(tmp_path, objects=300).html().encode()) < MAX_BYTES
    labels = tuple(f"label {number}" for number in range(2000))
    rows = class_rows(Found([RIGHT], range(2000)), SHOWN, tuple(range(2000)))
    made = report(tmp_path)
    fields = {name: getattr(made, name) for name in made.__slots__} | {"names": labels, "rows": rows}
    confused = np.ones((2001, 2001), dtype=np.int64)
    page = Report(**fields | {"confused": confused}).html()
    assert len(page.encode()) < MAX_BYTES
    assert "1940 labels more" in page
