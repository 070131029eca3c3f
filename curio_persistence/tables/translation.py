"""Read records of other programs: objects with the published attributes, under earlier or later
names, and with attributes of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import Record
from curio_persistence.store.json_text import as_object

M = TypeVar("M")

_NEEDED = ("agent_id", "run_id")
_MISSING = object()


def translator(model: type[M], *, rest: str, names: Mapping[str, str]) -> Callable[[Any], M]:
    """Return a function that makes a record of the model from any object with its attributes.

    `names` are the later names of attributes. What the object has besides is kept in the JSON field
    `rest`. An object without `agent_id` and `run_id` is refused with InvalidValueError.
    """
    known = {field.name for field in fields(model)}  # type: ignore[arg-type]  # A dataclass.

    def is_other(record: Any) -> bool:
        return isinstance(record, type) or (
            isinstance(record, Record) and not isinstance(record, model)
        )

    def translate(record: Any) -> M:
        values = {name: getattr(record, name, _MISSING) for name in known}
        others = {
            name: value
            for name, value in _attributes(record).items()
            if name not in known and not name.startswith("_")
        }
        for name, later in names.items():
            if values[name] is _MISSING and later in others:
                values[name] = others.pop(later)
        given = {name: value for name, value in values.items() if value is not _MISSING}
        for name in _NEEDED:
            if name not in given or is_other(record):
                raise InvalidValueError(
                    f"An object of type {type(record).__name__} cannot be stored as "
                    f"{model.__name__}: it lacks its attributes, as {name!r}."
                )
        others = {name: value for name, value in others.items() if value is not None}
        if others:
            given[rest] = {**as_object(given.get(rest)), **others}
        return model(**given)

    return translate


def _attributes(record: Any) -> Mapping[str, Any]:
    """Return the attributes that an object holds itself, not those of its class."""
    if is_dataclass(record):
        return {field.name: getattr(record, field.name, None) for field in fields(record)}
    return getattr(record, "__dict__", {})
