"""The SQLite database of AgentLens: events with their chains, sessions, agents, rules and alerts.

Events are kept byte for byte, in the order in which they were appended. Their chains are verified:
what does not fit is told, and imported as it is, so that it still shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.importers.common.databases import import_database
from curio_persistence.importers.common.folders import Source
from curio_persistence.importers.common.limits import MAX_BYTES
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.progress import Progress

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_BATCH = 1_000
"""The rows that one transaction stores."""
_JSON = ("tags", "scope", "notify_channels")
"""The columns with JSON text."""
Row = dict[str, Any]


def import_agentlens(
    source: Source, persistence: Persistence | None, *, progress: Progress | None = None
) -> ImportReport:
    """Import a SQLite database of AgentLens; without a persistence, only read and verify it.

    It can be repeated: events that are stored already are skipped, and sessions, agents and rules
    are changed to what they are there. Sessions keep the counters that they have there.
    """
    return import_database(
        "agentlens",
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
        from curio_persistence.compat.agentlens.adopting import Adopter  # It is built above this.

        self._path = path
        self._store = Adopter(persistence)
        self._progress = progress
        self._report = report
        self._done = 0
        self._purged: set[str] = set()

    def run(self) -> None:
        report, store = self._report, self._store
        for rows in self._batches("events"):
            self._take_events(rows)
        report.sessions = report.runs = self._take("sessions", store.upsert_session)
        report.agents = self._take("agents", store.upsert_agent)
        report.also["alert rules"] = self._take("alert_rules", self._take_rule)
        report.also["alerts"] = self._take("alert_history", self._take_alert)
        report.skip("sessions' beginnings, purged before", len(self._purged))

    def _batches(self, table: str) -> Iterator[list[Row]]:
        """Yield the rows of a table in the order they were added; old versions lack some tables."""
        from curio_persistence.importers.common.sqlite_tables import MissingTableError, read_rows

        rows = read_rows(self._path, table, most_bytes=MAX_BYTES)
        try:
            while some := list(islice(rows, _BATCH)):
                yield some
                self._done += len(some)
                if self._progress is not None:
                    self._progress(self._done, None)
        except MissingTableError:
            if table == "events":
                raise

    def _take_events(self, rows: list[Row]) -> None:
        events = []
        for row in rows:
            with self._telling("event", row):
                events.append(self._store.prepare(row))
        adopted = self._store.adopt(events)
        self._report.events += adopted.new
        self._report.skip("stored before", adopted.known)
        self._purged |= adopted.without_beginning
        for event, fault in adopted.faults:
            self._problem(f"event {event.id} of session {event.session_id}: {fault}")

    def _take(self, table: str, take: Callable[[Row], object]) -> int:
        """Store rows one by one, many in a transaction; return how many are stored now."""
        stored = 0
        for rows in self._batches(table):
            with self._store.persistence.transaction():
                for row in rows:
                    with self._telling(table, row):
                        take({name: _parsed(name, value) for name, value in row.items()})
                        stored += 1
        return stored

    @contextmanager
    def _telling(self, what: str, row: Row) -> Iterator[None]:
        """Report a row that cannot be stored."""
        try:
            yield
        except InvalidValueError as error:
            self._problem(f"{what} {row.get('id')!r:.80}: {error}")

    def _problem(self, what: str) -> None:
        self._report.problem(self._path.name, None, what)

    def _take_rule(self, row: Row) -> None:
        rule = {**row, "enabled": bool(row.get("enabled"))}
        if self._store.get_alert_rule(rule["id"]) is None:
            self._store.create_alert_rule(rule)
        else:
            self._store.update_alert_rule(rule["id"], rule)

    def _take_alert(self, row: Row) -> None:
        try:
            self._store.insert_alert_history(row)
        except ConflictError:
            self._report.skip("stored before")


def _parsed(name: str, value: Any) -> Any:
    """Return the value of a column, or what its JSON says."""
    if name not in _JSON or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"{name} is not JSON: {value!r:.80}.", field=name) from error
