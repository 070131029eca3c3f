"""Pass a reader of sessions the caller's choices, and collect the problems it reports."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from curio_persistence.capabilities.windows import (
    TimeLike,
    before,
    checked_length,
    checked_moment,
)
from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.json_lines import moment, read_objects
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.sessions.files import STILL_AFTER, FileStates, SessionFile
from curio_persistence.importers.sessions.records import Found, SessionSource
from curio_persistence.store.filters import Filter
from curio_persistence.tables import EVENTS, RUNS

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_FIRST_YEAR, _LAST_YEAR = 2000, 2100
_MOST_TOKENS = 10**10
_NOT_IMPORTED = (Filter("source", "is null"), Filter("stub", "is null"))
"""Imported runs have their source in their metadata. An import that was broken off leaves stubs."""


class SessionContext:
    """One import of one source."""

    def __init__(
        self,
        source: SessionSource,
        roots: Sequence[Path],
        persistence: Persistence | None,
        report: ReportBuilder,
        *,
        since: TimeLike | None = None,
        metrics_only: bool = False,
        exclude: Collection[str] = (),
        verify: bool = False,
    ) -> None:
        self.source = source
        self.report = report
        self.since = None if since is None else _moment(since, time.time())
        self.metrics_only = metrics_only
        self.now = time.time()
        self.yielded = self.bytes_unchanged = 0
        self.roots = roots
        self._persistence = persistence
        self._exclude = tuple(exclude)
        chosen = [str(since) if since else "", "metrics" if metrics_only else "", *sorted(exclude)]
        self._how = "\n".join(chosen) if any(chosen) else ""
        self._states = FileStates(source.name, persistence, verify=verify)
        self._owners: dict[str, str] = {}
        self._seen: set[int] = set()
        self._told: set[tuple[str, str]] = set()

    # --- files ---------------------------------------------------------------------------------

    def files(self) -> Iterator[SessionFile]:
        """Yield the files of all places that hold sessions."""
        for root in self.roots:
            try:
                yield from self._files_in(root)
            except OSError as error:  # Of the root itself.
                self.problem(str(root), None, f"cannot be read: {error.strerror}")

    def _files_in(self, root: Path) -> Iterator[SessionFile]:
        for path in self.source.find(root, self.report):
            try:
                yield SessionFile.at(path, root)
            except OSError as error:
                self.problem(path.name, None, f"cannot be read: {error.strerror}")

    def is_read(self, files: Sequence[SessionFile]) -> bool:
        """Return whether files were read before and are unchanged; if so, they are counted."""
        if not self._states.is_read(files, self._how, self.now):
            return False
        self.report.also["unchanged files"] += len(files)
        self.bytes_unchanged += sum(file.size for file in files)
        return True

    def has_read(self, files: Sequence[SessionFile], *, settled: bool = True) -> None:
        """Note that all records of these files were yielded.

        Files that are not settled are read again when they have been still for an hour.
        """
        is_whole = all(file.name not in self.report.incomplete for file in files)
        self._states.has_read(files, self._how, self.yielded, settled=settled and is_whole)

    def is_still(self, file: SessionFile) -> bool:
        """Return whether nothing more is expected in a file: it has been still for an hour."""
        return file.is_still(self.now)

    def is_live(self, file: SessionFile, last: datetime | None) -> bool:
        """Return whether a turn is still going on: its file and its last entry are both recent."""
        return not self.is_still(file) and (
            last is not None and self.now - last.timestamp() < STILL_AFTER
        )

    def lines(self, file: SessionFile) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the objects of a file of JSON lines with their numbers; others are problems."""
        return read_objects(file.path, file.name, self.report, grows=not self.is_still(file))

    # --- problems -------------------------------------------------------------------------------

    def problem(self, file: str, line: int | None, why: object) -> None:
        """Tell what cannot be read; the rest is read all the same."""
        self.report.problem(file, line, why)

    def problem_once(self, file: str, line: int | None, why: str) -> None:
        """Tell the same of a file only once."""
        if (file, why) not in self._told:
            self._told.add((file, why))
            self.problem(file, line, why)

    def skip(self, why: str, count: int = 1) -> None:
        """Count what is left out on purpose."""
        self.report.skip(why, count)

    # --- values --------------------------------------------------------------------------------

    def moment(self, value: Any, file: str, line: int | None) -> datetime | None:
        """Return a time, in UTC if it has no zone; None, and a problem, for an impossible one."""
        if value is None:
            return None
        try:
            found = moment(value)
        except InvalidValueError as error:
            self.problem(file, line, error)
            return None
        if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
            self.problem(file, line, f"has a time that cannot be: {value!r:.40}")
            return None
        if isinstance(value, str) and not value.endswith("Z") and _has_no_zone(value):
            self.problem_once(file, line, "has times without a zone, which are read as UTC")
        return found

    def tokens(self, value: Any, file: str, line: int | None) -> int | None:
        """Return a number of tokens; None, and a problem, if it cannot be one."""
        if value is None:
            return None
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole or not 0 <= value <= _MOST_TOKENS:
            self.problem(file, line, f"has a number of tokens that cannot be: {value!r:.40}")
            return None
        return int(value)

    # --- what is wanted, and what is new -------------------------------------------------------

    def wants(self, project: str | None, started_at: datetime | None) -> bool:
        """Return whether a turn is wanted; this counts one that is not."""
        if project is not None and any(_is_like(project, each) for each in self._exclude):
            self.skip("excluded project")
            return False
        if self.since is not None and started_at is not None and started_at < self.since:
            self.skip("before --since")
            return False
        return True

    def is_received(self, session_id: str) -> bool:
        """Return whether OpenTelemetry told of a session, whose calls have other ids there.

        It is counted then, and not imported: each call is there once.
        """
        if self._persistence is None:
            return False
        where = (*RUNS.where(session_id=session_id, agent_id=self.source.name), *_NOT_IMPORTED)
        if not self._persistence._store.select_columns(RUNS, ("run_id",), where, limit=1):
            return False
        self.skip("sessions that OpenTelemetry told")
        return True

    def is_new(self, event_id: str) -> bool:
        """Return whether this import has not met an id before; it is met now."""
        key = hash(event_id)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def owner(self, event_id: str, run_id: str) -> str:
        """Return the run that a prompt belongs to: the first with its event, now or before."""
        found = self._owners.get(event_id)
        if found is None:
            found = self._owners[event_id] = self._stored_owner(event_id) or run_id
        return found

    def _stored_owner(self, event_id: str) -> str | None:
        if self._persistence is None or self._states.is_new:
            return None
        where = EVENTS.where(event_id=event_id)
        [*rows] = self._persistence._store.select_columns(EVENTS, ("run_id",), where)
        return str(rows[0][0]) if rows else None

    # --- the frame's own -----------------------------------------------------------------------

    def counted(self, found: Found) -> Found:
        """Yield the same records, and count them; what ends the reading of a source is told."""
        try:
            for record in found:
                self.yielded += 1
                yield record
        except OSError as error:
            file = str(error.filename or self.source.name)
            self.problem(file, None, f"cannot be read: {error.strerror}")

    def stored(self, count: int | None) -> None:
        """Remember the files whose records are stored."""
        self._states.stored(count, self.now)


def _moment(since: TimeLike, now: float) -> datetime:
    """Return a time that is given as such, or as how long ago it was."""
    text = checked_moment("since", since)
    with suppress(InvalidValueError):
        return before(datetime.fromtimestamp(now, UTC), checked_length("since", text))
    return moment(text)


def _has_no_zone(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def _is_like(project: str, pattern: str) -> bool:
    path = pattern.rstrip("/") or pattern
    return (
        project == path
        or PurePath(project).name == path
        or PurePath(project).is_relative_to(path)
        or fnmatchcase(project, path)
    )
