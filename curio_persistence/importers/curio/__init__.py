"""Bring the database of an original Curio into today's tables, with every row and id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from curio_persistence.capabilities.appends import stub_of
from curio_persistence.config import DatabaseConfig
from curio_persistence.errors import PersistenceError, UnsupportedError
from curio_persistence.importers.common.audit import log_import
from curio_persistence.importers.curio.local_times import LocalTimes
from curio_persistence.importers.curio.rows import OldRows, Unreadable
from curio_persistence.progress import Progress
from curio_persistence.store.table import Row, StoredValue, Table
from curio_persistence.tables import EVENTS, RUNS, TABLES, USAGE

if TYPE_CHECKING:
    from curio_persistence.backends.sql.legacy import OldRow, Original


@dataclass(frozen=True)
class CurioImportReport:
    """The result of `import_curio`; with `dry_run`, what it would be.

    `runs`, `events` and `usage` are the rows that went over, `stubs` the runs that only events
    knew of. `timezone` is the zone in which times without one were read, `timezone_assumed` whether
    it was this machine's for want of another; of such times the clock showed `ambiguous` ones twice
    and `missing` ones never. `unreadable` values could not be kept, `examples` are some of them,
    `left_out` are columns that no original Curio had: these still stand in what is `kept_in`, the
    copy of the file or the old tables. `already` says that the tables were today's.
    """

    location: str
    timezone: str
    timezone_assumed: bool
    dry_run: bool
    already: bool = False
    runs: int = 0
    events: int = 0
    usage: int = 0
    stubs: int = 0
    ambiguous: int = 0
    missing: int = 0
    unreadable: int = 0
    examples: tuple[Unreadable, ...] = ()
    left_out: tuple[str, ...] = ()
    kept_in: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, ready for JSON."""
        return asdict(self) | {"examples": [example._asdict() for example in self.examples]}


def import_curio(
    url: str | DatabaseConfig,
    *,
    timezone: str | tzinfo | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> CurioImportReport:
    """Put today's tables in the place of an original Curio's, with every row and id.

    All of it or nothing: where it fails, or is killed, the old tables are as they were, and it can
    be run again. Afterwards the old SQLite file is kept as a copy beside it (`agent_sdk.db.bak`),
    the old tables of a PostgreSQL schema under other names. Other tables are left alone.

    Times that say no zone are those of `timezone` (`"Europe/Paris"`); without it, this machine's.
    With `dry_run` nothing is changed, and the report says what would be. `progress` is called with
    how many rows are done, and of how many. Tables that are today's already are left alone; where
    there are neither, SchemaMismatchError.
    """
    config = url if isinstance(url, DatabaseConfig) else DatabaseConfig.from_url(url)
    times = LocalTimes(timezone)
    with closing(_open(config, read_only=dry_run)) as original:
        if original.is_imported():
            return CurioImportReport(
                original.location, times.name, times.is_assumed, dry_run, already=True
            )
        work = _Import(original, times, progress or _untold)
        if dry_run:
            return work.look()
        report = work.replace()
    _tell(config, report)
    return report


def _tell(config: DatabaseConfig, report: CurioImportReport) -> None:
    """Add a line to the audit log, which the database has now."""
    counts = {name: getattr(report, name) for name in ("runs", "events", "usage", "stubs")}
    # The import is done: a database that cannot be opened now does not undo it.
    with suppress(PersistenceError), closing(config.get_persistence()) as persistence:
        log_import(persistence, "curio", report.kept_in or report.location, counts)


def _open(config: DatabaseConfig, *, read_only: bool) -> Original:
    match config.db_type:
        case "sqlite" if config.db_path != ":memory:":
            from curio_persistence.backends.sqlite.legacy import SQLiteOriginal

            return SQLiteOriginal(config.db_path, read_only=read_only)
        case "postgres":
            from curio_persistence.backends.postgres.dsn import libpq_settings
            from curio_persistence.backends.postgres.legacy import PostgresOriginal

            settings = libpq_settings(
                config.dsn,
                host=config.db_host,
                port=config.db_port,
                dbname=config.db_name,
                user=config.db_user,
                password=config.db_password,
            )
            return PostgresOriginal(settings, schema_name=config.db_schema)
    raise UnsupportedError(
        "A database in memory ends with its process: there is nothing to import."
    )


def _untold(done: int, total: int | None) -> None:
    """Ignore the progress."""


class _Import:
    """One import, or a dry run of it."""

    def __init__(self, original: Original, times: LocalTimes, progress: Progress) -> None:
        self._original = original
        self._times = times
        self._progress = progress
        self._readers = {
            table.name: OldRows(table, original.columns(table), times) for table in TABLES
        }
        self._done = dict.fromkeys(self._readers, 0)
        self._stubs = 0
        self._last_run = 0

    def look(self) -> CurioImportReport:
        with self._original.looking():
            for table, old in self._old_rows():
                self._readers[table.name].read(old)
            self._stubs = self._original.count_strays()
        return self._report(None)

    def replace(self) -> CurioImportReport:
        with self._original.replacing() as kept_in:
            for table, old in self._old_rows():
                ids, rows = self._readers[table.name].read(old)
                if table is RUNS:
                    self._last_run = ids[-1]
                elif table is EVENTS:
                    self._make_stubs(rows)
                self._original.keep(table, ids, rows)
            self._original.check_counts(self._stubs)
        return self._report(kept_in)

    def _old_rows(self) -> Iterator[tuple[Table[Any], list[OldRow]]]:
        """Yield all old rows, some of a table at a time."""
        total = sum(map(self._original.count_old, TABLES))
        for table in TABLES:
            for old in self._original.old_rows(table):
                yield table, old
                self._done[table.name] += len(old)
                self._progress(sum(self._done.values()), total)

    def _make_stubs(self, events: list[Row]) -> None:
        """Create the runs that only events name, which SQLite allowed, from their first events."""
        firsts: dict[StoredValue, Row] = {}
        for event in events:
            firsts.setdefault(event["run_id"], event)
        unknown = self._original.unknown_runs(firsts)
        if not unknown:
            return
        stubs = [stub_of(event) for run_id, event in firsts.items() if run_id in unknown]
        ids = range(self._last_run + 1, self._last_run + 1 + len(stubs))
        self._original.keep(RUNS, ids, stubs)
        self._last_run = ids[-1]
        self._stubs += len(stubs)

    def _report(self, kept_in: str | None) -> CurioImportReport:
        original, times, readers = self._original, self._times, self._readers.values()
        return CurioImportReport(
            original.location,
            times.name,
            times.is_assumed,
            dry_run=kept_in is None,
            runs=self._done[RUNS.name],
            events=self._done[EVENTS.name],
            usage=self._done[USAGE.name],
            stubs=self._stubs,
            ambiguous=times.doubts["ambiguous"],
            missing=times.doubts["missing"],
            unreadable=sum(reader.unreadable for reader in readers),
            examples=tuple(example for reader in readers for example in reader.examples),
            left_out=tuple(f"{t.name}.{name}" for t in TABLES for name in original.left_out(t)),
            kept_in=kept_in,
        )
