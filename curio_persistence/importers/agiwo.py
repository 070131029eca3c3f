"""The SQLite database of Agiwo: the run logs of its sessions, and its traces.

Entries keep their sequences and times. A kind that is not known here keeps all of its fields.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.databases import import_database
from curio_persistence.importers.common.folders import Source
from curio_persistence.importers.common.limits import MAX_BYTES
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.progress import Progress
from curio_persistence.runlog.entries import RunLogEntry, RunLogEntryKind

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_BATCH = 1_000
"""The rows that one transaction stores."""
_ENTRIES, _TRACES = "run_log_entries", "agiwo_traces"
Row = dict[str, Any]


def import_agiwo(
    source: Source, persistence: Persistence | None, *, progress: Progress | None = None
) -> ImportReport:
    """Import a SQLite database of Agiwo; without a persistence, only read and check it.

    It can be repeated, also when more was written: entries that are stored already are skipped,
    and traces are replaced by what they are there.
    """
    return import_database(
        "agiwo",
        source,
        persistence,
        lambda path, target, report: _Import(path, target, progress, report).run(),
    )


class _Import:
    """One import."""

    def __init__(
        self,
        path: Path,
        persistence: Persistence,
        progress: Progress | None,
        report: ReportBuilder,
    ) -> None:
        self._path = path
        self._persistence = persistence
        self._progress = progress
        self._report = report
        self._done = 0

    def run(self) -> None:
        from curio_persistence.importers.common.sqlite_tables import MissingTableError

        missing = []
        for table, take in ((_ENTRIES, self._take_entries), (_TRACES, self._take_traces)):
            try:
                self._take_table(table, take)
            except MissingTableError as error:  # Agiwo may keep its traces in another file.
                missing.append(error)
        if len(missing) == 2:
            raise missing[0]

    def _take_table(self, table: str, take: Callable[[list[Row]], None]) -> None:
        """Take the rows of a table in the order they were added, many in a transaction."""
        from curio_persistence.importers.common.sqlite_tables import read_rows

        rows = read_rows(self._path, table, most_bytes=MAX_BYTES)
        while some := list(islice(rows, _BATCH)):
            with self._persistence.transaction():
                take(some)
            self._done += len(some)
            if self._progress is not None:
                self._progress(self._done, None)

    def _take_entries(self, rows: list[Row]) -> None:
        from curio_persistence.compat.agiwo.adopting import entry_of_row  # It is built above this.

        sessions: defaultdict[str, list[RunLogEntry]] = defaultdict(list)
        for row in rows:
            with self._telling(_name(row.get("session_id"), row.get("sequence"))):
                entry, dropped = entry_of_row(row)
                self._report.skip("fields that are not known", dropped)
                sessions[checked_id("session_id", entry.session_id)].append(entry)
        for session_id, entries in sessions.items():
            self._append(session_id, self._new(session_id, entries))

    def _new(self, session_id: str, entries: list[RunLogEntry]) -> list[RunLogEntry]:
        """Return the entries that are not stored yet."""
        bounds = [entry.sequence for entry in entries]
        log = self._persistence.runlog
        stored = log.iterate(session_id, after=min(bounds) - 1, until=max(bounds))
        known = {entry.sequence: entry for entry in stored}
        new = []
        for entry in entries:
            there = known.setdefault(entry.sequence, entry)
            if there is entry:
                new.append(entry)
            elif _identity(there) == _identity(entry):
                self._report.skip("stored before")
            else:
                self._problem(f"{_name(session_id, entry.sequence)}: another is stored as this one")
        return new

    def _append(self, session_id: str, entries: list[RunLogEntry]) -> None:
        """Append entries; if one is refused, one by one."""
        try:
            self._persistence.runlog.append(session_id, entries)
        except InvalidValueError:
            for entry in entries:
                with self._telling(_name(session_id, entry.sequence)):
                    self._persistence.runlog.append(session_id, [entry])
                    self._count(entry)
        else:
            for entry in entries:
                self._count(entry)

    def _count(self, entry: RunLogEntry) -> None:
        self._report.events += 1
        self._report.runs += entry.kind == RunLogEntryKind.RUN_STARTED
        self._report.usage += entry.kind == RunLogEntryKind.LLM_CALL_COMPLETED

    def _take_traces(self, rows: list[Row]) -> None:
        from curio_persistence.compat.agiwo.adopting import trace_of_row
        from curio_persistence.compat.agiwo.saved_traces import SavedTraces

        saved = SavedTraces(self._persistence)
        for row in rows:
            with self._telling(f"trace {row.get('trace_id')!r:.80}"):
                saved.save(trace_of_row(row))
                self._report.also["traces"] += 1

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Report what cannot be stored."""
        try:
            yield
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._problem(f"{what}: {error}")

    def _problem(self, what: str) -> None:
        self._report.problem(self._path.name, None, what)


def _name(session_id: object, sequence: object) -> str:
    return f"entry {sequence!r:.80} of {session_id!r:.80}"


def _identity(entry: RunLogEntry) -> tuple[object, ...]:
    """Return what two entries of the same sequence have in common if they are the same one.

    Their words are not compared: the redactor may have changed them.
    """
    return entry.kind, entry.run_id, entry.created_at
