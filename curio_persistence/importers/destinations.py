"""Where imported records go: in batches, each wholly or not at all, but for what is refused."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.concurrency.prefetch import fetched_ahead
from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.reports import Tally
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.progress import Progress
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_BATCH = 1_000
_LARGEST_BATCH = 5_000
"""Events of a run that is not read to its end; earlier, they would come before their run."""

_MOST_BYTES = 8 << 20
"""What may have been read since the last batch. In memory it takes a multiple of that."""

Complete = Callable[[AgentRun, AgentRun], AgentRun]
"""Makes of a stored run, and the same run as it was found now, the run that is to be stored."""


class Place(NamedTuple):
    """Where a record was found."""

    file: str
    line: int | None = None


Found = tuple[AgentRun | AgentRunEvent | AgentLLMUsage, Place]


class _Batch:
    """What is stored at once."""

    def __init__(self) -> None:
        self.runs: list[AgentRun] = []
        self.rows: dict[Table[Any], list[Row]] = {EVENTS: [], USAGE: []}
        self.found = 0
        """How many records there were, with those that cannot be stored."""


class Destination:
    """Takes what is found, and stores it batch by batch.

    Events and model calls need an `event_id`: those stored before are skipped, so that an import
    can be repeated. A run comes after all of its events. Without a persistence, as in a dry run,
    records are checked and forgotten.
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
        self._encode = {
            table: self._persistence.transfers.encoder(table) if self._persistence else table.encode
            for table in (EVENTS, USAGE)
        }

    def take(self, found: Generator[Found]) -> None:
        """Store all of it; while a batch is stored, another thread finds and encodes the next."""
        done = 0
        with closing(fetched_ahead(self._batches(found))) as batches:
            for batch in batches:
                self._store(batch)
                done += batch.found
                if self._progress is not None:
                    self._progress(done, None)

    def _batches(self, found: Generator[Found]) -> Generator[_Batch]:
        batch, full_at = _Batch(), self._tally.bytes_read + _MOST_BYTES
        with closing(found):
            for record, place in found:
                batch.found += 1
                try:
                    self._put(record, batch)
                except InvalidValueError as error:
                    self._tally.problem(*place, error)
                most = _LARGEST_BATCH if isinstance(record, AgentRunEvent) else _BATCH
                if batch.found >= most or self._tally.bytes_read >= full_at:
                    yield batch
                    batch, full_at = _Batch(), self._tally.bytes_read + _MOST_BYTES
        if batch.found:
            yield batch

    def _put(self, record: AgentRun | AgentRunEvent | AgentLLMUsage, batch: _Batch) -> None:
        if isinstance(record, AgentRun):
            RUNS.encode(record)  # Which refuses what cannot be stored.
            batch.runs.append(record)
        else:
            table = EVENTS if isinstance(record, AgentRunEvent) else USAGE
            batch.rows[table].append(self._encode[table](record))

    def _store(self, batch: _Batch) -> None:
        """Runs first: an event of a run that is not there makes one, of which little is known."""
        if self._persistence is None:
            self._tally.runs += len(batch.runs)
            self._tally.events += len(batch.rows[EVENTS])
            self._tally.usage += len(batch.rows[USAGE])
            return
        with self._persistence.transaction():
            if batch.runs:
                self._write_runs(self._persistence, batch.runs)
            log = self._persistence.transfers.log
            events, usage = (log(table, rows) for table, rows in batch.rows.items())
        self._tally.events += events
        self._tally.usage += usage
        self._tally.skip("stored before", sum(map(len, batch.rows.values())) - events - usage)

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
