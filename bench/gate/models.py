"""Loads the file of `bench.gate.collect` as evidence for the gate."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.train.evidence import Found, Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Seen(Outcome):
    """An Outcome whose matches are computed once."""

    hits: NDArray[np.bool_] = field(kw_only=True)

    def right(self) -> NDArray[np.bool_]:
        """See Outcome.right."""
        return self.hits

    def plain(self) -> Outcome:
        """The same as an Outcome, of which objects can be left out."""
        return Outcome(self.task, self.truth, self.found, self.scores, self.overlap, self.boxes)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One trained model and its outcomes on tiles that it was not trained on."""

    recipe: dict[str, Any]
    outcomes: tuple[Outcome, ...]  # the task of a mirrored view is "<tile>/<view>"


def load(path: Path) -> dict[str, Model]:
    """Name → model, of a file of bench.gate.collect."""
    with np.load(path) as kept:
        described = json.loads(str(kept["described"]))
        return {name: Model(recipe, tuple(_outcomes(kept, name))) for name, recipe in described.items()}


def seen(model: Model, max_objects: int) -> dict[str, Seen]:
    """Task (`<tile>` or `<tile>/<view>`) → its outcome with the `max_objects` most confident objects."""
    found = {}
    for one in model.outcomes:
        top = slice(max_objects)
        table = one.overlap[:, top]
        part = Outcome(one.task, one.truth, one.found[top], one.scores[top], table, one.boxes[top])
        found[one.task] = Seen(
            one.task.split("/")[0], part.truth, part.found, part.scores, table, part.boxes, hits=part.right()
        )
    return found


def found(outcomes: dict[str, Seen], tiles: Sequence[int], views: int = 1) -> Found:
    """The evidence on these tiles, each a task, in one or several views."""
    names = [f"{tile}/{view}" if view else str(tile) for tile in tiles for view in range(views)]
    return Found([outcomes[name] for name in names], [0])


def _outcomes(kept: Any, name: str) -> list[Outcome]:
    tiles, truth, count = (kept[f"{name}/{key}"] for key in ("tile", "truth", "found"))
    scores, boxes, overlap = (kept[f"{name}/{key}"].astype(np.float64) for key in ("scores", "boxes", "overlap"))
    outcomes, seen, place, cell = [], dict[int, int](), 0, 0
    for tile, there, many in zip(tiles.tolist(), truth.tolist(), count.tolist(), strict=True):
        view = seen[tile] = seen.get(tile, -1) + 1
        rows = slice(place, place + many)
        table = overlap[cell : cell + there * many].reshape(there, many)
        zeros = np.zeros(there, dtype=np.int64), np.zeros(many, dtype=np.int64)
        outcomes.append(Outcome(f"{tile}/{view}" if view else str(tile), *zeros, scores[rows], table, boxes[rows]))
        place, cell = place + many, cell + there * many
    return outcomes
