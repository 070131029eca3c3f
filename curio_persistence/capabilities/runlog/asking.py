"""Read run logs, and answer what follows from them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, TypedDict, Unpack

from curio_persistence.capabilities.arguments import checked_id, checked_run_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.runlog import views
from curio_persistence.capabilities.runlog.reading import (
    EntryStream,
    LogQuery,
    checked_bound,
    is_newest,
    log_query,
    window_of_run,
)
from curio_persistence.capabilities.runlog.rows import entries_of
from curio_persistence.capabilities.runlog.sequences import last_entry
from curio_persistence.capabilities.runlog.session_log import SessionLog
from curio_persistence.results.pages import Direction
from curio_persistence.runlog.decisions import RuntimeDecisionState
from curio_persistence.runlog.entries import RunLogEntry, RunStarted
from curio_persistence.runlog.introspection import IntrospectState
from curio_persistence.runlog.replay import Replay
from curio_persistence.runlog.runs import RunView
from curio_persistence.runlog.steps import Marks, StepView
from curio_persistence.runlog.values import Milestone
from curio_persistence.store.filters import Filter, checked_count
from curio_persistence.tables import EVENTS, RUNS


class EntryFilters(TypedDict, total=False):
    """The filters of entries; an entry must pass all that are given."""

    run_id: str | None
    agent_id: str | None
    kinds: str | Collection[str] | None
    after: int | None
    until: int | None


class ReadsRunLogs(Capability):
    """The part of `RunLog` that reads."""

    def entries(
        self,
        session_id: str,
        *,
        order: Direction = "oldest",
        limit: int | None = None,
        **filters: Unpack[EntryFilters],
    ) -> list[RunLogEntry]:
        """Return entries of a session by their sequence.

        The filters are `run_id`, `agent_id`, `kinds` (one, or some), `after` a sequence and `until`
        one, which is included. An entry that cannot be read as its kind is an UnknownEntry.
        """
        query = self._query(session_id, order, filters)
        count = None if limit is None else checked_count("limit", limit)
        return [*entries_of(query.page(self._store, count))]

    def iterate(
        self,
        session_id: str,
        *,
        order: Direction = "oldest",
        **filters: Unpack[EntryFilters],
    ) -> EntryStream:
        """Iterate over the entries that `entries` returns, in constant memory."""
        return EntryStream(self._store, self._query(session_id, order, filters))

    def max_sequence(self, session_id: str) -> int:
        """Return the highest sequence of the stored entries of a session, or 0."""
        return last_entry(self._store, checked_id("session_id", session_id))

    def _query(self, session_id: str, order: Direction, filters: Any) -> LogQuery:
        query = log_query(checked_id("session_id", session_id), order, filters)
        if run_id := filters.get("run_id"):
            return query.within(window_of_run(self._store, run_id))
        return query

    # --- what follows from a log --------------------------------------------------------------

    def replay(self, session_id: str, until_seq: int | None = None) -> Replay:
        """Read the entries of a session, up to a sequence, and return the state after them.

        The other calls below give the same answers without reading the whole log.
        """
        return Replay(self.iterate(session_id, until=until_seq))

    def run_view(self, run_id: str, *, until_seq: int | None = None) -> RunView | None:
        """Return a run as its log says; None if it has no RunStarted."""
        for session_id in self._sessions_of(checked_run_id(run_id)):
            if view := views.run_view(self._log(session_id, until_seq), run_id):
                return view
        return None

    def _sessions_of(self, run_id: str) -> Iterator[str]:
        """Yield the session of a run, and then others whose logs it began in, if there are any."""
        of_run = RUNS.where(run_id=run_id)
        own = {
            each for (each,) in self._store.select_columns(RUNS, ("session_id",), of_run) if each
        }
        yield from own
        begun = (
            *EVENTS.where(run_id=run_id, event_type=RunStarted.kind),
            Filter("seq", "is not null"),
        )
        found = {each for (each,) in self._store.select_columns(EVENTS, ("session_id",), begun)}
        yield from sorted(found - own)

    def run_views(
        self, session_id: str, *, limit: int | None = None, until_seq: int | None = None
    ) -> list[RunView]:
        """Return the runs of a session as its log says, the newest first."""
        count = None if limit is None else checked_count("limit", limit)
        return [*islice(views.run_views(self._log(session_id, until_seq)), count)]

    def step_views(
        self,
        session_id: str,
        *,
        start: int | None = None,
        end: int | None = None,
        run_id: str | None = None,
        agent_id: str | None = None,
        include_rolled_back: bool = False,
        include_hidden_from_context: bool = True,
        order: Direction = "oldest",
        limit: int | None = None,
        until_seq: int | None = None,
    ) -> list[StepView]:
        """Return the steps of a session as they count now, or counted at a sequence.

        They have the sequences from `start` to `end`, both included, and the content to which they
        were condensed. Steps that were rolled back are left out, and those that are hidden from the
        context are not.
        """
        return views.step_views(
            self._log(session_id, until_seq),
            start=checked_bound("start", start),
            end=checked_bound("end", end),
            newest=is_newest(order),
            include_rolled_back=include_rolled_back,
            include_hidden_from_context=include_hidden_from_context,
            limit=None if limit is None else checked_count("limit", limit),
            run_id=run_id,
            agent_id=agent_id,
        )

    def marks(self, session_id: str, *, until_seq: int | None = None) -> Marks:
        """Return which steps of a session are rolled back, hidden from the context or condensed.

        `rolled_back` has their sequences, `hidden` and `condensed` their ids.
        """
        return self._log(session_id, until_seq).marks()

    def count_steps(
        self,
        session_id: str,
        *,
        include_hidden_from_context: bool = True,
        until_seq: int | None = None,
    ) -> int:
        """Return the number of steps of a session that were not rolled back.

        They are counted by their kinds: one that cannot be read as a step is counted, too.
        """
        return views.count_steps(
            self._log(session_id, until_seq),
            include_hidden_from_context=include_hidden_from_context,
        )

    def context(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        after_compaction: bool = True,
        until_seq: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the messages that an agent sends with its next call of a model.

        It is the agent of the last run that no other run has started, unless `agent_id` names one.
        Without `after_compaction` they are the system prompt and all steps.
        """
        log = self._log(session_id, until_seq)
        return views.context(log, agent_id=agent_id, after_compaction=after_compaction)

    def decision_state(
        self,
        session_id: str,
        *,
        run_id: str | None = None,
        agent_id: str | None = None,
        until_seq: int | None = None,
    ) -> RuntimeDecisionState:
        """Return the last decision of each sort, of a run, an agent or the session."""
        return views.decision_state(
            self._log(session_id, until_seq), run_id=run_id, agent_id=agent_id
        )

    def introspect_state(self, session_id: str, *, until_seq: int | None = None) -> IntrospectState:
        """Return the goal of a session, and how the agent's reviews of its way stand."""
        return views.introspect_state(self._log(session_id, until_seq))

    def milestones(self, session_id: str, *, until_seq: int | None = None) -> list[Milestone]:
        """Return the milestones of the goal as they were told last."""
        return views.milestones(self._log(session_id, until_seq))

    def _log(self, session_id: str, until_seq: int | None) -> SessionLog:
        until = checked_bound("until_seq", until_seq)
        return SessionLog(self._store, checked_id("session_id", session_id), until)
