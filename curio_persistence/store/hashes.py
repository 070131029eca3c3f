"""What tells whether two databases have the same of a run, without laying them side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

from curio_persistence.store.tables import EVENTS, USAGE, Columns, Kept, Row, Table

Content = tuple[Kept, ...]
"""All kept values of a row but its id, in the order of `table.names`."""

_BYTES = 16
_ALL = 1 << 8 * _BYTES


class RunHash(NamedTuple):
    """How many events and model calls a run has, and a hash of these and of the run itself.

    The hash depends on every field but the ids of rows, on no order, and on no backend. `run_id`
    is None for model calls that belong to no run.
    """

    run_id: str | None
    events: int
    usage: int
    hash: str


def contents(table: Table[Any], rows: Iterable[Row]) -> list[Content]:
    """The content of encoded rows."""
    names = tuple(name for name in table.names if name != "id")
    filled = tuple(map(table.filled.get, names))
    return [tuple(map(row.get, names, filled)) for row in rows]


def contents_of_columns(table: Table[Any], columns: Columns) -> Iterator[Content]:
    """The content of rows that were read."""
    ids = table.names.index("id")
    return zip(*(column for at, column in enumerate(columns) if at != ids), strict=True)


class RunHashes:
    """The hashes of runs whose records come one by one, in any order."""

    def __init__(self) -> None:
        from hashlib import blake2b  # It takes long to import, and few ever need it.

        self._digest = partial(blake2b, digest_size=_BYTES)
        self._found: dict[Any, list[int]] = {}

    def add(self, table: Table[Any], rows: Iterable[Content]) -> None:
        at = table.names.index("run_id")  # It stands before the id, in all of them.
        counts = {EVENTS: 0, USAGE: 1}.get(table)
        for content in rows:
            found = self._found.setdefault(content[at], [0, 0, 0])
            found[2] += self._number(table, content)
            if counts is not None:
                found[counts] += 1

    def __iter__(self) -> Iterator[RunHash]:
        return map(self._hash, self._found)

    def get(self, run_id: str | None) -> RunHash | None:
        """One run's; None where nothing of it has come."""
        return self._hash(run_id) if run_id in self._found else None

    def _hash(self, run_id: str | None) -> RunHash:
        events, usage, total = self._found[run_id]
        return RunHash(run_id, events, usage, f"{total % _ALL:0{2 * _BYTES}x}")

    def _number(self, table: Table[Any], content: Content) -> int:
        """A record's share in the hash. The numbers are added up, so that no order matters.

        What is None is left out, so that columns that come later change no hash until they are set.
        """
        named = zip(_labels(table), content, strict=True)
        text = "\0".join([f"{label}{value}" for label, value in named if value is not None])
        return int.from_bytes(self._digest(text.encode()).digest())


@lru_cache
def _labels(table: Table[Any]) -> tuple[str, ...]:
    """What stands before a value. A kept value has no NUL in it, by which they are told apart."""
    return tuple(f"{table.name}.{name}=" for name in table.names if name != "id")
