"""A record of each kind whose every text is hostile, and the pages that show these records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from starlette.routing import Route

from curio_persistence import AgentLLMUsage, AgentRunEvent, InvalidValueError, Persistence
from curio_persistence.console.http.paths import Paths
from curio_persistence.store.table import Table
from curio_persistence.tables import TABLES
from curio_persistence.tables.alerts import ALERT_HISTORY, ALERT_RULES
from curio_persistence.tables.audit import AUDIT_LOG
from curio_persistence.tables.keys import API_KEYS, CONSOLE_SESSIONS
from curio_persistence.trace_ids import trace_id_of
from tests.support.hostile_text import HOSTILE
from tests.support.one_of_each import NOON, RECORDS

NOW = NOON + timedelta(hours=1)
SHOWN = (*TABLES, AUDIT_LOG, ALERT_RULES, ALERT_HISTORY, API_KEYS, CONSOLE_SESSIONS)
"""The tables whose records pages show."""
HUGE = (
    "<script>alert(1)</script>" * 120_000,
    "[" * 10_000 + '"<img src=x onerror=alert(1)>"' + "]" * 10_000,
    '{"<svg onload=alert(1)>":' * 10_000 + "1" + "}" * 10_000,
)
"""Three megabytes, and JSON that is ten thousand deep."""
TEXTS = (*HOSTILE, *HUGE)
_IDS = (
    *("agent_id", "run_id", "session_id", "user_id", "trace_id", "span_id", "source_id"),
    *("rule_id", "alert_id", "ticket_id", "step_id", "key_id"),
)
_KEPT = frozenset(
    (
        *("id", "parent_run_id", "parent_span_id", "seq", "chain_position", "content_hash"),
        *("prev_hash", "hash", "role", "secret_hash", "condition", "sinks", "deliveries"),
    )
)
"""Fields that the library fills, or whose few values are checked."""


def ident_of(text: str, number: int) -> str:
    """Return an id with a hostile text, without what ids may not have."""
    return re.sub("[\x00\ud800-\udfff]", "", text)[:200] + f" {number}"


def record_hostile(persistence: Persistence, text: str, number: int) -> str:
    """Store a record of each kind with this text in every field that takes it; return its run."""
    ident = ident_of(text, number)
    for table in RECORDS:
        if table in SHOWN:
            row = table.encode(_hostile(table, text, ident))
            if table is CONSOLE_SESSIONS:
                row["expires_at"] = table.encode_value("expires_at", NOW + timedelta(days=1))
            persistence._store.insert(table, row)
    _record_payloads(persistence, text, ident)
    return ident


def _hostile(table: Table[Any], text: str, ident: str) -> Any:
    record = RECORDS[table]
    for each in fields(record):
        if each.name in _KEPT:
            continue
        for value in _values(each.name, text, ident):
            if _is_taken(table, each.name, value):
                record = replace(record, **{each.name: value})
                break
    return record


def _values(name: str, text: str, ident: str) -> tuple[Any, ...]:
    """Return what a field may take, the first that it does."""
    if name in _IDS or name.endswith("_id"):
        return (ident,)
    return (text, ident, ident[:40], [ident], {ident: 1.5})


def _is_taken(table: Table[Any], name: str, value: Any) -> bool:
    column = table.kinds[name]
    if column in ("time", "integer", "real", "money", "bytes"):
        return False
    try:
        table.encode_value(name, value)
    except InvalidValueError:
        return False
    return True


def _record_payloads(persistence: Persistence, text: str, ident: str) -> None:
    """Store tool calls, metrics and model calls, whose texts are read as JSON."""
    nested = {"tool_name": ident, "args": {ident: [text]}, "result": text, "error": text}
    for kind, data in (
        ("tool_call", nested),
        ("metric", {"name": ident, "value": 1.5}),
        (ident[:100], json.dumps({"text": json.dumps({"inner": text[:5_000]})})),
        ("log", text),
    ):
        persistence.log_agent_run_event(
            AgentRunEvent(ident, ident, "", NOON, kind, data, level="error", message=text)
        )
    messages = [{"role": ident, "content": text}, {"role": "tool", "content": [{"text": text}]}]
    persistence.log_llm_usage(
        AgentLLMUsage(
            ident,
            ident,
            ident,
            ident,
            prompt=json.dumps(messages),
            response_content=f"# {text}\n\n- {text}\n\n```\n{text}\n```\n> {text}",
            error_message=text,
            created_at=NOON,
        )
    )


def pages_of(persistence: Persistence, ident: str, routes: list[Route]) -> Iterator[str]:
    """Yield a path for each page that shows the records of a hostile run."""
    paths = Paths()
    event = next(iter(persistence.query_events(run_id=ident, limit=1)))
    call = next(iter(persistence.query_llm_usage(run_id=ident, limit=1)))
    of_run = {
        "/runs/{run_id}": [paths.run(ident), paths.run(ident, step=f"event:{event.id}")],
        "/runs/{run_id}/steps/{ref}": [
            paths.record("runs", ident, "steps", ref)
            for ref in ("run", f"event:{event.id}", f"usage:{call.id}")
        ],
        "/events/{id:int}": [paths.page("events") + f"/{event.id}"],
        "/sessions/{id}": [
            paths.session(ident, view=view) for view in ("conversation", "timeline", "replay")
        ],
        "/sessions/{id}/chain": [paths.record("sessions", ident, "chain")],
        "/traces/{id}": [paths.trace(trace_id_of(ident)), paths.trace(ident)],
        "/agents/{agent_id}": [paths.agent(ident)],
    }
    for route in routes:
        yield from of_run.get(route.path, ())
    yield paths.page("compare", a=ident, b=ident)
    yield paths.page("search", q=ident[:60])
    for page in ("runs", "events", "costs", "activity", "metrics"):
        yield paths.page(page, agent_id=ident)
    yield paths.page("metrics", name=ident)
