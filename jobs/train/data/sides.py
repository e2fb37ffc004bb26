"""Decides whether images may be mirrored in training: not if names of labels mean left or right. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

Pair = tuple[str, str]
Words = tuple[str, ...]

_CLEAR: Pair = ("left", "right")
"""Words that begin with these always mean a side: `left_eye`, `leftEye`, `right-handed`."""
_IN_PAIRS: tuple[Pair, ...] = (
    ("l", "r"), ("os", "od"), ("port", "starboard"), ("cw", "ccw"), ("clockwise", "counterclockwise"),
    ("clockwise", "anticlockwise"), ("←", "→"), ("⬅", "➡"), ("↰", "↱"), ("↶", "↷"), ("↺", "↻"),
)  # fmt: skip
"""Words that mean a side if another name has the opposite word: `l_ear` and `r_ear`. `R` alone may be any letter."""
_ENDING = re.compile(r"(.{2,})(left|right)")  # "turnleft" if there is a "turnright", but not "bright"
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+|\d+|[^\w\s]")
_NAMED = 3  # labels quoted in a sentence


@dataclass(frozen=True, slots=True)
class Mirroring:
    """How images are mirrored in training."""

    fliplr: float  # part of the images that is mirrored left to right, 0–1
    flipud: float  # upside down, which swaps sides too
    flip_idx: tuple[int, ...] | None = None  # of a pose: for each point its index in the mirrored image
    why_not: str = ""  # a sentence if names are the reason that nothing is mirrored


def mirroring(
    classes: Sequence[str],
    points: Sequence[str] = (),
    *,
    fliplr: float,
    flipud: float,
    sides: str = "",
    asked: tuple[float | None, float | None] = (None, None),
) -> Mirroring:
    """The mirroring for these classes and keypoints.

    `fliplr`, `flipud`: of the settings, ignored if a class means a side; `asked`: those of the control's tag (None: not
    given), which hold in any case. `sides`: more words for left and right, `"links,rechts; gauche,droite"`. Keypoints
    are swapped by their names; if these do not say how, nothing is mirrored.
    """
    wanted = fliplr if asked[0] is None else asked[0], flipud if asked[1] is None else asked[1]
    flip_idx = mirrored_points(points, sides) if points else None
    if points and flip_idx is None:
        why = "the names of the points do not say which of them is which in a mirror"
        return Mirroring(0.0, 0.0, None, _sentence(why) if any(wanted) else "")
    named = sided(classes, sides)
    if not named:
        return Mirroring(*wanted, flip_idx)
    kept = asked[0] or 0.0, asked[1] or 0.0
    quoted = ", ".join(map(repr, named[:_NAMED])) + (" …" if len(named) > _NAMED else "")
    why = _sentence(f"{quoted} {'says' if len(named) == 1 else 'say'} a side")
    return Mirroring(*kept, flip_idx, why if any(wanted) and not any(kept) else "")


def sided(names: Sequence[str], sides: str = "") -> list[str]:
    """The names that mean a side."""
    pairs = pairs_of(sides)
    words = [_words(name) for name in names]
    there = set(words)
    return [
        name
        for name, own in zip(names, words, strict=True)
        if _is_clear(own, pairs) or any(other != own and other in there for other in _others(own, pairs))
    ]


def mirrored_points(names: Sequence[str], sides: str = "") -> tuple[int, ...] | None:
    """For each keypoint its index in a mirrored image; None if the names do not say.

    None also if no name means a side: the points may be corners or numbers.
    """
    pairs = pairs_of(sides)
    words = [_words(name) for name in names]
    places = {own: place for place, own in enumerate(words)}
    if len(places) < len(words):
        return None
    order = []
    for place, own in enumerate(words):
        other = next((places[other] for other in _others(own, pairs) if other != own and other in places), None)
        if other is None and _may_be_side(own, pairs):
            return None
        order.append(place if other is None else other)
    return tuple(order) if order != list(range(len(order))) else None


def pairs_of(sides: str) -> tuple[Pair, ...]:
    """`"links,rechts; gauche,droite"` → pairs of lower-case words; anything else is ignored."""
    found = []
    for pair in sides.split(";"):
        words = [word.strip().casefold() for word in pair.split(",")]
        if len(words) == 2 and all(words) and words[0] != words[1]:
            found.append((words[0], words[1]))
    return tuple(found)


def _words(name: str) -> Words:
    """`"leftEye"` → `("left", "eye")`."""
    return tuple(word.casefold() for word in _WORD.findall(name))


def _is_clear(words: Words, pairs: Sequence[Pair]) -> bool:
    return any(_place(word, side) is not None for word in words for pair in (_CLEAR, *pairs) for side in pair)


def _may_be_side(words: Words, pairs: Sequence[Pair]) -> bool:
    return _is_clear(words, pairs) or any(word in pair for word in words for pair in _IN_PAIRS)


def _others(words: Words, pairs: Sequence[Pair]) -> list[Words]:
    """What the name may become in a mirror: for each pair of sides, its words swapped."""
    found = []
    for one, other in (_CLEAR, *pairs):
        found.append(tuple(_swapped(word, one, other) for word in words))
    for one, other in _IN_PAIRS:
        table = {one: other, other: one}
        found.append(tuple(table.get(word, word) for word in words))
    ending = {"left": "right", "right": "left"}
    found.append(tuple(match[1] + ending[match[2]] if (match := _ENDING.fullmatch(word)) else word for word in words))
    return found


def _swapped(word: str, one: str, other: str) -> str:
    for side, instead in ((one, other), (other, one)):
        if (place := _place(word, side)) is not None:
            return word[:place] + instead + word[place + len(side) :]
    return word


def _place(word: str, side: str) -> int | None:
    """Index of the side in a word, or None. ASCII: at the beginning, or the whole word if short; else anywhere."""
    if side.isascii():
        found = word == side if len(side) <= 2 else word.startswith(side)
        return 0 if found else None
    return place if (place := word.find(side)) >= 0 else None


def _sentence(why: str) -> str:
    return f"Images were not mirrored while training: {why}."
