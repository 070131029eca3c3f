"""Reports of imports: what was stored, what was skipped, and what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_TOLD = 1_000
"""Problems that a report names; of more it tells the number. A broken file may have millions."""

_LONGEST = 300
"""Characters of what is told of a problem, which may quote what was found."""


class Problem(NamedTuple):
    """Something that was not imported; `line` is None where it is not about a single line."""

    file: str
    line: int | None
    what: str

    def __str__(self) -> str:
        location = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{location}: {self.what}"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The number of records imported; after a dry run, of those that could be.

    A dry run does not know which of them are stored already.

    `skipped` counts what was left out on purpose, by the reason. `problems` are the first thousand,
    `more_problems` is the number of the others. `also` counts what is not a record of runs.
    """

    runs: int
    events: int
    usage: int
    scores: int
    approvals: int
    snapshots: int
    spans: int
    sources: int
    agents: int
    sessions: int
    skipped: Mapping[str, int]
    problems: tuple[Problem, ...]
    more_problems: int
    dry_run: bool
    also: Mapping[str, int]
    incomplete: tuple[Problem, ...] = ()
    """The last lines of growing files that were cut off: they are read when they are complete."""

    @property
    def ok(self) -> bool:
        """Return True if there were no problems."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, ready for JSON."""
        return {
            "ok": self.ok,
            "dry_run": self.dry_run,
            "runs": self.runs,
            "events": self.events,
            "usage": self.usage,
            "scores": self.scores,
            "approvals": self.approvals,
            "snapshots": self.snapshots,
            "spans": self.spans,
            "sources": self.sources,
            "agents": self.agents,
            "sessions": self.sessions,
            "skipped": dict(self.skipped),
            "problems": [problem._asdict() for problem in self.problems],
            "more_problems": self.more_problems,
            "also": dict(self.also),
            "incomplete": [each._asdict() for each in self.incomplete],
        }


class ReportBuilder:
    """A report while it is being written."""

    def __init__(self) -> None:
        self.runs = self.events = self.usage = self.scores = self.spans = 0
        self.approvals = self.snapshots = self.sources = self.agents = self.sessions = 0
        self.skipped: Counter[str] = Counter()
        self.also: Counter[str] = Counter()
        self.bytes_read = 0
        self.incomplete: dict[str, Problem] = {}
        self._problems: list[Problem] = []
        self._more_problems = 0

    def problem(self, file: str, line: int | None, what: object) -> None:
        """Note that something cannot be imported."""
        if len(self._problems) < _TOLD:
            self._problems.append(Problem(file, line, str(what)[:_LONGEST]))
        else:
            self._more_problems += 1

    def wait(self, file: str, line: int) -> None:
        """Note that the last line of a growing file is not whole yet."""
        what = "is not complete yet, and will be read when it is"
        self.incomplete[file] = Problem(file, line, what)

    def skip(self, why: str, count: int = 1) -> None:
        """Note that so many records were left out on purpose."""
        if count:
            self.skipped[why] += count

    def build(self, *, dry_run: bool) -> ImportReport:
        return ImportReport(
            self.runs,
            self.events,
            self.usage,
            self.scores,
            self.approvals,
            self.snapshots,
            self.spans,
            self.sources,
            self.agents,
            self.sessions,
            dict(self.skipped),
            tuple(self._problems),
            self._more_problems,
            dry_run,
            dict(self.also),
            tuple(self.incomplete.values()),
        )
