"""The kinds of entries: the base class, and the registry that knows each kind's class by its name.

An application registers kinds of its own, as the kinds here do::

    @register("order_placed")
    @dataclass(frozen=True, kw_only=True)
    class OrderPlaced(RunLogEntry):
        order_id: str
        lines: list[str] = field(default_factory=list)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from curio_persistence.clock import utc_now
from curio_persistence.errors import InvalidValueError

Upgrade = Callable[[dict[str, Any], int], dict[str, Any]]
"""Returns the fields of an older version, which is given, as the current version has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLogEntry:
    """A fact in the log of a session; `sequence` is its position there, from 1.

    An entry with the sequence 0 has none yet: it is numbered when it is appended. An entry without
    a `session_id` belongs to the session that it is appended to.
    """

    kind: ClassVar[str] = ""
    """The name of the kind, under which its class is registered."""
    version: ClassVar[int] = 1
    """The version of the kind's fields."""

    sequence: int = 0
    session_id: str = ""
    run_id: str
    agent_id: str
    created_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownEntry(RunLogEntry):
    """An entry that this program cannot read as its kind, with what is stored in `data`.

    Its kind was registered by another program, or its version is newer than the one registered
    here, or its fields were removed. It is stored again as it is.
    """

    kind: str  # type: ignore[misc]  # Of each entry, not of the class.
    version: int = 1  # type: ignore[misc]
    data: Any = None


Entry = TypeVar("Entry", bound=RunLogEntry)
_KINDS: dict[str, type[RunLogEntry]] = {}
_UPGRADES: dict[str, Upgrade] = {}


def register(
    kind: str, *, version: int = 1, upgrade: Upgrade | None = None
) -> Callable[[type[Entry]], type[Entry]]:
    """Return a decorator that registers a class of entries under the name of its kind.

    A stored entry of an older version is passed to `upgrade(fields, version)`, which returns its
    fields as the class has them now. Without it, missing fields have their defaults.
    """
    if not isinstance(kind, str) or not kind:
        raise InvalidValueError(f"A kind is a text, not {kind!r:.80}.", field="kind")
    if not isinstance(version, int) or version < 1:
        raise InvalidValueError(
            f"A version is a number from 1, not {version!r:.80}.", field="version"
        )

    def registered(cls: type[Entry]) -> type[Entry]:
        _check(kind, cls)
        cls.kind, cls.version = kind, version
        _KINDS[kind] = cls
        if upgrade is not None:
            _UPGRADES[kind] = upgrade
        return cls

    return registered


def _check(kind: str, cls: type[RunLogEntry]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, RunLogEntry)):
        raise InvalidValueError(f"{cls!r:.80} is not a subclass of RunLogEntry.", field="kind")
    known = _KINDS.get(kind)
    # A class of the same name is the same one, in a module or a notebook's cell that runs again.
    if known is not None and _name(known) != _name(cls):
        raise InvalidValueError(
            f"The kind {kind!r} is registered already, by {_name(known)}.", field="kind"
        )


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def class_of(kind: str) -> type[RunLogEntry] | None:
    """Return the class that is registered for a kind."""
    return _KINDS.get(kind)


def upgrade_of(kind: str) -> Upgrade | None:
    """Return the function that reads older versions of a kind."""
    return _UPGRADES.get(kind)


def registered_kinds() -> tuple[str, ...]:
    """Return the names of all kinds, in the order they were registered."""
    return tuple(_KINDS)
