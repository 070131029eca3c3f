"""Store the records of sessions, add them up, and leave the words out where that is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.common.merging import joined_objects
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.writer import Imported, ImportWriter, _Batch
from curio_persistence.importers.sessions.report import WITHOUT_WORDS, Tally
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, Score
from curio_persistence.pricing import Pricing
from curio_persistence.redaction import Redaction
from curio_persistence.tables import EVENTS, SCORES, USAGE

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence
    from curio_persistence.progress import Progress

_PLAIN = (
    *("agent_id", "objective", "final_synthesis_output"),
    *("session_id", "parent_run_id", "error_message"),
)
_NUMBERS = ("tool_name", "server", "tool", "latency_ms", "unfinished")
"""The members of a tool call's data that are kept without its words."""
_NAMES = ("source", "project", "branch", "version")
METRICS_ONLY = "metrics-only"


class SessionWriter(ImportWriter):
    """Stores what the reader of a source yields; in a dry run it only checks and adds up."""

    _keeps_deleted = True  # A file is read again whenever it has grown.

    def __init__(
        self,
        persistence: Persistence | None,
        redaction: Redaction,
        report: ReportBuilder,
        progress: Progress,
        *,
        metrics_only: bool,
    ) -> None:
        super().__init__(persistence, report, progress, completed)
        Pricing.of(redaction)  # A dry run tells costs as well.
        self._encode = {table: redaction.encoder(table) for table in (EVENTS, USAGE, SCORES)}
        self._metrics_only = metrics_only
        self.tally = Tally()

    def _put(self, record: Imported, batch: _Batch) -> None:
        super()._put(without_content(record) if self._metrics_only else record, batch)
        if isinstance(record, AgentRun):
            self.tally.runs.add(record.run_id)
            if record.session_id is not None:
                self.tally.sessions.add(record.session_id)
        elif isinstance(record, AgentLLMUsage):
            self.tally.add_call(batch.rows[USAGE][-1])

    def _complete_run(self, persistence: Persistence, stored: AgentRun, run: AgentRun) -> None:
        super()._complete_run(persistence, stored, run)
        if not self._metrics_only and METRICS_ONLY in (stored.metadata or ""):
            is_bare = stored.get_metadata_dict().get("content") == METRICS_ONLY
            self._report.skip(WITHOUT_WORDS, int(is_bare))


def completed(stored: AgentRun, found: AgentRun) -> AgentRun:
    """Return a stored run with what its files tell by now; what others added to it stays."""
    changes: dict[str, Any] = {
        name: getattr(found, name) or getattr(stored, name) for name in _PLAIN
    }
    if found.error_message is None and found.status != stored.status:
        changes["error_message"] = None
    return replace(
        stored,
        **changes,
        started_at=stored.started_at or found.started_at,
        status=found.status,
        finished_at=found.finished_at,
        metadata=joined_objects(stored.metadata, found.metadata),
    )


def without_content(record: Imported) -> Imported:
    """Return a record without the words of people, models and tools: names and numbers remain."""
    without = _WITHOUT[type(record)]
    changed: Imported = without(record)
    return changed


def _run(run: AgentRun) -> AgentRun:
    metadata = run.metadata if isinstance(run.metadata, dict) else {}
    kept = {name: metadata[name] for name in _NAMES if name in metadata}
    kept["content"] = METRICS_ONLY
    return replace(
        run, objective="", final_synthesis_output=None, error_message=None, metadata=kept
    )


def _event(event: AgentRunEvent) -> AgentRunEvent:
    data = event.data if isinstance(event.data, dict) else {}
    kept = {name: data[name] for name in _NUMBERS if name in data}
    if data.get("error"):
        kept["error"] = True
    return replace(event, data=kept or None, message=None, metadata=None)


def _usage(usage: AgentLLMUsage) -> AgentLLMUsage:
    return replace(usage, prompt="", response_content=None, input_params=None, error_message=None)


def _score(score: Score) -> Score:
    return replace(score, comment=None)


_WITHOUT: dict[type, Callable[[Any], Any]] = {
    AgentRun: _run,
    AgentRunEvent: _event,
    AgentLLMUsage: _usage,
    Score: _score,
}
