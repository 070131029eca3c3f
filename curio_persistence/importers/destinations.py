"""Where imported records go: in batches, each wholly or not at all, but for what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.reports import Progress, Tally
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.store.tables import EVENTS, RUNS, USAGE, Table

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_BATCH = 1_000
_LARGEST_BATCH = 5_000
"""Events of a run that is not read to its end; earlier, they would come before their run."""

_MOST_BYTES = 8 << 20
"""What may have been read since the last batch. In memory it takes a multiple of that."""

Complete = Callable[[AgentRun, AgentRun], AgentRun]
"""Makes of a stored run, and the same run as it was found now, the run that is to be stored."""

R = TypeVar("R", AgentRun, AgentRunEvent, AgentLLMUsage)


class Place(NamedTuple):
    """Where a record was found."""

    file: str
    line: int | None = None


class Destination:
    """Takes records one by one; what it was given is stored when `flush` returns.

    Events and model calls need an `event_id`: those stored before are skipped, so that an import
    can be repeated. Without a persistence, as in a dry run, records are checked and forgotten.
    """

    def __init__(
        self,
        persistence: Persistence | None,
        tally: Tally,
        progress: Progress | None,
        complete: Complete = lambda stored, found: stored,
    ) -> None:
        self._persistence = None if persistence is None else checked_persistence(persistence)
        self._tally = tally
        self._progress = progress
        self._complete = complete
        self._done = 0
        self._forget()

    def _forget(self) -> None:
        self._runs: list[tuple[AgentRun, Place]] = []
        self._events: list[tuple[AgentRunEvent, Place]] = []
        self._usage: list[tuple[AgentLLMUsage, Place]] = []
        self._flush_at = self._tally.bytes_read + _MOST_BYTES

    def add_run(self, run: AgentRun, place: Place) -> None:
        """A run is added when all of its events were."""
        self._runs.append((run, place))
        self._flush_from(_BATCH)

    def add_event(self, event: AgentRunEvent, place: Place) -> None:
        self._events.append((event, place))
        self._flush_from(_LARGEST_BATCH)

    def add_usage(self, usage: AgentLLMUsage, place: Place) -> None:
        self._usage.append((usage, place))
        self._flush_from(_BATCH)

    @property
    def _waiting(self) -> int:
        return len(self._runs) + len(self._events) + len(self._usage)

    def _flush_from(self, batch: int) -> None:
        if self._waiting >= batch or self._tally.bytes_read >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Store what waits, in one transaction, and tell how much is done."""
        if not self._waiting:
            return
        if self._persistence is None:
            self._check()
        else:
            with self._persistence.transaction():
                self._write(self._persistence)
        self._done += self._waiting
        self._forget()
        if self._progress is not None:
            self._progress(self._done, None)

    def _check(self) -> None:
        self._tally.runs += len(self._good(RUNS, self._runs))
        self._tally.events += len(self._good(EVENTS, self._events))
        self._tally.usage += len(self._good(USAGE, self._usage))

    def _good(self, table: Table[Any], found: list[tuple[R, Place]]) -> list[R]:
        """The records that can be stored; the others are problems."""
        good = []
        for record, place in found:
            try:
                table.encode(record)
            except InvalidValueError as error:
                self._tally.problem(*place, error)
            else:
                good.append(record)
        return good

    def _write(self, persistence: Persistence) -> None:
        """Runs first: an event of a run that is not there makes one, of which little is known."""
        if self._runs:
            self._write_runs(persistence, self._good(RUNS, self._runs))
        if self._events:
            new = self._append(EVENTS, self._events, persistence.log_agent_run_events)
            self._tally.events += new
        if self._usage:
            self._tally.usage += self._append(USAGE, self._usage, persistence.log_llm_usages)

    def _append(
        self, table: Table[Any], found: list[tuple[R, Place]], write: Callable[[list[R]], int]
    ) -> int:
        """Write records, and return how many are new."""
        records = [record for record, _ in found]
        try:
            new = write(records)
        except InvalidValueError:
            records = self._good(table, found)
            new = write(records)
        self._tally.skip("stored before", len(records) - new)
        return new

    def _write_runs(self, persistence: Persistence, runs: list[AgentRun]) -> None:
        found = persistence.runs.get_many([run.run_id for run in runs])
        stored = {run.run_id: run for run in found}
        new = {run.run_id: run for run in runs if run.run_id not in stored}
        try:
            persistence.create_agent_runs(new.values())
        except ConflictError:  # Somebody imports the same at the same time; now theirs are seen.
            self._write_runs(persistence, runs)
            return
        self._tally.runs += len(new)
        for run in runs:
            if run.run_id in stored:
                self._complete_run(persistence, stored[run.run_id], run)

    def _complete_run(self, persistence: Persistence, stored: AgentRun, run: AgentRun) -> None:
        """Add to a stored run what is known by now."""
        dated = replace(run, created_at=stored.created_at, updated_at=stored.updated_at)
        row = persistence.redaction.encoder(RUNS)(dated)
        completed = self._complete(stored, RUNS.decode_row(row))
        if completed == stored:
            self._tally.skip("stored before")
            return
        try:
            persistence.create_agent_run(run)  # Early events made it, and nobody else.
        except ConflictError:
            persistence.update_agent_run(run.run_id, completed)
        self._tally.runs += 1
