"""Records of an archive that may match the words of a search, beside those of the index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import groupby, islice
from typing import Any

from curio_persistence.archive.cold import sql
from curio_persistence.archive.cold.database import ArchivedDatabase
from curio_persistence.archive.cold.plan import Test, Values
from curio_persistence.archive.cold.rows import ColdRows
from curio_persistence.archive.cold.whereabouts import last_move
from curio_persistence.capabilities.search.documents import KINDS, Kind
from curio_persistence.capabilities.search.rows import IDS, candidate_of, rows_between
from curio_persistence.store.base import Store
from curio_persistence.store.search_index import (
    Candidate,
    CandidateSource,
    Clause,
)


class TieredCandidates(CandidateSource):
    """The candidates of a search index, and the rows of an archive that contain the words.

    A slot of the index is a millisecond. An archive has any number of rows in one: a slot here has
    the time in microseconds, then the id of the row and its kind.
    """

    slots_per_ms = 1000 * IDS

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
            candidate = candidate_of(number, values, clauses)
            if candidate is not None:
                found[values] = candidate
            return candidate is not None

        plan = cold.plan(rows_between(number, since, before))
        rows = cold.walk(plan, limit, Test(conditions, passes))
        return map(found.pop, islice(rows, limit))


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
