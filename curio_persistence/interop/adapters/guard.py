"""Check what an adapter is given, and keep faults of recording away from frameworks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from curio_persistence.base import BasePersistence
from curio_persistence.errors import ConfigurationError, InvalidValueError

F = TypeVar("F", bound=Callable[..., Any])

_failed: set[str] = set()
"""The functions whose failure was logged."""


def guarded(function: F) -> F:
    """Return a function that logs what it raises, once in a process, and returns None then."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            _tell(function, error)

    return cast("F", call)


def synchronous(persistence: Any) -> BasePersistence:
    """Return the persistence that an adapter was given, as one that is not awaited."""
    found = getattr(persistence, "_sync", persistence)
    if not isinstance(found, BasePersistence):
        raise InvalidValueError(
            f"An adapter takes an open persistence, not {type(persistence).__name__}.",
            field="persistence",
        )
    return found


def missing(framework: str, extra: str, error: ImportError) -> ConfigurationError:
    """Return the error of importing an adapter whose framework is not installed."""
    return ConfigurationError(
        f"This adapter needs {framework} ({error}): pip install 'curio-persistence[{extra}]'"
    )


def _tell(function: Callable[..., Any], error: Exception) -> None:
    import logging

    name = f"{function.__module__}.{function.__qualname__}"
    level = logging.DEBUG if name in _failed else logging.ERROR
    _failed.add(name)
    logging.getLogger(__name__).log(
        level, "%s is not recorded (logged once): %r", name, error, exc_info=error
    )
