"""Tools for clicks in a labeling config: each a KeyPointLabels that only asks, named after the control it draws for.

The rest of the config stays as it is written, to the letter. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring
from xml.parsers.expat import ParserCreate

from shared.labelstudio.config import is_click_tool, label_tags, parse_xml
from shared.labelstudio.controls import CLICK, Control
from shared.labelstudio.smart import draws

_KEPT = ("value", "alias", "background")  # of a label; a hotkey can be given once


@dataclass(slots=True)
class _Place:
    """Where a tag with a name stands in the config, in bytes."""

    name: str
    start: int
    end: int = -1


def without_tools(config: str, controls: Sequence[Control]) -> list[Control]:
    """The controls whose objects can be drawn by a click, but for which there is no tool. Raises LabelConfigError."""
    root = parse_xml(config)
    points = [*root.iter("KeyPointLabels"), *root.iter("KeyPoint")]
    tools = [tag for tag in points if is_click_tool(tag) or tag.get("smart", "").lower() == "true"]
    names = {tag.get("name") for tag in root.iter()}

    def has_tool(control: Control) -> bool:
        holders = list(_at(tools, control))
        if any(tool.tag == "KeyPoint" for tool in holders):
            holders += _at(list(root.iter("Labels")), control)
        labels = {tag.get("alias") or tag.get("value") for holder in holders for tag in label_tags(holder)}
        return bool(labels & set(control.label_values)) or control.name + CLICK in names

    return [control for control in controls if draws(control) and not has_tool(control)]


def with_click_tools(config: str, controls: Sequence[Control]) -> str:
    """The config with a tool after the labels of each of these controls. Raises LabelConfigError."""
    root = parse_xml(config)
    by_name = {tag.get("name"): tag for tag in root.iter()}
    written, places = config.encode(), {place.name: place for place in _places(config)}
    holders = {control.name: control.labels_name or control.name for control in controls}
    ends = [(places[holders[control.name]].end, number) for number, control in enumerate(controls)]
    for control in (controls[number] for _, number in sorted(ends, reverse=True)):  # the last first: places stay right
        place, holder = places[holders[control.name]], by_name[holders[control.name]]
        indent = _indent(written, place.start)
        tool = (indent + indent.join(_tool(control, holder))).encode()
        written = written[: place.end] + tool + written[place.end :]
    return written.decode()


def without_click_tools(config: str, controls: Sequence[Control]) -> str:
    """The config without the tools that `with_click_tools` adds. Raises LabelConfigError."""
    names = {control.name + CLICK for control in controls}
    tools = parse_xml(config).iter("KeyPointLabels")
    ours = {tag.get("name") for tag in tools if is_click_tool(tag) and tag.get("name") in names}
    written = config.encode()
    for place in sorted(_places(config), key=lambda place: -place.start):
        if place.name in ours:
            written = written[: place.start].rstrip() + written[place.end :]
    return written.decode()


def _at(tags: Sequence[Element], control: Control) -> Iterator[Element]:
    return (tag for tag in tags if tag.get("toName") == control.to_name)


def _tool(control: Control, holder: Element) -> list[str]:
    """The lines of a tool with a control's labels."""
    tool = Element(
        "KeyPointLabels",
        {"name": control.name + CLICK, "toName": control.to_name, "smart": "true", "smartOnly": "true"},
    )
    for label in label_tags(holder):
        SubElement(tool, "Label", {key: value for key in _KEPT if (value := label.get(key))})
    opened = tostring(tool, encoding="unicode").partition("><")[0] + ">"
    return [opened, *(f"  {tostring(label, encoding='unicode').strip()}" for label in tool), "</KeyPointLabels>"]


def _indent(written: bytes, start: int) -> str:
    """A new line, indented like the tag that begins at `start`; "" if it does not begin a line."""
    before = written[:start].rpartition(b"\n")
    return before[1].decode() + before[2].decode() if not before[2].strip() and before[1] else ""


def _places(config: str) -> list[_Place]:
    """Of all tags with a name. The config was parsed before: it has no DTD."""
    parser, found = ParserCreate("utf-8"), list[_Place]()
    open_: list[_Place | None] = []
    ended: list[_Place] = []  # tags whose end is where the next event begins

    def at_event() -> int:
        index: int = parser.CurrentByteIndex
        while ended:
            ended.pop().end = index
        return index

    def begin(_: str, attributes: dict[str, str]) -> None:
        index, name = at_event(), attributes.get("name")
        open_.append(_Place(name, index) if name else None)

    def end(_: str) -> None:
        at_event()
        if place := open_.pop():
            found.append(place)
            ended.append(place)

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    for handler in ("CharacterDataHandler", "CommentHandler"):
        setattr(parser, handler, lambda _: at_event())
    parser.ProcessingInstructionHandler = lambda _target, _data: at_event()
    parser.Parse(config.encode(), True)
    return found
