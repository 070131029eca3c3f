"""Run logs: the ordered entries of a session, from which the state of its agents is rebuilt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.batches import encode_all, in_one_transaction
from curio_persistence.capabilities.events import Events
from curio_persistence.capabilities.runlog.asking import EntryFilters, ReadsRunLogs
from curio_persistence.capabilities.runlog.effects import Effects, Prepares
from curio_persistence.capabilities.runlog.reading import checked_bound
from curio_persistence.capabilities.runlog.rows import MOST, event_of, span_of_entry
from curio_persistence.capabilities.runlog.sequences import Sequences
from curio_persistence.capabilities.usage import Usage
from curio_persistence.clock import Clock
from curio_persistence.errors import ConflictError, InvalidValueError, NotFoundError
from curio_persistence.redaction import Redaction
from curio_persistence.runlog.entries import (
    RunLogEntry,
    RunRolledBack,
    StepCondensedContentUpdated,
)
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import checked_count
from curio_persistence.store.table import Row
from curio_persistence.tables import EVENTS

__all__ = ["EntryFilters", "RunLog"]


class RunLog(ReadsRunLogs):
    """Append the entries of sessions, read them back in order, and ask what follows from them.

    An entry is an event: its kind is the `event_type`, its fields are the `data`. The other calls
    of a persistence, as searches, exports and retention, treat it as one.
    """

    def __init__(
        self, store: Store, clock: Clock, redaction: Redaction, *, chain: bool = False
    ) -> None:
        super().__init__(store, clock)
        self._events = Events(store, clock, redaction, chain=chain)
        self._usage = Usage(store, clock, redaction)
        self._encode_event = redaction.encoder(EVENTS)
        self._prepares = Prepares(store, clock, redaction)
        self._sequences = Sequences(store, clock)

    # --- appending ----------------------------------------------------------------------------

    def append(self, session_id: str, entries: Iterable[RunLogEntry]) -> list[int]:
        """Append entries to the log of a session, all or none, and return their sequences.

        Entries without a sequence get the next ones, in the order given. One that has a sequence,
        as from `allocate`, keeps it; raise ConflictError if the session has it already. Any
        iterable, read in bounded memory.

        A RunStarted makes its run, unless it exists; a RunFinished or RunFailed ends it. Statistics
        count an LLMCallCompleted as a model call, and a ToolStepCommitted as a call of its tool.
        """
        checked_id("session_id", session_id)
        sequences: list[int] = []

        def append_chunk(chunk: list[RunLogEntry], first: int) -> int:
            sequences.extend(self._append_chunk(session_id, chunk, first))
            return len(chunk)

        in_one_transaction(self._store, entries, append_chunk)
        return sequences

    def allocate(self, session_id: str, n: int = 1) -> range:
        """Return the next `n` sequences of a session, for entries that are appended later.

        No other call gets them, in any thread or process, also if they are never used.
        """
        checked_id("session_id", session_id)
        count = checked_count("n", n)
        if count > MOST:
            raise InvalidValueError(f"n is at most {MOST:,}, not {n}.", field="n")
        with self._store.transaction():
            return self._sequences.take(session_id, count, look=True)

    def _append_chunk(
        self, session_id: str, entries: list[RunLogEntry], first: int
    ) -> Sequence[int]:
        encode = self._encode_event
        rows = encode_all(lambda entry: encode(event_of(session_id, entry)), entries, first)
        effects = self._prepares.effects_of(session_id, entries)
        given = [entry.sequence for entry in entries]
        try:
            return self._store_chunk(session_id, rows, effects, given)
        except ConflictError as error:
            if taken := self._sequences.taken(session_id, given):
                raise ConflictError(
                    f"Session {session_id!r} has an entry with the sequence {taken[0]} already."
                ) from error
        return self._store_chunk(session_id, rows, effects, given, look=True)

    def _store_chunk(
        self,
        session_id: str,
        rows: list[Row],
        effects: Effects,
        given: list[int],
        *,
        look: bool = False,
    ) -> Sequence[int]:
        with self._store.transaction():
            numbers = self._sequences.number(session_id, given, look=look)
            for at, call in effects.calls.items():
                call |= (span := span_of_entry(rows[at], numbers[at]))
                rows[at] |= span
            stored_at = encode_time(self._clock.now())
            for row, number in zip(rows, numbers, strict=True):
                row["created_at"], row["seq"] = stored_at, number
            if effects.begun:
                self._prepares.runs.begin(effects.begun)
            self._events.store(rows)
            if effects.ended:
                self._prepares.runs.finish(effects.ended)
            if effects.calls:
                self._usage.log_rows([*effects.calls.values()])
        return numbers

    def append_rollback(
        self,
        session_id: str,
        start: int,
        end: int,
        reason: str = "",
        *,
        run_id: str | None = None,
        agent_id: str | None = None,
    ) -> int:
        """Append a RunRolledBack, by which the steps from `start` to `end` count no more.

        Both are included. It is of the run and agent of the last entry there, unless they are
        given; return its sequence. Raise NotFoundError if the session has no entry there.
        """
        checked_id("session_id", session_id)
        first, last = checked_bound("start", start), checked_bound("end", end)
        if not first or not last or last < first:
            raise InvalidValueError(
                f"A rollback is from a sequence to the same or a later one, not from {start} to "
                f"{end}.",
                field="end",
            )
        with self._store.transaction():
            found = self.entries(session_id, after=first - 1, until=last, order="newest", limit=1)
            if not found:
                raise NotFoundError(
                    f"Session {session_id!r} has no entry from {start} to {end} to roll back."
                )
            rolled_back = RunRolledBack(
                run_id=run_id or found[0].run_id,
                agent_id=agent_id or found[0].agent_id,
                start_sequence=first,
                end_sequence=last,
                reason=reason,
            )
            return self.append(session_id, [rolled_back])[0]

    def condense_step(
        self,
        session_id: str,
        step_id: str,
        content: str,
        *,
        run_id: str | None = None,
        agent_id: str | None = None,
    ) -> bool:
        """Append a StepCondensedContentUpdated; return False if the session has no such step.

        It is of the run and agent of the step, unless they are given. Messages to a model have the
        content in place of the step's own from then on.
        """
        checked_id("session_id", session_id)
        with self._store.transaction():
            step = self._log(session_id, None).step(checked_id("step_id", step_id))
            if step is None:
                return False
            condensed = StepCondensedContentUpdated(
                run_id=run_id or step.run_id,
                agent_id=agent_id or step.agent_id,
                step_id=step_id,
                condensed_content=content,
            )
            self.append(session_id, [condensed])
        return True
