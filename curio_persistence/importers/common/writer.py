"""Store imported records in batches, each wholly or not at all; report those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.concurrency.prefetch import prefetch
from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, Score
from curio_persistence.progress import Progress
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, SCORES, USAGE

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_BATCH = 1_000
_LARGEST_BATCH = 5_000
"""Events of a run that is not read to its end; earlier, they would come before their run."""

_MOST_BYTES = 8 << 20
"""Bytes read for one batch at most. In memory they take a multiple of that."""

Complete = Callable[[AgentRun, AgentRun], AgentRun]
"""Makes of a stored run, and the same run as it was found now, the run that is to be stored."""


class SourceLocation(NamedTuple):
    """The file and line where a record was found."""

    file: str
    line: int | None = None


Imported = AgentRun | AgentRunEvent | AgentLLMUsage | Score
ImportedRecord = tuple[Imported, SourceLocation]


class _Batch:
    """Records that are stored together."""

    def __init__(self) -> None:
        self.runs: list[AgentRun] = []
        self.rows: dict[Table[Any], list[Row]] = {EVENTS: [], USAGE: []}
        self.scores: list[Row] = []
        self.found = 0
        """The number of records read, with those that cannot be stored."""


class ImportWriter:
    """Stores what an importer finds, batch by batch.

    Events and model calls need an `event_id`: those stored before are skipped, so that an import
    can be repeated. A run comes after all of its events, and before its scores. Without a
    persistence, as in a dry run, records are checked and forgotten.
    """

    _keeps_deleted = False
    """True if runs that a user deleted are left out, as expired ones are."""

    def __init__(
        self,
        persistence: Persistence | None,
        report: ReportBuilder,
        progress: Progress | None,
        complete: Complete = lambda stored, found: stored,
    ) -> None:
        self._persistence = None if persistence is None else checked_persistence(persistence)
        self._report = report
        self._progress = progress
        self._complete = complete
        self._encode = {
            table: self._persistence.redaction.encoder(table) if self._persistence else table.encode
            for table in (EVENTS, USAGE, SCORES)
        }

    def take(self, found: Generator[ImportedRecord]) -> None:
        """Store all records; while a batch is stored, another thread reads and encodes the next."""
        done = 0
        with closing(prefetch(self._batches(found))) as batches:
            for batch in batches:
                self._store(batch)
                done += batch.found
                if self._progress is not None:
                    self._progress(done, None)

    def _batches(self, found: Generator[ImportedRecord]) -> Generator[_Batch]:
        batch, full_at = _Batch(), self._report.bytes_read + _MOST_BYTES
        with closing(found):
            for record, location in found:
                batch.found += 1
                try:
                    self._put(record, batch)
                except InvalidValueError as error:
                    self._report.problem(*location, error)
                most = _LARGEST_BATCH if isinstance(record, AgentRunEvent) else _BATCH
                if batch.found >= most or self._report.bytes_read >= full_at:
                    yield batch
                    batch, full_at = _Batch(), self._report.bytes_read + _MOST_BYTES
        if batch.found:
            yield batch

    def _put(self, record: Imported, batch: _Batch) -> None:
        if isinstance(record, AgentRun):
            RUNS.encode(record)  # This refuses what cannot be stored.
            batch.runs.append(record)
        elif isinstance(record, Score):
            batch.scores.append(self._encode[SCORES](record))
        else:
            if record.event_id is None:
                raise TypeError("Importers give each event and model call an event_id.")
            table = EVENTS if isinstance(record, AgentRunEvent) else USAGE
            batch.rows[table].append(self._encode[table](record))

    def _store(self, batch: _Batch) -> None:
        """Store the runs first: an event of an unknown run would create a stub of it."""
        if self._persistence is None:
            self._report.runs += len(batch.runs)
            self._report.events += len(batch.rows[EVENTS])
            self._report.usage += len(batch.rows[USAGE])
            self._report.scores += len(batch.scores)
            return
        transfers = self._persistence._transfers
        named = [row["run_id"] for rows in batch.rows.values() for row in rows]
        with self._persistence.transaction():
            ids = [*named, *(run.run_id for run in batch.runs)]
            expired = transfers.expired(ids, or_erased=self._keeps_deleted)
            runs = [run for run in batch.runs if run.run_id not in expired]
            if runs:
                self._write_runs(self._persistence, runs)
            events, usage = (
                transfers.log(table, [row for row in rows if row["run_id"] not in expired])
                for table, rows in batch.rows.items()
            )
            judged = self._of_stored_runs(self._persistence, batch.scores)
            scores = transfers.deduplicator().add(SCORES, judged)
        self._report.scores += scores
        self._report.events += events
        self._report.usage += usage
        found = sum(map(len, (*batch.rows.values(), judged)))
        self._report.skip("stored before", found - events - usage - scores)
        self._report.skip("runs deleted before", len(batch.runs) - len(runs))

    def _of_stored_runs(self, persistence: Persistence, scores: list[Row]) -> list[Row]:
        """Return the scores whose runs are stored; those of a run that was refused are counted."""
        run_ids = dict.fromkeys(str(row["run_id"]) for row in scores)
        stored = {run.run_id for run in persistence.runs.get_many([*run_ids])} if scores else ()
        kept = [row for row in scores if row["run_id"] in stored]
        self._report.skip("scores of runs that are not stored", len(scores) - len(kept))
        return kept

    def _write_runs(self, persistence: Persistence, runs: list[AgentRun]) -> None:
        found = persistence.runs.get_many([run.run_id for run in runs])
        stored = {run.run_id: run for run in found}
        new = {run.run_id: run for run in runs if run.run_id not in stored}
        try:
            persistence.create_agent_runs(new.values())
        except ConflictError:  # Another process imports the same; now its runs are seen.
            self._write_runs(persistence, runs)
            return
        self._report.runs += len(new)
        for run in runs:
            if run.run_id in stored:
                self._complete_run(persistence, stored[run.run_id], run)

    def _complete_run(self, persistence: Persistence, stored: AgentRun, run: AgentRun) -> None:
        """Add to a stored run what is known by now."""
        dated = replace(run, created_at=stored.created_at, updated_at=stored.updated_at)
        row = persistence.redaction.encoder(RUNS)(dated)
        completed = self._complete(stored, RUNS.decode_row(row))
        if completed == stored:
            self._report.skip("stored before")
            return
        try:
            persistence.create_agent_run(run)  # Only its early events had created it.
        except ConflictError:
            persistence.update_agent_run(run.run_id, completed)
        self._report.runs += 1
