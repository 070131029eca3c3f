"""Define a source of sessions, and the records that its reader yields.

A reader yields runs, events and model calls with stable ids, each with the file and line where it
was found. A run comes after its events, and may come again with what is known by then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.importers.common.writer import ImportedRecord, SourceLocation
from curio_persistence.models import (
    MCP_CALL,
    TOOL_CALL,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    Level,
)

if TYPE_CHECKING:
    from curio_persistence.importers.common.report import ReportBuilder
    from curio_persistence.importers.sessions.context import SessionContext

__all__ = ["Found", "SessionSource", "SourceLocation", "ToolCall", "Turn"]

Found = Generator[ImportedRecord]
"""The records that a reader yields."""

UNFINISHED = "What is recorded ends within this run: it crashed, or was still going on."
"""The error of a run without an end."""
LONGEST_ID = 255
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_MS = 1e10
_NOWHERE = SourceLocation("")


class SessionSource(NamedTuple):
    """A program that leaves sessions behind, and the functions that know its format.

    `places(environment, home)` yields the usual folders or files, there or not. `recognize(path)`
    tells cheaply whether a file or folder is of this source. `find(root, report)` yields the files
    in a place that hold sessions; see `sessions.files.walk`. `read(context)` yields the records of
    `context.files()` in bounded memory.
    """

    name: str
    places: Callable[[Mapping[str, str], Path], Iterable[Path]]
    recognize: Callable[[Path], bool]
    find: Callable[[Path, ReportBuilder], Iterable[Path]]
    read: Callable[[SessionContext], Found]


def nowhere(environment: Mapping[str, str], home: Path) -> Iterable[Path]:
    """Return no usual place, for files that lie wherever a user or a program chose."""
    return ()


def stable_id(source: str, *parts: object) -> str:
    """Return `<source>/<part>/…`; of a name that is too long, a digest in its place."""
    name = "/".join(map(str, (source, *parts)))
    if len(name) <= LONGEST_ID:
        return name
    from hashlib import sha256

    return f"{source}/{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


@dataclass(slots=True)
class Turn:
    """A run while it is being read: from a prompt to its end, or an agent that a turn started."""

    source: str
    session_id: str | None
    run_id: str
    agent_id: str
    objective: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    final: str | None = None
    status: str = AgentRunStatus.COMPLETED.value
    error: str | None = None
    parent_run_id: str | None = None
    location: SourceLocation = _NOWHERE
    metadata: dict[str, Any] = field(default_factory=dict)
    """`project`, `branch`, `version` and `title`, where they are told."""

    def saw(self, at: datetime | None) -> None:
        """Note that something of the turn happened at this time."""
        if at is None:
            return
        if self.started_at is None or at < self.started_at:
            self.started_at = at
        if self.finished_at is None or at > self.finished_at:
            self.finished_at = at

    def event(
        self,
        event_id: str,
        kind: str,
        at: datetime | None,
        data: Any = None,
        *,
        level: str = Level.INFO.value,
        message: str | None = None,
        span_id: str | None = None,
        parent_span_id: str | None = None,
    ) -> AgentRunEvent:
        """Return an event of this turn."""
        return AgentRunEvent(
            self.agent_id,
            self.run_id,
            timestamp=at or self.finished_at or self.started_at,
            event_type=kind[:50],
            data=data,
            event_id=event_id,
            session_id=self.session_id,
            level=level,
            message=message,
            span_id=span_id,
            parent_span_id=parent_span_id,
        )

    def to_run(self) -> AgentRun:
        """Return the run."""
        metadata = {"source": self.source, **self.metadata}
        return AgentRun(
            self.agent_id,
            self.run_id,
            objective=self.objective,
            started_at=self.started_at,
            finished_at=None if self.status == AgentRunStatus.RUNNING.value else self.finished_at,
            final_synthesis_output=self.final,
            status=self.status,
            error_message=self.error,
            metadata={name: value for name, value in metadata.items() if value is not None},
            created_at=self.started_at,
            session_id=self.session_id,
            parent_run_id=self.parent_run_id,
        )


@dataclass(slots=True)
class ToolCall:
    """A call of a tool, from its beginning to its result."""

    call_id: str
    name: str
    arguments: Any = None
    at: datetime | None = None
    parent_span_id: str | None = None
    result: Any = None
    error: str | None = None
    latency_ms: float | None = None
    unfinished: bool = False

    def end(self, at: datetime | None) -> None:
        """Take the time from the beginning to the end, where the source tells none."""
        if self.latency_ms is None:
            self.latency_ms = milliseconds_between(self.at, at)

    def to_event(self, turn: Turn, event_id: str) -> AgentRunEvent:
        """Return the event; a tool named `mcp__server__tool` is an MCP server's."""
        server, tool = _mcp_parts(self.name)
        data = {
            "server": server,
            "tool_name" if server is None else "tool": tool,
            "args": self.arguments,
            "result": self.result,
            "latency_ms": self.latency_ms,
            "error": self.error,
            "unfinished": self.unfinished or None,
        }
        return turn.event(
            event_id,
            TOOL_CALL if server is None else MCP_CALL,
            self._ended_at(),
            {name: value for name, value in data.items() if value is not None},
            level=Level.INFO.value if self.error is None else Level.ERROR.value,
            span_id=self.call_id,
            parent_span_id=self.parent_span_id,
        )

    def _ended_at(self) -> datetime | None:
        """Return the time of the event, which is that of the end, as the recorder has it."""
        took = self.latency_ms
        if self.at is None or took is None or not 0 <= took < _LONGEST_MS:
            return self.at
        return self.at + timedelta(milliseconds=took)


def milliseconds_between(began: datetime | None, ended: datetime | None) -> float | None:
    """Return how long something took; None if a time is not known, or is before the other."""
    if began is None or ended is None or ended < began:
        return None
    return (ended - began) / _MILLISECOND


def mcp_name(server: object, tool: object) -> str:
    """Return the name by which a tool of an MCP server is known."""
    return f"mcp__{server}__{tool}"


def _mcp_parts(name: str) -> tuple[str | None, str]:
    """Return the server that a tool is of, and the name of the tool there."""
    kind, _, rest = name.partition("__")
    server, _, tool = rest.partition("__")
    return (server, tool) if kind == "mcp" and tool else (None, name)
