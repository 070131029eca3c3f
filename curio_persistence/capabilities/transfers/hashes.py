"""Hashes of runs, which tell whether two databases store the same, without comparing rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from curio_persistence.capabilities.arguments import checked_run_ids
from curio_persistence.capabilities.transfers.kinds import KINDS_OF_RUNS
from curio_persistence.capabilities.transfers.reading import BY_ID, Reading, of_runs
from curio_persistence.concurrency.prefetch import prefetch_map
from curio_persistence.store.base import Store
from curio_persistence.store.table import Columns, Row, StoredValue, Table

Content = tuple[StoredValue, ...]
"""All stored values of a row but its id, in the order of `table.names`."""

_BYTES = 16
_ALL = 1 << 8 * _BYTES


class RunHash(NamedTuple):
    """The number of records of a run, by table, and a hash of these and of the run itself.

    The hash depends on every field but the ids of rows, on no order, and on no backend. `run_id`
    is None for model calls that belong to no run.
    """

    run_id: str | None
    events: int
    usage: int
    scores: int
    approvals: int
    snapshots: int
    spans: int
    hash: str


_COUNTED = {KINDS_OF_RUNS[name]: at for at, name in enumerate(RunHash._fields[1:-1])}
"""The tables whose rows are counted, and the positions of their counts."""


def contents(table: Table[Any], rows: Sequence[Row]) -> list[Content]:
    """Return the content of encoded rows."""
    return list(contents_of_columns(table, table.columns_of(rows)))


def contents_of_columns(table: Table[Any], columns: Columns) -> Iterator[Content]:
    """Return the content of rows that were read, by which they are recognised."""
    ids = table.names.index("id")
    columns = _without_recomputed(table, columns)
    return zip(*(column for at, column in enumerate(columns) if at != ids), strict=True)


def _without_recomputed(table: Table[Any], columns: Columns) -> Columns:
    """Return columns without the values that may have been computed anew in one of two copies."""
    if not table.recomputed:
        return columns
    *names, marker = (table.names.index(name) for name in table.recomputed)
    is_computed = [value is not None for value in columns[marker]]
    columns = list(columns)
    for at in (*names, marker):
        columns[at] = [
            None if computed else value
            for value, computed in zip(columns[at], is_computed, strict=True)
        ]
    return columns


def hash_runs(store: Store, run_ids: Iterable[str | None] | None) -> RunHashes:
    """Return the hashes of some runs, or of all, as of one moment."""
    hashes = RunHashes()
    wheres = [()] if run_ids is None else list(of_runs(checked_run_ids(run_ids, or_none=True)))
    with store.snapshot() as state:
        reading = Reading(state)
        for table, where in product(KINDS_OF_RUNS.values(), wheres):
            chunks = reading.stream(table, where, order=BY_ID)
            for _ in prefetch_map(partial(hashes.add, table), chunks):
                pass
    return hashes


class RunHashes:
    """The hashes of runs whose records come one by one, in any order."""

    def __init__(self) -> None:
        from hashlib import blake2b  # Imported here: the import is slow and seldom needed.

        self._empty = blake2b(digest_size=_BYTES)
        self._found: dict[Any, list[int]] = {}

    def add(self, table: Table[Any], columns: Columns) -> None:
        """Count in rows, given as the columns `table.names`."""
        run_ids = columns[table.names.index("run_id")]
        counted = _COUNTED.get(table)
        for run_id, text in zip(run_ids, _texts(table, columns), strict=True):
            found = self._found.setdefault(run_id, [0] * (len(_COUNTED) + 1))
            digest = self._empty.copy()
            digest.update(text)
            # The numbers are added up, so that no order matters.
            found[-1] += int.from_bytes(digest.digest())
            if counted is not None:
                found[counted] += 1

    def __iter__(self) -> Iterator[RunHash]:
        return map(self._hash, self._found)

    def get(self, run_id: str | None) -> RunHash | None:
        """Return the hash of one run; None without any record of it."""
        return self._hash(run_id) if run_id in self._found else None

    def _hash(self, run_id: str | None) -> RunHash:
        *counts, total = self._found[run_id]
        return RunHash._make((run_id, *counts, f"{total % _ALL:0{2 * _BYTES}x}"))


def _texts(table: Table[Any], columns: Columns) -> Iterator[bytes]:
    """Yield the text of each row to hash: its values, each behind its name.

    None is left out, so that a later column changes no hash until it is set. A NUL, which no stored
    value contains, separates the values.
    """
    # Column by column takes half the time.
    labelled = (
        [f"\0{table.name}.{name}={value}" if value is not None else "" for value in column]
        for name, column in zip(table.names, columns, strict=True)
        if name != "id" and column.count(None) < len(column)
    )
    return ("".join(texts)[1:].encode() for texts in zip(*labelled, strict=True))
