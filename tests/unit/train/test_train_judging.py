"""What two models are compared by, with a toy trainer."""

from pathlib import Path

import numpy as np
import pytest

from jobs.train.data.dataset import Counts, Dataset
from jobs.train.evidence import Classified, Evidence
from jobs.train.judging import Judge, Judged, Rival
from jobs.train.tracking_scores import TrackingCounts
from jobs.train.training import Contender, Measured, TrainingSettings
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.settings import Settings
from tests.fakes.train_parts import CONFIG, ToyTrainer, found_part

[BOXES] = parse_label_config(CONFIG)
[CHOICES] = parse_label_config(
    '<View><Image name="img" value="$image"/><Choices name="kind" toName="img"><Choice value="Fine"/>'
    '<Choice value="Dent"/><Choice value="Scratch"/></Choices></View>'
)
[TRACKS] = parse_label_config(
    '<View><Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/>'
    '<Labels name="kind" toName="video"><Label value="Plane"/></Labels></View>'
)
NEW, OLD = "new", "v1"


class Found(ToyTrainer):
    """Finds what a test says."""

    def __init__(self, found: dict[str, Measured], counts: TrackingCounts | None = None) -> None:
        """`found`: name of a graph → what it finds. `counts`: of one video."""
        super().__init__()
        self.found, self.counts = found, counts

    def evaluate(self, contender: Contender, *_: object) -> Measured:
        """By the graph's name."""
        return self.found[contender.graph.stem]

    def track(self, *_: object) -> dict[str, TrackingCounts]:
        """One video."""
        return {"1": self.counts} if self.counts else {}


def judged(
    control: Control, ours: Evidence, theirs: Evidence, *, known: tuple[int, ...], counts: TrackingCounts | None = None
) -> Judged:
    """`known`: classes that the champion knows."""
    every = tuple(range(len(control.class_names)))
    judge = Judge(
        trainer=Found({NEW: Measured(ours, every), OLD: Measured(theirs, known)}, counts),
        control=control,
        settings=TrainingSettings.of({}, Settings()),
        dataset=Dataset(Path("data.yaml"), control.class_names, Counts()),
        videos=lambda: iter(()),
        max_pixels=10**6,
    )
    rival = Rival(OLD, 1, Path(f"{OLD}.onnx"), control.class_names, {})
    return judge.judge(Path(f"{NEW}.onnx"), rival, "", served=1)


def guesses(*guessed: int, truth: tuple[int, ...] = (0, 0, 1, 1, 2, 2)) -> Classified:
    """Classes of images of the classes `truth`."""
    table = np.array(truth)[:, None] == np.arange(3)
    return Classified([str(number) for number in range(len(truth))], table, np.array(guessed), range(3))


def test_tracks_are_compared_by_the_tracks() -> None:
    counts = TrackingCounts(truth=10, found=10, matched=5, identified=5)
    said = judged(TRACKS, found_part(0.6), found_part(0.4), known=(0,), counts=counts)
    assert (said.gate.metric, said.gate.challenger, said.metrics["IDF1"]) == ("IDF1", 0.5, 0.5)


@pytest.mark.parametrize("found", [0, 3])
def test_where_nothing_is_annotated_in_what_is_tracked_the_frames_are_compared(found: int) -> None:
    """Only the beginning of a video is tracked; its objects may come later."""
    said = judged(TRACKS, found_part(0.6), found_part(0.4), known=(0,), counts=TrackingCounts(found=found))
    scores = said.gate.challenger, said.gate.champion
    assert (said.gate.metric, *scores) == ("mAP50-95", pytest.approx(0.6), pytest.approx(0.4))
    assert said.gate.passed
    assert not {"IDF1", "MOTA"} & {*said.metrics, *said.champion}


def test_classes_that_both_know_are_compared() -> None:
    said = judged(CHOICES, guesses(0, 0, 1, 1, 2, 2), guesses(0, 0, 1, 0, 0, 0), known=(0, 1))
    assert (said.gate.passed, said.gate.challenger, said.gate.champion) == (True, 1.0, 0.75)


def test_a_label_that_became_two_is_learnt_though_the_champion_knows_one_of_the_classes() -> None:
    """By one class alone no classifier can be measured, however much is annotated."""
    said = judged(CHOICES, guesses(0, 0, 1, 1, 2, 0), guesses(0, 0, 0, 0, 0, 0), known=(0,))
    assert (said.gate.passed, said.gate.challenger) == (True, pytest.approx(5 / 6))
    assert "not compared: the val set holds too few of the labels that v1 knows" in said.gate.reason
    assert (said.gate.against, said.gate.champion, said.gate.champion_version, said.theirs) == (None, None, 1, None)


def test_a_champion_that_knows_only_a_label_that_nobody_gives_holds_nothing_back() -> None:
    """As base weights, which know `person`, where only others are annotated."""
    said = judged(BOXES, found_part(0.6), found_part(0.0), known=(1,))
    assert (said.gate.passed, said.gate.challenger) == (True, pytest.approx(0.6))
    assert "too few of the labels that v1 knows" in said.gate.reason


def test_what_cannot_be_measured_by_any_label_is_held_back() -> None:
    one = guesses(0, 0, truth=(0, 0))
    said = judged(CHOICES, one, one, known=(0, 1))
    assert not said.gate.passed
    assert "images of at least two classes are needed" in said.gate.reason
