"""Read those entries of a session that a question is about, by their kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

from curio_persistence.capabilities.runlog.reading import LogQuery, window_of_run
from curio_persistence.capabilities.runlog.rows import MOST, entries_of
from curio_persistence.capabilities.runlog.sequences import last_entry
from curio_persistence.runlog.entries import (
    CommittedStep,
    ContextStepsHidden,
    RunLogEntry,
    RunRolledBack,
    StepCondensedContentUpdated,
    class_of,
    registered_kinds,
)
from curio_persistence.runlog.steps import Marks, Ranges
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.query import STREAM_ROWS
from curio_persistence.tables import EVENTS

E = TypeVar("E", bound=RunLogEntry)

PAGE = 100


class SessionLog:
    """The entries of a session up to a sequence, by default the last one now.

    Whatever is appended meanwhile is not read, so that all questions are about one state.
    """

    def __init__(
        self,
        store: Store,
        session_id: str,
        until: int | None = None,
        *,
        within: tuple[int, int] | None = None,
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._within = within
        self._until = last_entry(store, session_id) if until is None else min(until, MOST)

    def around(self, run_id: str | None) -> SessionLog:
        """Return the part of the log with the entries of a run, and perhaps others."""
        if run_id is None:
            return self
        window = window_of_run(self._store, run_id)
        return SessionLog(self._store, self._session_id, self._until, within=window)

    def query(
        self,
        *classes: type[RunLogEntry],
        after: int = 0,
        until: int | None = None,
        newest: bool = False,
        where: Where = (),
    ) -> LogQuery:
        """Return a query for entries of some classes, or of all kinds."""
        return LogQuery(
            (*EVENTS.where(session_id=self._session_id), *where),
            _kinds(classes, registered_kinds()) if classes else None,
            max(0, min(after, self._until)),
            self._until if until is None else max(0, min(until, self._until)),
            newest,
        ).within(self._within)

    def walk(
        self, query: LogQuery, leaving_out: Ranges | None = None, *, size: int = PAGE
    ) -> Iterator[RunLogEntry]:
        """Yield the entries of a query, page by page; pass by ranges of sequences."""
        while True:
            columns = query.page(self._store, size)
            for entry in entries_of(columns):
                if leaving_out is None or entry.sequence not in leaving_out:
                    yield entry
            if len(columns[0]) < size:
                return
            query = query.behind(columns)
            if leaving_out is not None:
                query = query.past(leaving_out)
            size = min(2 * size, STREAM_ROWS)

    def all(self, *classes: type[RunLogEntry]) -> list[RunLogEntry]:
        """Return all entries of some classes."""
        return [*entries_of(self.query(*classes).page(self._store, None))]

    def first(self, cls: type[E], where: Where = ()) -> E | None:
        """Return the first entry of a class."""
        return self._next(cls, self.query(cls, where=where))

    def last(
        self,
        cls: type[E],
        where: Where = (),
        leaving_out: Ranges | None = None,
        *,
        after: int = 0,
    ) -> E | None:
        """Return the last entry of a class that is not left out."""
        query = self.query(cls, after=after, newest=True, where=where)
        return self._next(cls, query, leaving_out)

    def _next(self, cls: type[E], query: LogQuery, leaving_out: Ranges | None = None) -> E | None:
        entries = self.walk(query, leaving_out, size=1)
        return next((entry for entry in entries if isinstance(entry, cls)), None)

    def last_of_all(self, where: Where, *, after: int = 0) -> RunLogEntry | None:
        """Return the last entry, whatever its kind."""
        return next(self.walk(self.query(after=after, newest=True, where=where), size=1), None)

    def step(self, step_id: str) -> CommittedStep | None:
        """Return the last step with an id. It is usually among the last ones, which come first."""
        for entry in self.walk(self.query(CommittedStep, newest=True)):
            if isinstance(entry, CommittedStep) and entry.step_id == step_id:
                return entry
        return None

    def marks(self) -> Marks:
        """Return what was rolled back, hidden and condensed: there are few of these entries."""
        marks = Marks()
        for entry in self.all(RunRolledBack, ContextStepsHidden, StepCondensedContentUpdated):
            marks.take(entry)
        return marks

    def steps_at(self, sequences: Iterable[int], where: Where) -> list[CommittedStep]:
        """Return the steps with some sequences."""
        there = (*where, Filter("seq", "in", tuple(sequences)))
        found = entries_of(self.query(where=there).page(self._store, None))
        return [entry for entry in found if isinstance(entry, CommittedStep)]

    def count(self, query: LogQuery) -> int:
        """Return the number of entries of a query."""
        return query.count(self._store)


@lru_cache
def _kinds(classes: tuple[type[RunLogEntry], ...], registered: tuple[str, ...]) -> tuple[str, ...]:
    """Return the registered kinds whose class is one of these, or derived from one."""
    found = ((kind, class_of(kind)) for kind in registered)
    return tuple(kind for kind, cls in found if cls is not None and issubclass(cls, classes))
