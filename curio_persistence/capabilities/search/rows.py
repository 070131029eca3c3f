"""Records of a store that may match the words of a search, where the rows themselves tell it.

A slot of an index is a millisecond, in which one record has its place. Rows have any number in one:
a slot here has the time in microseconds, then the id of the row and its kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import groupby, islice
from typing import Any

from curio_persistence.capabilities.search.documents import KINDS, Kind, document_of
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order, Where, any_of
from curio_persistence.store.query import Query, query_of
from curio_persistence.store.search_index import Candidate, CandidateSource, Clause
from curio_persistence.text.tokenizer import LONGEST_WORD

IDS = 1 << 66
"""The slots of a microsecond: one for each row, and one for the rows of an index."""
_KINDS = 4
"""More than there are kinds of records."""
_FEWEST, _MOST = 100, 2_000
"""The rows that are read at a time."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class RowCandidates(CandidateSource):
    """Looks through the rows of a store that may have the words, the newest first."""

    slots_per_ms = 1000 * IDS

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(
        self, clauses: Sequence[Clause], *, since: int, before: int, limit: int
    ) -> list[Candidate]:
        sources = []
        for number, kind in enumerate(KINDS):
            where = _where(kind, clauses)
            if where is not None:
                query = rows_between(number, since, before)
                query = query._replace(where=(*query.where, *where))
                sources.append(self._found(number, query, clauses, limit))
        found = merge(*sources, key=lambda each: each.slot, reverse=True)
        return list(islice(found, limit))

    def _found(
        self, number: int, query: Query, clauses: Sequence[Clause], limit: int
    ) -> Iterator[Candidate]:
        """Yield the candidates among the rows of a query."""
        size = min(max(limit, _FEWEST), _MOST)
        while True:
            columns = self._store.select_query(query, size, 0)
            for values in zip(*columns, strict=True):
                candidate = candidate_of(number, values, clauses)
                if candidate is not None:
                    yield candidate
            if len(columns[0]) < size:
                return
            query = query.behind(query.last_of(columns))


def candidate_of(
    number: int, values: tuple[Any, ...], clauses: Sequence[Clause]
) -> Candidate | None:
    """Return the candidate of a row, as an index would have it; None if it does not match."""
    table = KINDS[number].table
    [record] = table.decode([(value,) for value in values])
    document = document_of(number, record)
    words = document.words.split()
    if not all(_has(words, clause) for clause in clauses):
        return None
    moment = (getattr(record, KINDS[number].time) - _EPOCH) // _MICROSECOND
    slot = moment * IDS + 1 + record.id * _KINDS + number
    return Candidate(slot, number, record.id, document.length, values)


def _has(words: Collection[str], clause: Clause) -> bool:
    return any(
        any(word.startswith(term.word) for word in words) if term.is_prefix else term.word in words
        for term in clause
    )


def rows_between(number: int, since: int, before: int) -> Query:
    """Return the query for the rows of a kind in slots from one up to another."""
    kind = KINDS[number]
    order = (Order(kind.time, descending=True), Order("id", descending=True))
    first = min(max(since // IDS, _FIRST), _LAST)
    where = (Filter(kind.time, ">=", _time(first)),)
    moment, rest = divmod(before, IDS)
    if moment > _LAST:
        return query_of(kind.table, where, order)
    # Rows whose slot, 1 + id * _KINDS + number, is before the rest.
    behind = -(-(rest - 1 - number) // _KINDS)
    return query_of(kind.table, where, order, (_time(max(moment, _FIRST)), behind))


def _time(microseconds: int) -> str:
    return encode_time(_EPOCH + microseconds * _MICROSECOND)


def _where(kind: Kind, clauses: Sequence[Clause]) -> Where | None:
    """Return filters that all rows pass which match; None if no row of the kind can match."""
    where: list[Filter] = []
    for clause in clauses:
        is_marked = clause[0].stands_for is not None
        choices = _having(kind, clause) if is_marked else _containing(kind, clause)
        if not choices:
            return None
        where.append(any_of(*((each,) for each in choices)))
    return tuple(where)


def _having(kind: Kind, clause: Clause) -> list[Filter]:
    """Return filters for rows with one of the values for which marks stand."""
    pairs = sorted(term.stands_for for term in clause if term.stands_for is not None)
    return [
        Filter(column, "in", tuple(value for _, value in same))
        for column, same in groupby(pairs, key=lambda pair: pair[0])
        if column in kind.marked
    ]


def _containing(kind: Kind, clause: Clause) -> list[Filter]:
    # A word that was cut off is only the beginning of one.
    words = tuple((t.word, t.is_prefix or len(t.word) >= LONGEST_WORD) for t in clause)
    return [Filter(text, "may have words", words) for text in kind.texts]
