"""`labelloop base`: the base weights in the store."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from infra.cli.output import table_of
from infra.local.base_weights import make
from shared.errors import LabelloopError
from shared.objectstore import ObjectStore
from shared.state.base_weights import BaseWeights, find_base_weights


def add_base_weights(
    store: ObjectStore, weights: Sequence[str], *, environ: Mapping[str, str], tell: Callable[[str], None]
) -> list[BaseWeights]:
    """Make those that the store lacks; answers all. `environ`: of the process that makes them.

    Raises LabelloopError if some cannot be made, or are other files than those of the same name in the store.
    """
    found = {each: find_base_weights(store, each) for each in weights}
    problems = [problem for each, record in found.items() if record and (problem := record.problem_with(each))]
    problems += make([each for each, record in found.items() if record is None], environ, tell).values()
    if problems:
        raise LabelloopError("; ".join(problems))
    return [record for each in found if (record := find_base_weights(store, each))]


def base_as_json(found: Sequence[BaseWeights]) -> list[dict[str, Any]]:
    """Base weights for scripts."""
    return [record.model_dump(mode="json") for record in found]


def render_base(found: Sequence[BaseWeights]) -> RenderableType:
    """Base weights for a terminal."""
    if not found:
        return Text("The store holds no base weights: `labelloop up` makes them, `labelloop base add`, or a job.")
    table = table_of("name", "YOLO task", "classes", "MB", folded=["name"])
    for record in found:
        megabytes = sum(entry.size for entry in record.files) / 1e6
        table.add_row(escape(record.name), record.yolo_task, str(len(record.names)), f"{megabytes:.1f}")
    return table
