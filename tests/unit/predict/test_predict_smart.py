"""A click and a rough box of an annotator become the shape of an object: the use case, with a model of ten lines."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from jobs.train.data.kept_regions import KeptRegions
from shared.errors import ImageError, LabelloopError, ModelError
from shared.geometry.detections import Detections, Floats, Ints, Outline
from shared.geometry.tiles import Tiling
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.items import without_labels
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.requests import PredictRequest
from shared.labelstudio.smart import control_of, drawn_values, read_gesture
from shared.media.decode import decode_for
from shared.media.fit import Side, Sized
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.ports import NotNow, Served
from shared.prediction.region_ids import is_smart
from shared.prediction.smart.drawing import SmartTools, drawn_boxes
from shared.prediction.smart.kept import Kept
from shared.settings import Settings
from tests.fakes.predict_parts import FAR, UID, FakeModel, boxes, jpeg, label_config

SETTINGS = Settings()
SMALL, LARGE = (8, 8, 16, 16), (4, 4, 40, 40)


@dataclass
class Pictures:
    """One picture for all addresses; an exception is raised. Keeps what was fetched."""

    file: bytes | Exception = field(default_factory=jpeg)
    fetched: list[object] = field(default_factory=list)

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        self.fetched.append(value)
        if isinstance(self.file, Exception):
            raise self.file
        return self.file


@dataclass
class OneModel:
    """The same model for every control, as version `version`."""

    model: FakeModel | LabelloopError
    version: str = "v1"

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        if isinstance(self.model, LabelloopError):
            raise self.model
        return Served(replace(self.model, yolo_task=control.yolo_task), self.version, trained=True)


def tools(models: OneModel, pictures: Pictures | None = None) -> SmartTools:
    metrics = Metrics()
    files = pictures or Pictures()

    def decode(data: bytes, side: Side) -> Sized:
        return decode_for(data, 10**6, side)

    images = TaskImages(files, decode, metrics, fetch_concurrency=2, decode_concurrency=2, pixels=10**6)
    return SmartTools(models, images, metrics)


def two_boxes(**more: Any) -> Detections:
    return replace(boxes((*SMALL, 0.03, 0), (*LARGE, 0.5, 1), names=("Bush", "Stone")), **more)


def point(x: float, y: float, *, positive: bool = True, label: str = "Tree") -> dict[str, Any]:
    """A click at pixels of the 64×48 picture."""
    value = {"x": x / 0.64, "y": y / 0.48, "width": 0.3, "keypointlabels": [label], "labels": [label]}
    return {"id": f"p{x}", "type": "keypointlabels", "from_name": "label_click", "to_name": "image", "value": value} | {
        "is_positive": positive
    }


def rough(x1: float, y1: float, x2: float, y2: float) -> dict[str, Any]:
    value: dict[str, Any] = {
        "x": x1 / 0.64,
        "y": y1 / 0.48,
        "width": (x2 - x1) / 0.64,
        "height": (y2 - y1) / 0.48,
        "rotation": 0,
    }
    value["rectanglelabels"] = ["Tree"]
    return {"id": "b", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value}


def ask(*items: object, config: str | None = None, picture: str = "a", drafts: object = None) -> PredictRequest:
    task = {"id": 1, "data": {"image": picture}, "drafts": drafts}
    params = {"context": {"result": list(items)}}
    return PredictRequest.model_validate(
        {"tasks": [task], "project": UID, "label_config": config or label_config(), "params": params}
    )


def drawn(ours: SmartTools, call: PredictRequest) -> tuple[float, ...]:
    """The upright box of the answer, in pixels; () for none."""
    answer = ours.draw(call, SETTINGS, FAR)
    if not answer:
        return ()
    assert isinstance(answer, dict)
    LabelInterface(call.label_config).validate_prediction(answer)
    value = answer["result"][0]["value"]
    left, top = value["x"] * 0.64, value["y"] * 0.48
    return tuple(np.round([left, top, left + value["width"] * 0.64, top + value["height"] * 0.48], 3))


def test_a_click_draws_the_smallest_with_the_chosen_label() -> None:
    model = FakeModel(finds=two_boxes())
    ours = tools(OneModel(model))
    answer = ours.draw(ask(point(10, 10)), SETTINGS, FAR)
    assert isinstance(answer, dict)
    (region,) = answer["result"]
    assert region["value"]["rectanglelabels"] == ["Tree"], "whatever the class is"
    assert (region["from_name"], region["type"], answer["model_version"]) == ("label", "rectanglelabels", "label:v1")
    assert is_smart(region["id"])
    assert drawn(ours, ask(point(10, 10))) == SMALL
    assert drawn(ours, ask(point(30, 30))) == LARGE
    assert drawn(ours, ask(point(10, 10), point(11, 11, positive=False))) == LARGE
    assert drawn(ours, ask(point(60, 45))) == ()
    assert model.confidences == [0.02], "looked at once"


def test_a_rectangle_that_was_drawn_without_a_label_gets_the_objects_own() -> None:
    config = (
        '<View><Image name="image" value="$image"/><Rectangle name="label" toName="image"/>'
        '<Labels name="kind" toName="image"><Label value="Tree"/><Label value="Stone"/></Labels></View>'
    )

    def labels(box: tuple[int, int, int, int], *chosen: str) -> list[str]:
        value = without_labels(rough(*box)["value"])
        shape = {"id": "b", "type": "rectangle", "from_name": "label", "to_name": "image", "value": value}
        named = shape | {"type": "labels", "from_name": "kind", "value": value | {"labels": list(chosen)}}
        call = ask(*([shape, named] if chosen else [shape]), config=config)
        answer = tools(OneModel(FakeModel(finds=two_boxes()))).draw(call, SETTINGS, FAR)
        assert isinstance(answer, dict)
        LabelInterface(config).validate_prediction(answer)
        assert len({item["id"] for item in answer["result"]}) == 1
        return [label for item in answer["result"] for label in item["value"].get("labels", [])]

    assert labels(LARGE, "Tree") == ["Tree"]
    assert labels(LARGE) == ["Stone"]
    assert labels(SMALL) == [], "the control has no Bush"
    assert labels((44, 40, 60, 46)) == [], "as it was drawn"


def test_what_a_draft_has_is_not_drawn_again() -> None:
    ours = tools(OneModel(FakeModel(finds=two_boxes())))
    older = {"updated_at": "2026-01-01", "result": [rough(*LARGE)]}
    newer = {"updated_at": "2026-01-02", "result": [rough(*SMALL), {"value": "x"}, 7]}
    assert drawn(ours, ask(point(10, 10), drafts=[newer, older, "x"])) == LARGE


def test_what_a_draft_has_in_another_picture_of_the_task_is_not_drawn_in_this_one() -> None:
    other = '<Image name="other" value="$other"/><RectangleLabels name="b" toName="other"><Label value="Tree"/>'
    config = label_config().replace("</View>", f"{other}</RectangleLabels></View>")
    there = rough(*SMALL) | {"from_name": "b", "to_name": "other"}
    ours = tools(OneModel(FakeModel(finds=two_boxes())))
    assert drawn(ours, ask(point(10, 10), config=config, drafts=[{"result": [there]}])) == SMALL
    nowhere = {key: value for key, value in rough(*SMALL).items() if key != "to_name"}
    assert drawn(ours, ask(point(10, 10), config=config, drafts=[{"result": [there, nowhere]}])) == LARGE


def test_of_many_masks_in_a_draft_the_newest_are_read() -> None:
    (control,) = parse_label_config(label_config().replace("RectangleLabels", "BrushLabels"))
    ring = np.array([(8, 8), (16, 8), (16, 16), (8, 16)], dtype=np.float64)
    masks = [
        CONTROLS["BrushLabels"].write(
            Detections.annotated(64, 48, [SMALL], [0], ("Tree",), outlines=((ring + right,),)), ["Tree"], control
        )[0]
        for right in range(5)
    ]
    draft = {"result": [masks[0], rough(*SMALL), *masks[1:]]}
    assert drawn_boxes([draft], "image", 64, 48, masked=3 * 64 * 48)[:, 0].round().tolist() == [12, 11, 10, 8]


def test_a_mask_that_takes_long_to_decode_is_not_read() -> None:
    """A run for each of a million words, where strokes have some thousands."""
    side = 500
    head = f"{side * side * 4:032b}{7:05b}" + "0000" * 4
    bits = head + "100011111111" * (side * side * 4)
    dust = {"format": "rle", "rle": list(int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8)))}
    draft = {"result": [rough(*SMALL), {"to_name": "image", "value": dust}]}
    assert len(drawn_boxes([draft], "image", side, side)) == 1


def test_large_pictures_are_looked_at_in_tiles() -> None:
    tiling = Tiling(32, 8)
    model = FakeModel(finds=two_boxes(), tiling=tiling, image_size=20)
    ours = tools(OneModel(model))
    assert drawn(ours, ask(point(10, 10))) == SMALL
    assert drawn(ours, ask(rough(6, 6, 18, 18))) == SMALL
    assert [cut for cut, _ in model.cut] == [tiling, None], "a crop is seen as it is"
    assert model.seen[0] == (48, 64, 3), "in so many pixels that no tile has to be enlarged"


def test_ids_are_new_for_each_answer() -> None:
    ours = tools(OneModel(FakeModel(finds=two_boxes())))
    answers = [ours.draw(ask(point(10, 10)), SETTINGS, FAR) for _ in range(3)]
    assert len({answer["result"][0]["id"] for answer in answers if isinstance(answer, dict)}) == 3


def test_a_picture_is_looked_at_once_a_version() -> None:
    model, pictures = FakeModel(finds=two_boxes()), Pictures()
    models = OneModel(model)
    ours = tools(models, pictures)
    for picture in ("a", "b", "a", "b"):
        ours.draw(ask(point(10, 10), picture=picture), SETTINGS, FAR)
    assert (pictures.fetched, len(model.seen)) == (["a", "b"], 2)
    models.version = "v2"
    ours.draw(ask(point(10, 10)), SETTINGS, FAR)
    assert len(model.seen) == 3


def test_a_rough_box_is_seen_from_near_and_stays_where_nothing_is() -> None:
    model = FakeModel(finds=boxes((2, 2, 10, 10, 0.4, 0)))
    ours = tools(OneModel(model))
    assert drawn(ours, ask(rough(20, 20, 28, 28))) == (20, 20, 28, 28), "what is at (2, 2) of the crop, at (18, 18)"
    assert model.seen[-1] == (12, 12, 3)


@pytest.mark.parametrize("tag", ["RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels", "obb"])
def test_the_shape_is_the_controls_own(tag: str) -> None:
    obb = ' model_obb="true"' if tag == "obb" else ""
    tag = "RectangleLabels" if obb else tag
    config = (
        '<View><Image name="image" value="$image"/>'
        f'<{tag} name="label" toName="image"{obb}><Label value="Tree"/></{tag}>'
        '<KeyPointLabels name="label_click" toName="image" smart="true" smartOnly="true"><Label value="Tree"/>'
        "</KeyPointLabels></View>"
    )
    ring = np.array([(8, 8), (16, 8), (16, 16), (8, 16)], dtype=np.float64)
    more: dict[str, Any] = {"outlines": ((ring,),)} if tag != "RectangleLabels" else {}
    if obb:
        more = {"rotated": np.array([(12, 12, 8, 8, 0.5)])}
    ours = tools(OneModel(FakeModel(finds=replace(boxes((*SMALL, 0.1, 0)), **more))))
    for item in (point(12, 12), rough(40, 30, 60, 44)):
        answer = ours.draw(ask(item, config=config), SETTINGS, FAR)
        assert isinstance(answer, dict)
        (region,) = answer["result"]
        assert (region["type"], region["value"][tag.lower()]) == (tag.lower(), ["Tree"])
        LabelInterface(config).validate_prediction(answer)


@dataclass
class Discs:
    """Masks that fill their boxes, but are empty up to a width of `empty`. Keeps whose outlines were made."""

    xyxy: Floats
    made: list[tuple[float, ...]] = field(default_factory=list)
    nbytes: int = 10
    empty: float = 0.0

    def only(self, which: Ints) -> "Discs":
        return replace(self, xyxy=self.xyxy[which])

    def outlines(self) -> tuple[Outline, ...]:
        self.made += [tuple(box) for box in self.xyxy.tolist()]
        corners = self.xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        return tuple((ring,) if np.ptp(ring[:, 0]) > self.empty else () for ring in corners)


def test_outlines_are_made_of_what_can_be_meant_alone() -> None:
    config = label_config().replace("RectangleLabels", "PolygonLabels")
    found = boxes((*SMALL, 0.03, 0), (*LARGE, 0.5, 0), (44, 30, 60, 44, 0.2, 0))
    masks = Discs(found.xyxy)
    model = FakeModel(finds=replace(found, masks=masks))
    ours = tools(OneModel(model))

    def answered(item: object) -> bool:
        masks.made.clear()
        return bool(ours.draw(ask(item, config=config), SETTINGS, FAR))

    assert (answered(point(50, 40)), masks.made) == (True, [(44, 30, 60, 44)])
    assert (answered(point(12, 12)), sorted(masks.made)) == (True, [LARGE, SMALL])
    assert (answered(point(62, 2)), masks.made) == (False, [])
    assert answered(rough(4, 5, 40, 40))
    assert set(masks.made) == {LARGE}
    assert {outlined_from for _, outlined_from in model.asked} == {None}, "the model was to make outlines itself"


def test_a_mask_that_turns_out_empty_is_not_drawn() -> None:
    config = label_config().replace("RectangleLabels", "PolygonLabels")
    found = boxes((*SMALL, 0.3, 0), (*LARGE, 0.5, 0))
    ours = tools(OneModel(FakeModel(finds=replace(found, masks=Discs(found.xyxy, empty=10.0)))))
    answer = ours.draw(ask(point(12, 12), config=config), SETTINGS, FAR)
    assert isinstance(answer, dict)
    assert np.ptp(answer["result"][0]["value"]["points"], axis=0)[0] == pytest.approx(36 / 0.64)


def test_which_control_is_drawn_for() -> None:
    inner = '<Label value="Tree"/>'
    controls = parse_label_config(
        '<View><Image name="image" value="$image"/><Image name="other" value="$other"/>'
        f'<RectangleLabels name="a" toName="image">{inner}</RectangleLabels>'
        f'<PolygonLabels name="b" toName="image">{inner}<Label value="Bush"/></PolygonLabels>'
        f'<RectangleLabels name="c" toName="other">{inner}</RectangleLabels>'
        f'<KeyPointLabels name="b_click" toName="image" smartOnly="true">{inner}</KeyPointLabels></View>'
    )
    assert [control.name for control in controls] == ["a", "b", "c"], "a tool that only asks is no control"

    def chosen(**more: object) -> str | None:
        gesture = read_gesture({"result": [point(1, 1) | more]})
        assert gesture is not None
        control = control_of(gesture, controls)
        return control.name if control else None

    assert chosen(from_name="b_click") == "b"
    assert chosen(from_name="b") == "b"
    assert chosen(from_name="anything") == "a"
    assert chosen(from_name=7, to_name="other") == "c"
    assert chosen(value={"x": 1, "y": 1, "keypointlabels": ["Bush"]}) == "b"
    assert chosen(value={"x": 1, "y": 1, "keypointlabels": ["Car"]}) is None


def test_who_does_not_wait_finds_it_at_the_next_click() -> None:
    model = FakeModel(finds=two_boxes(), at_once=False)
    ours = tools(OneModel(model))
    assert ours.draw(ask(point(10, 10)), SETTINGS, time.monotonic() + 0.05) == []
    while not model.waiting:
        threading.Event().wait(0.01)
    model.finish()
    assert drawn(ours, ask(point(10, 10))) == SMALL
    assert len(model.seen) == 1


@pytest.mark.parametrize("problem", [ImageError("broken", "no picture"), RuntimeError("bug")])
def test_a_problem_is_nothing_and_not_kept(problem: Exception, caplog: pytest.LogCaptureFixture) -> None:
    pictures = Pictures(problem)
    ours = tools(OneModel(FakeModel(finds=two_boxes())), pictures)
    assert ours.draw(ask(point(10, 10)), SETTINGS, FAR) == []
    assert any("smart" in record.message for record in caplog.records)
    pictures.file = jpeg()
    assert drawn(ours, ask(point(10, 10))) == SMALL


def test_without_a_model_there_is_nothing() -> None:
    assert tools(OneModel(ModelError("none"))).draw(ask(point(10, 10)), SETTINGS, FAR) == []


def test_clicks_that_stay_in_an_annotation_are_no_objects() -> None:
    (control,) = parse_label_config(label_config())
    left = [point(10, 10), point(20, 20, positive=False) | {"from_name": "other"}]
    for result, objects in ((left, 0), ([*left, rough(*LARGE)], 1)):
        reading = CONTROLS[control.tag].read(result, control, 64, 48)
        assert (len(reading.found), reading.unusable) == (objects, ())
    without_mark = [{key: value for key, value in point(10, 10).items() if key != "is_positive"}]
    assert CONTROLS[control.tag].read(without_mark, control, 64, 48).unusable == ()
    assert KeptRegions((control,)).of([point(10, 10)]) == []


HOSTILE: Sequence[object] = (
    None, 7, "x", [], {}, {"result": None}, {"result": {}}, {"result": [None, 7, [], {}, {"value": 7}]},
    {"result": [{"type": "keypointlabels", "value": {"x": "nan", "y": 1}}]},
    {"result": [{"type": "keypointlabels", "value": {"x": 1e300, "y": float("inf")}}]},
    {"result": [{"type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": float("nan"), "height": 2}}]},
    {"result": [{"type": ["x"], "value": {"x": 1, "y": 1}}]},
)  # fmt: skip


@pytest.mark.parametrize("context", HOSTILE)
def test_a_hostile_context_is_no_gesture(context: object) -> None:
    assert read_gesture(context) is None


@given(st.recursive(st.none() | st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_drafts_may_be_anything(drafts: object) -> None:
    assert drawn_values(drafts, "image") == []


@given(st.lists(st.floats(), min_size=4, max_size=4), st.floats())
def test_any_box_is_answered(numbers: list[float], turn: float) -> None:
    value = dict(zip(("x", "y", "width", "height"), numbers, strict=True), rotation=turn, rectanglelabels=["Tree"])
    item = {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value}
    answer = tools(OneModel(FakeModel(finds=two_boxes()))).draw(ask(item), SETTINGS, FAR)
    if answer:
        assert isinstance(answer, dict)
        LabelInterface(label_config()).validate_prediction(answer)


def test_a_million_points_are_a_hundred() -> None:
    gesture = read_gesture({"result": [point(1, 1)] * 100_000})
    assert gesture is not None
    assert len(gesture.points) == 100


def test_kept_results_are_bounded() -> None:
    kept: Kept[bytes] = Kept(len, entries=3, max_bytes=10)
    made: list[str] = []

    def make(name: str, size: int) -> bytes:
        made.append(name)
        return b"x" * size

    def get(name: str, size: int) -> None:
        kept.get(name, lambda: make(name, size)).result()

    for name in ("a", "b", "c", "a", "d"):
        get(name, 2)
    get("b", 2)
    assert made == ["a", "b", "c", "d", "b"], "b was the least recently used"
    get("large", 9)
    get("a", 2)
    assert made[-2:] == ["large", "a"]
    get("too large", 11)
    get("too large", 11)
    assert made[-2:] == ["too large"] * 2


def test_not_more_than_some_wait() -> None:
    kept: Kept[bytes] = Kept(len, entries=3, max_bytes=10, threads=1, waiting=2)
    go = threading.Event()
    first = [kept.get(name, lambda: b"x" if go.wait(10) else b"") for name in ("a", "b")]
    with pytest.raises(NotNow):
        kept.get("c", lambda: b"x")
    go.set()
    assert [each.result(10) for each in first] == [b"x", b"x"]
