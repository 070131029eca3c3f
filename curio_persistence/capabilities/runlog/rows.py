"""Convert entries of a run log to rows of events, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentRunEvent, Level
from curio_persistence.runlog.codecs import decode, encode
from curio_persistence.runlog.entries import RunLogEntry, RunLogEntryKind, RunStarted
from curio_persistence.store.codecs import HIGHEST_POSITION, decode_texts
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Columns, Row
from curio_persistence.tables import EVENTS
from curio_persistence.trace_ids import span_id_of, trace_id_of

MOST = HIGHEST_POSITION
"""The highest sequence."""
IN_ORDER = (Order("seq"),)
FROM_THE_END = (Order("seq", descending=True),)

_LEVELS = {
    RunLogEntryKind.RUN_FAILED.value: Level.ERROR.value,
    RunLogEntryKind.HOOK_FAILED.value: Level.ERROR.value,
    RunLogEntryKind.COMPACTION_FAILED.value: Level.WARNING.value,
}
_INFO = Level.INFO.value
_READ = ("event_type", "data", "seq", "session_id", "run_id", "agent_id", "timestamp")
_AT = tuple(map(EVENTS.names.index, _READ))


def event_of(session_id: str, entry: RunLogEntry) -> AgentRunEvent:
    """Return the event of an entry, which gets its `seq` when it is stored."""
    _check(session_id, entry)
    is_root = isinstance(entry, RunStarted) and entry.parent_run_id is None
    run_id = str(EVENTS.encode_value("run_id", entry.run_id)) if is_root else entry.run_id
    return AgentRunEvent(
        entry.agent_id,
        run_id,
        timestamp=entry.created_at,
        event_type=entry.kind,
        data=encode(entry),
        session_id=session_id,
        level=_LEVELS.get(entry.kind, _INFO),
        # By which the trace is found. Those of a run below another one have the trace of that.
        trace_id=trace_id_of(run_id) if is_root else None,
        span_id=span_id_of(run_id) if is_root else None,
    )


def span_of_entry(event: Row, sequence: int) -> Row:
    """Return OpenTelemetry's ids of the span that an entry ends, below the span of its run."""
    run_id = str(event["run_id"])
    return {
        "span_id": span_id_of(f"{run_id}\n{sequence}"),
        "parent_span_id": span_id_of(run_id),
    }


def _check(session_id: str, entry: Any) -> None:
    if not isinstance(entry, RunLogEntry):
        raise InvalidValueError(
            f"A run log has entries, as of curio_persistence.runlog.entries, not "
            f"{type(entry).__name__}.",
            field="entries",
        )
    if entry.session_id and entry.session_id != session_id:
        raise InvalidValueError(
            f"An entry of session {entry.session_id!r} does not belong to {session_id!r}: leave "
            "its session_id out, or append it to its own session.",
            field="session_id",
        )
    if type(entry.sequence) is not int or not 0 <= entry.sequence <= MOST:
        raise InvalidValueError(
            f"A sequence is a number from 1 to {MOST:,}, or 0 for the next one, not "
            f"{entry.sequence!r:.80}.",
            field="sequence",
        )


def entries_of(columns: Columns) -> Iterator[RunLogEntry]:
    """Yield the entries of events, which were read as the columns of their table."""
    kinds, texts, *others, times = (columns[at] for at in _AT)
    for kind, text, seq, session, run, agent, time in zip(
        kinds, decode_texts(texts), *others, times, strict=True
    ):
        yield decode(
            kind,
            text,
            sequence=seq,
            session_id=session,
            run_id=run,
            agent_id=agent,
            created_at=datetime.fromisoformat(time),
        )


def merged(parts: Iterable[Columns], descending: bool, limit: int | None) -> Columns:
    """Return rows of several queries, each in its order by `seq`, in this order."""
    at = EVENTS.names.index("seq")
    rows = [row for part in parts for row in zip(*part, strict=True)]
    rows.sort(key=lambda row: row[at], reverse=descending)
    return list(zip(*rows[:limit], strict=True)) or [() for _ in EVENTS.names]
