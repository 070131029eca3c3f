"""Sessions that other agents left on disk, as runs, events and model calls, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.errors import InvalidValueError, PersistenceError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.audit import log_import
from curio_persistence.importers.common.folders import Source
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.discovery import AUTO, find_sessions
from curio_persistence.importers.sessions.report import (
    SessionImportReport,
    SessionPlace,
    SourceReport,
)
from curio_persistence.importers.sessions.sources import SOURCES, source_named
from curio_persistence.importers.sessions.writer import SessionWriter
from curio_persistence.progress import Progress
from curio_persistence.redaction import Redaction

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

Content = Literal["all", "metrics-only"]


def import_sessions(
    paths: Iterable[Source] | Iterable[SessionPlace] | Source | None = None,
    persistence: Persistence | None = None,
    *,
    source: str = AUTO,
    since: TimeLike | None = None,
    content: Content = "all",
    exclude: Collection[str] = (),
    progress: Progress | None = None,
    dry_run: bool = False,
    verify: bool = False,
    on_found: Callable[[list[SessionPlace]], object] | None = None,
) -> SessionImportReport:
    """Import the sessions in files or folders, by default those of this machine's user.

    Without a persistence, or with `dry_run`, everything is read and checked, and nothing stored. It
    can be repeated: files that did not change since are not read again (told by size and time; with
    `verify` by their hash), what has come since is added, and runs are completed. What cannot be
    read is told in the report, and everything else imported all the same.

    `paths` may be what `find_sessions` returned, which is then not looked for again.
    `source` is a name in SOURCES, or "auto". Turns that began before `since` (a time, or how long
    ago: "30d"), and those of the projects in `exclude` (a name, a path, or a pattern), are left
    out. With the `content` "metrics-only" no words of people, models and tools are kept.
    `progress` is told bytes. `on_found` is called with the places before they are read.
    """
    if content not in ("all", "metrics-only"):
        raise InvalidValueError(
            f"content is 'all' or 'metrics-only', not {content!r}.", field="content"
        )
    if persistence is not None:
        checked_persistence(persistence)
        if not dry_run:
            persistence._store.check_writable()
    places = _places(paths, source)
    if on_found is not None:
        on_found(places)
    work = _Import(
        None if dry_run else persistence,
        persistence.redaction if persistence is not None else Redaction(),
        since=since,
        metrics_only=content == "metrics-only",
        exclude=exclude,
        verify=verify,
        progress=progress,
        total=sum(place.bytes for place in places),
    )
    return work.run(places)


def _places(paths: Any, source: str) -> list[SessionPlace]:
    if isinstance(paths, str) or hasattr(paths, "__fspath__"):
        paths = [paths]
    given = None if paths is None else [*paths]
    if given and all(isinstance(each, SessionPlace) for each in given):
        return sorted(given, key=lambda place: [*SOURCES].index(place.source))
    return find_sessions(given, source=source)


@dataclass(slots=True)
class _Import:
    """One import of all sources."""

    persistence: Persistence | None
    redaction: Redaction
    since: TimeLike | None
    metrics_only: bool
    exclude: Collection[str]
    verify: bool
    progress: Progress | None
    total: int
    done: int = 0
    """Bytes of the sources that were read, of the total."""

    def run(self, places: Iterable[SessionPlace]) -> SessionImportReport:
        by_source = groupby(places, key=lambda place: place.source)
        reports = [self._take(name, tuple(some)) for name, some in by_source]
        return SessionImportReport(tuple(reports), self.persistence is None)

    def _take(self, name: str, places: tuple[SessionPlace, ...]) -> SourceReport:
        source, report = source_named(name), ReportBuilder()
        roots = [place.path for place in places]
        context = SessionContext(
            source,
            roots,
            self.persistence,
            report,
            since=self.since,
            metrics_only=self.metrics_only,
            exclude=self.exclude,
            verify=self.verify,
        )

        def stored(done: int, _: int | None) -> None:
            context.stored(done)
            self._tell(report.bytes_read + context.bytes_unchanged)

        writer = SessionWriter(
            self.persistence, self.redaction, report, stored, metrics_only=self.metrics_only
        )
        try:
            writer.take(context.counted(source.read(context)))
            context.stored(None)
        except BaseException:
            with suppress(PersistenceError):  # The import itself says what failed.
                self._log(name, places, report)
            raise
        self.done += sum(place.bytes for place in places)
        self._log(name, places, report)
        return writer.tally.build(name, places, report, dry_run=self.persistence is None)

    def _tell(self, bytes_done: int) -> None:
        if self.progress is not None:
            self.progress(min(self.done + bytes_done, self.total), self.total)

    def _log(self, name: str, places: Iterable[SessionPlace], report: ReportBuilder) -> None:
        """Add a line to the audit log, if something has come."""
        counts = {"runs": report.runs, "events": report.events, "usage": report.usage}
        if self.persistence is not None and any(counts.values()):
            where = ", ".join(str(place.path) for place in places)
            log_import(self.persistence, f"sessions of {name}", where, counts)
