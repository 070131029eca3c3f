"""Run folders of AGDD and MAGSAG, `.runs/agents/<run_id>/`, as runs, events and metrics.

`python -m curio_persistence.importers.agdd --source .runs/agents --db-path agents.db` is the same
as `curio-persistence import agdd .runs/agents --db-path agents.db`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import chain, islice
from os import DirEntry
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.agdd import events
from curio_persistence.importers.agdd.run import RunFacts, completed, fitting
from curio_persistence.importers.common.audit import audited
from curio_persistence.importers.common.folders import Source, listed, source_path
from curio_persistence.importers.common.json_lines import read_object, read_objects
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.importers.common.writer import ImportedRecord, ImportWriter, SourceLocation
from curio_persistence.progress import Progress

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_LOGS, _EVENTS, _MCP_CALLS = "logs.jsonl", "events.jsonl", "mcp_calls.jsonl"
_METRICS, _SUMMARY, _PLAN = "metrics.json", "summary.json", "plan.json"
_LINES = {
    _LOGS: events.of_log,
    _EVENTS: events.of_envelope,
    _MCP_CALLS: events.of_mcp_call,
}
_FILES = {*_LINES, _METRICS, _SUMMARY, _PLAN}
_LOOKED_AT = 100
"""Lines of a log that are searched for the agent, which the first whole line names."""


def import_agdd(
    source: Source, persistence: Persistence | None, *, progress: Progress | None = None
) -> ImportReport:
    """Import the run folders in `source`; without a persistence they are only looked through.

    It can be repeated: what is stored is skipped, what has come since is added, and a run is
    completed. What cannot be read is told in the report, and everything else imported all the same.
    """
    root = source_path(source)
    if not root.is_dir():
        raise InvalidValueError(
            f"{source} is not a folder. Name the one that has a folder for each run, .runs/agents.",
            field="source",
        )
    report = ReportBuilder()
    writer = ImportWriter(persistence, report, progress, completed)
    with audited(persistence, "agdd", root, report):
        writer.take(_found_in(root, report))
    return report.build(dry_run=persistence is None)


def _found_in(root: Path, report: ReportBuilder) -> Generator[ImportedRecord]:
    for entry in listed(root, root, report).values():
        if entry.is_dir():
            yield from _Folder(entry, root, report).found()


class _Folder:
    """One run's folder."""

    def __init__(self, entry: DirEntry[str], root: Path, report: ReportBuilder) -> None:
        self._run_id = entry.name
        self._report = report
        self._files = listed(Path(entry.path), root, report, only=_FILES)

    def found(self) -> Iterator[ImportedRecord]:
        """Yield the events, and then the run itself."""
        if not self._files:
            self._report.skip("folders without a run")
            return
        summary = self._summary()
        run = RunFacts(self._run_id, summary, self._read(_PLAN))
        run.agent_id = run.agent_id or self._agent_in_lines() or "unknown"
        for name in _LINES:
            yield from self._found_in_lines(run, name)
        yield from self._found_in_metrics(run, self._read(_METRICS))
        yield run.to_run(), SourceLocation(self._run_id)

    def _location(self, name: str, line: int | None = None) -> SourceLocation:
        return SourceLocation(f"{self._run_id}/{name}", line)

    def _read(self, name: str) -> dict[str, Any] | None:
        if name not in self._files:
            return None
        return read_object(Path(self._files[name].path), self._location(name).file, self._report)

    def _summary(self) -> dict[str, Any] | None:
        summary = self._read(_SUMMARY)
        for field, name in (("agent_id", "slug"), ("status", "status")):
            try:
                fitting(field, summary or {}, name)
            except InvalidValueError as error:
                self._report.problem(*self._location(_SUMMARY), error)
        return summary

    def _agent_in_lines(self) -> str | None:
        """Return the agent, which every event needs before the log is read to its end."""
        lines = (self._head(name) for name in (_LOGS, _EVENTS))
        return next(filter(None, map(events.agent_in, chain.from_iterable(lines))), None)

    def _head(self, name: str) -> Iterator[dict[str, Any]]:
        if name in self._files:
            lines = read_objects(Path(self._files[name].path), "", ReportBuilder())
            yield from (entry for _, entry in islice(lines, _LOOKED_AT))

    def _found_in_lines(self, run: RunFacts, name: str) -> Iterator[ImportedRecord]:
        if name not in self._files:
            return
        read, file = _LINES[name], self._location(name).file
        for number, entry in read_objects(Path(self._files[name].path), file, self._report):
            location = SourceLocation(file, number)
            try:
                event = read(run, entry)
            except InvalidValueError as error:
                self._report.problem(*location, error)
                continue
            event.event_id = run.event_id(name, number)
            yield event, location

    def _found_in_metrics(
        self, run: RunFacts, metrics: dict[str, Any] | None
    ) -> Iterator[ImportedRecord]:
        """Yield the metrics; the summary has a copy if their file is broken or missing."""
        if metrics is None:
            metrics = run.summary.get("metrics")
        if not isinstance(metrics, dict):
            return
        for key, values in metrics.items():
            location = self._location(_METRICS)
            if not isinstance(values, list):
                self._report.problem(*location, f"has no list of values under {key!r}")
                continue
            for number, entry in enumerate(values):
                try:
                    event = events.of_metric(run, key, entry)
                except InvalidValueError as error:
                    self._report.problem(*location, f"value {number} of {key!r} {error}")
                    continue
                event.event_id = run.event_id(_METRICS, key, number)
                yield event, location


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `curio-persistence import agdd` with `--source DIR` and its other options."""
    from argparse import ArgumentParser

    from curio_persistence.cli import main as command

    parser = ArgumentParser(
        prog="python -m curio_persistence.importers.agdd",
        description="Import run folders of AGDD or MAGSAG.",
        epilog="All other options are those of: curio-persistence import --help",
        allow_abbrev=False,
    )
    parser.add_argument("--source", required=True, metavar="DIR", help="as .runs/agents")
    options, others = parser.parse_known_args(arguments)
    return command(["import", *others, "--", "agdd", options.source])
