"""Copies of frozen pydantic models with some fields changed. mypy and pydantic check the fields' names and types."""

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

__all__ = ["evolve"]

Model = TypeVar("Model", bound=BaseModel)

if TYPE_CHECKING:
    # mypy checks the arguments of dataclasses.replace against the fields of its first argument, also for pydantic
    # models. A function of our own could only take `**changes: Any`.
    from dataclasses import replace as evolve
else:

    def evolve(model: Model, /, **changes: Any) -> Model:
        """A copy of `model` with `changes`. Raises pydantic's ValidationError, and TypeError for an unknown field.

        Extra fields, which a newer version of labelloop wrote, are copied too.
        """
        if unknown := changes.keys() - type(model).model_fields.keys():
            raise TypeError(f"{type(model).__name__} has no field {', '.join(sorted(unknown))}")
        return type(model).model_validate({**dict(model), **changes})
