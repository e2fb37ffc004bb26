"""A frozen model with some fields changed: validated when it runs, and by mypy before: names and types of fields."""

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

__all__ = ["evolve"]

Model = TypeVar("Model", bound=BaseModel)

if TYPE_CHECKING:
    # mypy checks the arguments of this one function against the fields of what it is given, also of pydantic models.
    # A method of ours could only take `**changes: Any`.
    from dataclasses import replace as evolve
else:

    def evolve(model: Model, /, **changes: Any) -> Model:
        """A copy of `model` with `changes`. Raises pydantic's ValidationError, and TypeError for a field it lacks.

        What a newer version added to the model goes along.
        """
        if unknown := changes.keys() - type(model).model_fields.keys():
            raise TypeError(f"{type(model).__name__} has no field {', '.join(sorted(unknown))}")
        return type(model).model_validate({**dict(model), **changes})
