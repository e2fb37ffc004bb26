"""What labelloop does not understand in a labeling config: sentences for the log and for `labelloop doctor`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain, islice
from xml.etree.ElementTree import Element

from shared.labelstudio.attributes import ATTRIBUTES, OLDER
from shared.labelstudio.class_labels import rivals
from shared.labelstudio.config import is_of_each_task, label_tags, parse_label_config, parse_xml, read_tags
from shared.labelstudio.controls import REGION_SELECTED, Control
from shared.labelstudio.task_values import has_variable

_MAX_SENTENCES = 50  # sentences
_SHOWN = 60  # characters that are shown of a value
_RIVALS = 3  # groups of labels that are shown
_OF_MODELS = ("model_", "botsort_", "bytetrack_")  # prefixes of attributes that Label Studio's YOLO example reads
_NO_CONTROLS = {"Filter"}  # tags with a toName that store nothing
_OF_CONTROLS = {"Label", "Choice"}  # tags whose attributes are told of with their control
_CONDITIONS = (REGION_SELECTED, "no-region-selected", "choice-selected", "choice-unselected")  # values of visibleWhen
_DETAILS = ("whenTagName", "whenLabelValue", "whenChoiceValue")  # attributes that narrow a condition


@lru_cache(maxsize=256)
def not_understood(xml: str) -> tuple[str, ...]:
    """One sentence a problem, in the order of the config. Raises LabelConfigError as parse_label_config does."""
    sentences = _sentences(parse_xml(xml), parse_label_config(xml))
    first = tuple(islice(sentences, _MAX_SENTENCES))
    return first if next(sentences, None) is None else (*first, "and there is more that is not understood")


def _sentences(root: Element, controls: tuple[Control, ...]) -> Iterator[str]:
    read = dict(read_tags(root))
    around = {inner: tag for tag in root.iter() for inner in tag}
    by_name = {tag.get("name"): tag for tag in root.iter()}
    for tag in root.iter():
        found = read.get(tag)
        if isinstance(found, Control):
            for what in chain(
                _attributes(tag, found),
                _labels(by_name[found.labels_name] if found.labels_name else tag, found),
                _points(found, controls),
                _shown(tag, found, around),
                _asked_of(found, controls),
            ):
                yield f"{_named(tag)} {what}"
        elif found:
            yield f"{_named(tag)} is not served: it {found}"
        elif found is None and (why := _unused(tag, controls)):
            yield f"{_named(tag)} is not served: {why}"
        elif found is None and tag.tag not in _OF_CONTROLS:
            for written in filter(_is_of_models, tag.attrib):
                yield f"{_named(tag)} says {written}, which means something for the tag that draws, or chooses, only"


def _unused(tag: Element, controls: tuple[Control, ...]) -> str:
    """Why labelloop does not use a tag that belongs to an image, a video or another object; empty for other tags."""
    to_name = tag.get("toName")
    if not to_name or tag.tag in _NO_CONTROLS:
        return ""
    if tag.tag == "Labels":
        holders = {control.labels_name for control in _on(to_name, controls)} - {""}
        if tag.get("name") in holders:
            return ""
        if holders:
            return f"the shapes of {_short(to_name)} have the labels of {_short(min(holders))} alone"
    if tag.tag == "MagicWand" and any(one.tag == "BrushLabels" and one.labels_name for one in _on(to_name, controls)):
        return ""  # its masks are the brush's
    return "labelloop knows no such control"


def _on(to_name: str, controls: tuple[Control, ...]) -> Iterator[Control]:
    return (control for control in controls if control.to_name == to_name)


def _attributes(tag: Element, control: Control) -> Iterator[str]:
    for written, value in tag.attrib.items():
        if not _is_of_models(written):
            continue
        attribute = ATTRIBUTES.get(OLDER.get(written, written))
        if attribute is None:
            known = [name for name, one in ATTRIBUTES.items() if not one.tags or control.tag in one.tags]
            near = get_close_matches(written, known, n=1, cutoff=0.7)  # they begin alike
            yield f"says {written}, which labelloop does not know" + (f"; did you mean {near[0]}?" if near else "")
        elif attribute.tags and control.tag not in attribute.tags:
            yield f"says {written}, which means something for {' and '.join(attribute.tags)} only"
        elif not attribute.accepts(value):
            yield f"says {written}={_short(value)}, which is not {attribute.expected}: it is ignored"


def _is_of_models(attribute: str) -> bool:
    return attribute.startswith(_OF_MODELS) or attribute in OLDER


def _labels(holder: Element, control: Control) -> Iterator[str]:
    """Problems of labels. `holder`: the tag that has them, the control's own or the `<Labels>` beside it."""
    if unclear := rivals(control.classes):
        groups = ", ".join(" and ".join(map(_short, group)) for group in unclear[:_RIVALS])
        groups += ", …" if len(unclear) > _RIVALS else ""
        yield (
            f"has labels that one class of base weights could mean ({groups}): until a training it means the one that "
            "is written exactly alike, or none"
        )
    if has_variable(source := holder.get("value", "")):
        yield f"takes further labels from the data of each task (value={_short(source)}): they are not predicted"
    for label in label_tags(holder):
        name = _short(label.get("alias") or label.get("value") or "")
        if is_of_each_task(label):
            yield f"has the choice {name}, which the data of each task says: it is not predicted"
        if not label.get("alias") and not len(label) and (text := (label.text or "").strip()):
            yield (
                f"has a <{label.tag}> with {_short(text)} inside, which Label Studio's page takes for its name, and "
                f'its check of predictions does not: write <{label.tag} value="…"/>'
            )
        if label.find(".//Choice") is not None:
            yield f"has choices inside {name}: Label Studio offers them with allowNested only"
        for written, value in label.attrib.items():
            if written == "model_index" and control.yolo_task != "pose":
                yield f"has model_index at {name}, which means something for points only"
            elif written == "model_index" and not value.strip().isdecimal():
                yield f"has model_index={_short(value)} at {name}, which is not a number from 0"
            elif written.startswith("model_") and written != "model_index":
                yield f"says {written} at {name}, which labelloop does not know"


