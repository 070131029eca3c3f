"""Turn rows of an original Curio into rows of today's tables.

Nothing is refused: a value that our own writes would refuse is stored unchanged; if no column can
hold it, a default replaces it and the value is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from curio_persistence.importers.curio.local_times import LocalTimes
from curio_persistence.store.codecs import encode_text
from curio_persistence.store.table import Row, StoredValue, Table

NO_TIME = "1970-01-01T00:00:00.000000+00:00"
"""The time of a row that has no time at all."""
_INT64 = range(-(2**63), 2**63)
_MOST_TOLD = 20
_STAND_INS = {
    "timestamp": ("created_at",),
    "created_at": ("timestamp", "started_at", "updated_at", "finished_at"),
    "updated_at": ("finished_at", "created_at"),
}
"""The times that every row has, and those that replace them where they are missing."""


class Unreadable(NamedTuple):
    """A value that its column cannot hold; the copy of the old rows still has it."""

    table: str
    id: int
    column: str
    value: str


class OldRows:
    """Reads the rows of one table; `columns` are those it has, beside the id."""

    def __init__(self, table: Table[Any], columns: tuple[str, ...], times: LocalTimes) -> None:
        self._table = table
        self._at = {name: at for at, name in enumerate(columns, start=1)}
        self._times = times
        self._last: dict[str, str] = {}
        self.unreadable = 0
        self.examples: list[Unreadable] = []

    def read(self, rows: Sequence[tuple[Any, ...]]) -> tuple[Sequence[int], list[Row]]:
        """Return the ids of some rows, and the rows to store."""
        columns = list(zip(*rows, strict=True))
        ids = columns[0]
        encoded = {
            name: self._column(name, ids, columns[at]) if at else [None] * len(ids)
            for name in self._table.always
            for at in (self._at.get(name),)
        }
        for name, others in _STAND_INS.items():
            if None in encoded.get(name, ()):
                found = (encoded[other] for other in others if other in encoded)
                encoded[name] = [_first(times) for times in zip(encoded[name], *found, strict=True)]
        filled = (_filled(column, self._table.default(name)) for name, column in encoded.items())
        return ids, list(map(self._table.adopt, zip(*filled, strict=True)))

    def _column(self, name: str, ids: Sequence[int], values: Sequence[Any]) -> list[StoredValue]:
        match self._table.kinds[name]:
            case "time":
                return self._each(name, ids, values, partial(self._time, name))
            case "integer":
                return self._each(name, ids, values, _number)
        if _are_plain(values):
            return list(values)
        if self._table.kinds[name] == "text":
            return [None if value is None else encode_text(_as_text(value)) for value in values]
        return [None if value is None else _as_name(value) for value in values]

    def _each(
        self,
        name: str,
        ids: Sequence[int],
        values: Sequence[Any],
        read: Callable[[Any], StoredValue],
    ) -> list[StoredValue]:
        encoded: list[StoredValue] = []
        for at, value in enumerate(values):
            try:
                encoded.append(None if value is None else read(value))
            except (ValueError, TypeError, OverflowError, OSError):
                encoded.append(None)
                self._tell(name, ids[at], value)
        return encoded

    def _time(self, name: str, value: Any) -> str:
        moment = self._last[name] = self._times.read(value, self._last.get(name))
        return moment

    def _tell(self, name: str, ident: int, value: Any) -> None:
        self.unreadable += 1
        if len(self.examples) < _MOST_TOLD:
            self.examples.append(Unreadable(self._table.name, ident, name, str(value)[:80]))


def _are_plain(values: Sequence[Any]) -> bool:
    """Return whether all are texts that are stored unchanged, as most are."""
    try:
        text = "".join(values)
    except TypeError:
        return False
    return text.isascii() and "\0" not in text


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else str(value)


def _as_name(value: Any) -> str:
    """Return a name unchanged, unless no database could store it."""
    name = _as_text(value)
    try:
        name.encode()
    except UnicodeEncodeError:
        return encode_text(name)
    return name


def _number(value: Any) -> int:
    """Return a whole number; a fraction, as of milliseconds, is rounded."""
    number = value if isinstance(value, int) else _rounded(value)
    if number not in _INT64:
        raise ValueError("does not fit into 64 bits")
    return number


def _rounded(value: Any) -> int:
    try:
        return int(value) if isinstance(value, str) else round(value)
    except ValueError:
        return round(float(value))


def _first(times: Iterable[StoredValue]) -> StoredValue:
    for time in times:
        if time is not None:
            return time
    return NO_TIME


def _filled(column: Sequence[StoredValue], default: StoredValue) -> Sequence[StoredValue]:
    return column if default is None else [default if v is None else v for v in column]
