"""What two models are compared by, with a toy trainer."""

import json
from pathlib import Path

import pytest

from jobs.train.data.dataset import Counts, Dataset
from jobs.train.judging import Judge, Judged, Rival
from jobs.train.tracking_scores import TrackingCounts
from jobs.train.training import TrainingSettings
from shared.labelstudio.config import parse_label_config
from shared.settings import Settings
from tests.fakes.train_parts import ToyTrainer

[TRACKS] = parse_label_config(
    '<View><Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/>'
    '<Labels name="kind" toName="video"><Label value="Plane"/></Labels></View>'
)


class Tracker(ToyTrainer):
    """Follows what a test says."""

    def __init__(self, counts: TrackingCounts) -> None:
        super().__init__()
        self.counts = counts

    def track(self, *_: object) -> dict[str, TrackingCounts]:
        """One video."""
        return {"1": self.counts}


def judged(counts: TrackingCounts, folder: Path) -> Judged:
    graph, older = folder / "new.onnx", folder / "v1.onnx"
    graph.write_text(json.dumps({"score": 0.6}))
    older.write_text(json.dumps({"score": 0.4}))
    judge = Judge(
        trainer=Tracker(counts),
        control=TRACKS,
        settings=TrainingSettings.of({}, Settings()),
        dataset=Dataset(folder / "data.yaml", ("Plane",), Counts()),
        videos=lambda: iter(()),
        max_pixels=10**6,
    )
    return judge.judge(graph, Rival("v1", 1, older, ("Plane",), {}), "", served=1)


def test_tracks_are_compared_by_the_tracks(tmp_path: Path) -> None:
    found = judged(TrackingCounts(truth=10, found=10, matched=5, identified=5), tmp_path)
    assert (found.gate.metric, found.gate.challenger, found.metrics["IDF1"]) == ("IDF1", 0.5, 0.5)


@pytest.mark.parametrize("found", [0, 3])
def test_where_nothing_is_annotated_in_what_is_tracked_the_frames_are_compared(found: int, tmp_path: Path) -> None:
    """Only the beginning of a video is tracked; its objects may come later."""
    said = judged(TrackingCounts(found=found), tmp_path)
    scores = said.gate.challenger, said.gate.champion
    assert (said.gate.metric, *scores) == ("mAP50-95", pytest.approx(0.6), pytest.approx(0.4))
    assert said.gate.passed
    assert not {"IDF1", "MOTA"} & {*said.metrics, *said.champion}
