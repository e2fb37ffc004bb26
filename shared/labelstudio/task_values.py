"""The value of a tag's attribute for one task: `$…` in it is a path in the task's data. Pure.

As Label Studio's editor does it (editor/src/utils/data.js, and the `get` of es-toolkit): a variable extends to the next
character that cannot be in a path, so "$name.jpg" is the path `name.jpg`.
"""

import re
from collections.abc import Mapping
from typing import Any

from shared.errors import ImageError

_VARIABLE = re.compile(r"\$[A-Za-z0-9_\[\].{}]+")
_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_SURROGATE = re.compile("[\ud800-\udfff]")  # alone: valid in JSON, not in UTF-8
_LONGEST = 1_000_000
"""Characters of all values that are filled into a text but the longest one, which may be a whole image. A tag can name
the same value hundreds of times."""


def has_variable(written: str) -> bool:
    """Whether an attribute refers to a task's data."""
    return _VARIABLE.search(written) is not None


def value_of(written: str, data: Mapping[str, Any]) -> Any:
    """The value of an attribute: the value at its path in the data, or a text with such values filled in.

    Raises LookupError; its message says what is missing.
    """
    whole = _VARIABLE.fullmatch(written)
    if whole is not None:
        return _at(written[1:], data)
    filled = [_text(path[1:], data) for path in _VARIABLE.findall(written)]
    lengths = sorted(map(len, filled))
    if sum(lengths[:-1]) > _LONGEST:
        raise LookupError(f"{sum(lengths)} characters are too long for an address")
    texts = iter(filled)
    return _VARIABLE.sub(lambda _: next(texts), written)


def file_of(written: str, data: Mapping[str, Any], task_id: int | None) -> str:
    """The address of the file that a tag shows for a task. Raises ImageError (no_data)."""
    try:
        found = value_of(written, data)
        if isinstance(found, list):
            raise LookupError(f"{written[1:]!r} is a list: several files in one tag are not served")
        if not isinstance(found, str):
            raise LookupError(f"{written[1:]!r} is {_kind(found)}, not the address of a file")
        if _SURROGATE.search(found):
            raise LookupError(f"{written[1:]!r} is not a text that can be sent: it has a lone surrogate")
    except LookupError as missing:
        asked = f'the data of task {task_id} has nothing for value="{written}"'
        raise ImageError("no_data", f"{asked}: {missing}") from missing
    return found


def _at(path: str, data: Mapping[str, Any]) -> Any:
    """The value at a path such as `page.image` or `pages[0]`; a key with exactly this name comes first."""
    if path in data:
        return data[path]
    here: Any = data
    way: list[str] = []
    for inside, outside in _STEP.findall(path):
        step = inside or outside
        if isinstance(here, Mapping) and step in here:
            here = here[step]
        elif isinstance(here, list) and _INDEX.fullmatch(step) and int(step) < len(here):
            here = here[int(step)]
        else:
            where = f", {'.'.join(way)!r} is {_kind(here)}" if way else ""
            raise LookupError(f"there is no {path!r}{where}")
        way.append(step)
    return here


def _text(path: str, data: Mapping[str, Any]) -> str:
    """A value to be filled into a text, formatted as JavaScript does."""
    found = _at(path, data)
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float) and found.is_integer():
        return str(int(found))
    if isinstance(found, str | int | float):
        return str(found)
    raise LookupError(f"{path!r} is {_kind(found)}, not a text")


def _kind(found: Any) -> str:
    if found is None:
        return "empty"
    if isinstance(found, list):
        return f"a list of {len(found)}"
    if isinstance(found, Mapping):
        return "an object"
    return "a text" if isinstance(found, str) else "a number"
