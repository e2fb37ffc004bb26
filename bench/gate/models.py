"""What `bench.gate.collect` kept, as evidence that the gate can weigh."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.train.evidence import Found, Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Seen(Outcome):
    """An outcome that is drawn again and again."""

    hits: NDArray[np.bool_]

    def right(self) -> NDArray[np.bool_]:
        """As `Outcome.right`, computed once."""
        return self.hits

    def plain(self) -> Outcome:
        """One of which less may be shown."""
        return Outcome(self.task, self.truth, self.found, self.scores, self.overlap, self.boxes)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One trained model and what it showed on tiles that it never saw."""

    recipe: dict[str, Any]
    outcomes: tuple[Outcome, ...]  # the task of a mirrored view is "<tile>/<view>"


def load(path: Path) -> dict[str, Model]:
    """Name → model."""
    with np.load(path) as kept:
        described = json.loads(str(kept["described"]))
        return {name: Model(recipe, tuple(_outcomes(kept, name))) for name, recipe in described.items()}


def seen(model: Model, most: int) -> dict[str, Seen]:
    """Task → its outcome with the surest objects alone; of a view, `<tile>/<view>`, too."""
    found = {}
    for one in model.outcomes:
        table = one.overlap[:, :most]
        part = Outcome(one.task, one.truth, one.found[:most], one.scores[:most], table, one.boxes[:most])
        found[one.task] = Seen(
            one.task.split("/")[0], part.truth, part.found, part.scores, table, part.boxes, part.right()
        )
    return found


def found(outcomes: dict[str, Seen], tiles: Sequence[int], views: int = 1) -> Found:
    """What was found on these tiles, a task each, seen once or in several views."""
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
