"""Check the arguments of public calls first, and name those that are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_id
from curio_persistence.store.payload_match import Path
from curio_persistence.tables import RUNS

PayloadFilter = Mapping[Path, str | float | Decimal | None]
"""For each path the value that is to be found there; a bool is a number to a type checker."""


def checked_run_id(run_id: Any) -> str:
    """Return a run_id that is required; None would mean any run."""
    if run_id is None:
        raise InvalidValueError("run_id is required.", field="run_id")
    return str(RUNS.encode_value("run_id", run_id))


def checked_id(name: str, value: Any) -> str:
    """Return an id that is required, the argument of this name."""
    if value is None:
        raise InvalidValueError(f"{name} is required.", field=name)
    try:
        return encode_id(value)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{name} {error}.", field=name) from error


def checked_run_ids(run_ids: Any, *, or_none: bool = False) -> tuple[Any, ...]:
    """Return the run_ids of a collection, each once; with `or_none`, None may be one of them."""
    if isinstance(run_ids, str) or not isinstance(run_ids, Iterable):
        raise InvalidValueError(
            f"run_ids is a collection of ids, not one {type(run_ids).__name__}.", field="run_ids"
        )
    checked = (None if or_none and each is None else checked_run_id(each) for each in run_ids)
    return tuple(dict.fromkeys(checked))


def check_progress(progress: Any) -> None:
    """Refuse a value that is not callable."""
    if progress is not None and not callable(progress):
        raise InvalidValueError(
            f"progress is a function of two numbers, not {progress!r}.", field="progress"
        )
