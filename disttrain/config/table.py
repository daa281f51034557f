"""A table of a run file as a model whose keys may be assigned; each assignment is validated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from disttrain.config.section import kinds_of
from disttrain.config.sentence import validated
from disttrain.errors import RunFileError
from disttrain.shown import quoted

__all__ = ["Section", "plain"]


class Section(BaseModel):
    """A table of the run file: typed strictly, no unknown keys.

    An assignment that is a mistake raises RunFileError, one sentence, and changes nothing.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=False, serialize_by_alias=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield what a short `repr` shows: the keys whose values are not the defaults."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            if name not in fields or value != fields[name].get_default():
                yield name, value

    def __setattr__(self, name: str, value: Any) -> None:
        field = type(self).model_fields.get(name)
        key = field.alias or name if field else name
        if key == "kind" and self.kind_is_fixed(value):
            raise RunFileError(
                f"settings: kind = {quoted(value)} is another table, with keys of its own: assign "
                f"it to the section, as in settings.optimizer = {quoted(value)}"
            )
        stated = self.model_dump(exclude_none=True, exclude_unset=True)
        self._become(validated(type(self), {**stated, key: plain(value)}, "settings"))

    def kind_is_fixed(self, kind: Any) -> bool:
        """Tell whether this table has a kind, and can't be of `kind`."""
        own = kinds_of(type(self))
        return bool(own) and kind not in own

    def _become(self, other: BaseModel) -> None:
        """Take over all values of another table of this class."""
        object.__setattr__(self, "__dict__", other.__dict__)
        object.__setattr__(self, "__pydantic_fields_set__", other.model_fields_set)


def plain(value: Any) -> Any:
    """Return `value` as TOML has it: numpy's numbers, paths and tuples as Python's own."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