def _points(control: Control, controls: tuple[Control, ...]) -> Iterator[str]:
    """Problems of keypoints and of the boxes around them."""
    if control.yolo_task != "pose":
        return
    indices = Counter(label.model_index for label in control.labels if label.model_index is not None)
    for index in sorted(index for index, count in indices.items() if count > 1):
        yield f"has model_index={index} at two labels: the first one gets the point"
    if 0 < indices.total() < len(control.labels):
        without = ", ".join(_short(label.value) for label in control.labels if label.model_index is None)
        yield f"has labels without model_index ({without}): base weights give them no points"
    if not control.flag("model_add_bboxes", default=True):
        return
    if not control.boxes_name:
        yield (
            "is given no boxes around its points, since there is no RectangleLabels for them: add one named "
            f'"{control.name}_bbox" with model_skip="true", or say model_add_bboxes="false"'
        )
    elif any(other.name == control.boxes_name for other in controls):
        yield (
            f"and {_short(control.boxes_name)} both predict the boxes of {_short(control.boxes_name)}: give that one "
            'model_skip="true", or say model_add_bboxes="false"'
        )


def _shown(tag: Element, control: Control, around: Mapping[Element, Element]) -> Iterator[str]:
    """Conditions under which Label Studio shows a control, and which labelloop ignores."""
    holder: Element | None = tag
    while holder is not None:
        condition = holder.get("visibleWhen")
        details = [name for name in _DETAILS if holder.get(name)]
        of_region = control.per_region and condition == REGION_SELECTED
        kept = of_region and (
            holder is tag or all(control.attributes.get(name) == holder.get(name) for name in details)
        )
        if kept or (condition is None and "whenChoiceValue" not in details):
            pass  # handled by `region_boxes`; or no condition
        elif condition is None or condition in _CONDITIONS:
            where = "" if holder is tag else f" of the <{holder.tag}> around it"
            what = "whenChoiceValue" if condition is None else f"visibleWhen={_short(condition)}"
            yield f"is predicted whether it is shown or not: {what}{where} is not looked at"
        holder = around.get(holder)


def _asked_of(control: Control, controls: tuple[Control, ...]) -> Iterator[str]:
    """Problems of `whenTagName`: the regions that a Choices with perRegion belongs to."""
    wanted = control.attributes.get("whenTagName") if control.per_region else None
    if not wanted:
        return
    if control.attributes.get("visibleWhen") != REGION_SELECTED:
        yield f'says whenTagName, which Label Studio reads with visibleWhen="{REGION_SELECTED}" only'
    elif not any(wanted in (other.name, other.labels_name) for other in controls if other.to_name == control.to_name):
        yield f"is asked of regions of {_short(wanted)} only (whenTagName): no control of that name is served"


def _named(tag: Element) -> str:
    return f"<{tag.tag}> {_short(tag.get('name') or '')}"


def _short(text: str) -> str:
    return repr(text[:_SHOWN])
