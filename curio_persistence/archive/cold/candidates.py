"""Records of an archive that may match the words of a search, beside those of the index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import groupby, islice
from typing import Any

from curio_persistence.archive.cold import sql
from curio_persistence.archive.cold.database import ArchivedDatabase
from curio_persistence.archive.cold.plan import Test, Values
from curio_persistence.archive.cold.rows import ColdRows
from curio_persistence.archive.cold.whereabouts import last_move
from curio_persistence.capabilities.search.documents import KINDS, Kind, document_of
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.query import Query, query_of
from curio_persistence.store.search_index import (
    Candidate,
    CandidateSource,
    Clause,
)

_IDS = 1 << 66
"""The slots of a microsecond: one for the rows of an index, and one for each row of an archive."""
_KINDS = 4
"""More than there are kinds of records."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class TieredCandidates(CandidateSource):
    """The candidates of a search index, and the rows of an archive that contain the words.

    A slot of the index is a millisecond. An archive has any number of rows in one: a slot here has
    the time in microseconds, then the id of the row and its kind.
    """

    slots_per_ms = 1000 * _IDS

    def __init__(self, hot: Store, archived: ArchivedDatabase) -> None:
        self._hot = hot
        self._archived = archived

    def find(
        self, clauses: Sequence[Clause], *, since: int, before: int, limit: int
    ) -> list[Candidate]:
        scale = self.slots_per_ms
        cold = ColdRows(self._archived, self._hot, last_move(self._hot))
        indexed = self._hot.search_index.find(
            clauses, since=-(-since // scale), before=-(-before // scale), limit=limit
        )
        sources: list[Any] = [(c._replace(slot=c.slot * scale) for c in indexed)]
        for number in range(len(KINDS)):
            conditions = _conditions(KINDS[number], clauses)
            if conditions is not None:
                sources.append(self._rows(cold, number, clauses, conditions, since, before, limit))
        found = merge(*sources, key=lambda each: each.slot, reverse=True)
        return list(islice(found, limit))

    def _rows(
        self,
        cold: ColdRows,
        number: int,
        clauses: Sequence[Clause],
        conditions: sql.Conditions,
        since: int,
        before: int,
        limit: int,
    ) -> Iterator[Candidate]:
        """Yield the rows of a kind in these slots, the last ones first."""
        found: dict[Values, Candidate] = {}

        def passes(values: Values) -> bool:
            candidate = _candidate(number, values, clauses)
            if candidate is not None:
                found[values] = candidate
            return candidate is not None

        plan = cold.plan(_between(number, since, before))
        rows = cold.walk(plan, limit, Test(conditions, passes))
        return map(found.pop, islice(rows, limit))


def _candidate(number: int, values: Values, clauses: Sequence[Clause]) -> Candidate | None:
    """Return the candidate of a row, as an index would have it; None if it does not match."""
    table = KINDS[number].table
    [record] = table.decode([(value,) for value in values])
    document = document_of(number, record)
    words = document.words.split()
    if not all(_has(words, clause) for clause in clauses):
        return None
    moment = (getattr(record, KINDS[number].time) - _EPOCH) // _MICROSECOND
    slot = moment * _IDS + 1 + record.id * _KINDS + number
    return Candidate(slot, number, record.id, document.length, values)


def _has(words: Collection[str], clause: Clause) -> bool:
    return any(
        any(word.startswith(term.word) for word in words) if term.is_prefix else term.word in words
        for term in clause
    )


def _between(number: int, since: int, before: int) -> Query:
    """Return the query for the rows of a kind in slots from one up to another."""
    kind = KINDS[number]
    order = (Order(kind.time, descending=True), Order("id", descending=True))
    first = min(max(since // _IDS, _FIRST), _LAST)
    where = (Filter(kind.time, ">=", _time(first)),)
    moment, rest = divmod(before, _IDS)
    if moment > _LAST:
        return query_of(kind.table, where, order)
    # Rows whose slot, 1 + id * _KINDS + number, is before the rest.
    behind = -(-(rest - 1 - number) // _KINDS)
    return query_of(kind.table, where, order, (_time(max(moment, _FIRST)), behind))


def _time(microseconds: int) -> str:
    return encode_time(_EPOCH + microseconds * _MICROSECOND)


def _conditions(kind: Kind, clauses: Sequence[Clause]) -> sql.Conditions | None:
    """Return conditions that all rows pass which match; None if no row of the kind can match."""
    total = sql.Conditions()
    for clause in clauses:
        is_marked = clause[0].stands_for is not None
        conditions = _having(kind, clause) if is_marked else _containing(kind, clause)
        if conditions is None:
            return None
        total = total.also(conditions)
    return total


def _having(kind: Kind, clause: Clause) -> sql.Conditions | None:
    """Return the condition for rows with one of the values for which marks stand."""
    pairs = sorted(term.stands_for for term in clause if term.stands_for is not None)
    tests: list[str] = []
    values: list[Any] = []
    for column, same in groupby(pairs, key=lambda pair: pair[0]):
        if column in kind.marked:
            tests.append(f"{column} IN (SELECT unnest(?))")
            values.append([value for _, value in same])
    return sql.Conditions((f"({' OR '.join(tests)})",), tuple(values)) if tests else None


def _containing(kind: Kind, clause: Clause) -> sql.Conditions:
    """Return the condition for rows that may have one of some words.

    Only ASCII without escapes is compared by DuckDB: other texts may be folded, and are looked at.
    """
    words = tuple(term.word for term in clause if term.word.isascii())
    tests = []
    for text in kind.texts:
        odd = f"strlen({text}) <> length({text}) OR contains({text}, '\\u')"
        having = [f"contains(lower({text}), ?)"] * len(words)
        tests.append(f"coalesce({' OR '.join([odd, *having])}, false)")
    return sql.Conditions((f"({' OR '.join(tests)})",), words * len(kind.texts))
