"""Calls of operations that are not just one method of the façade."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import IO, Any, Literal

from curio_persistence.capabilities.alerts.rules import AlertSettings
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.export.records import export_records
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.persistence import Persistence
from curio_persistence.tables.alerts import AlertRule
from curio_persistence.tables.keys import NewApiKey

INDEXING_SECONDS = 1.0
"""Seconds for which a search indexes new records: a page says how many are left."""
_IN_MEMORY = 4 << 20
"""Bytes of an export that are kept in memory; more are in a temporary file."""
_LONGEST_ID = 18


def create_run(persistence: Persistence, run: AgentRun) -> AgentRun | None:
    """Create a run, and return it as it is stored."""
    persistence.create_agent_run(run)
    return persistence.get_agent_run(run.run_id)


def replace_run(persistence: Persistence, run_id: str, run: AgentRun) -> AgentRun | None:
    """Replace the fields of a run, and return it as it is stored."""
    if run.run_id != run_id:
        raise InvalidValueError("run_id is that of the path.", field="AgentRun.run_id")
    persistence.update_agent_run(run_id, run)
    return persistence.get_agent_run(run_id)


def abandon(persistence: Persistence, *, older_than: str) -> list[AgentRun]:
    """Close the runs that were silent for a length of time, and return them."""
    return persistence.runs.abandon(older_than=checked_length("older_than", older_than))


def ingest(
    persistence: Persistence, events: list[AgentRunEvent], *, on_conflict: Literal["keep", "error"]
) -> dict[str, int]:
    """Append events, and return how many came, and how many of them are new."""
    stored = persistence.log_agent_run_events(events, on_conflict=on_conflict)
    return {"received": len(events), "stored": stored}


def export_run(persistence: Persistence, run_id: str) -> IO[bytes]:
    """Return a file with all records of a run as JSON lines."""
    if persistence.get_agent_run(run_id) is None:
        raise NotFoundError(f"run_id {run_id!r} was deleted or never recorded.")
    file: Any = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # Closed when it was sent.
    try:
        export_records(persistence, file, format="jsonl", run_id=run_id)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    opened: IO[bytes] = file
    return opened


def event(persistence: Persistence, ident: str) -> AgentRunEvent | None:
    """Return an event by its number, or None."""
    number = _number(ident)
    return None if number is None else persistence.events.get(number)


def model_call(persistence: Persistence, ident: str) -> AgentLLMUsage | None:
    """Return a model call by its number, or None."""
    number = _number(ident)
    return None if number is None else persistence.usage.get(number)


def analytics(persistence: Persistence, *, bucket: str, **given: Any) -> Any:
    """Return the totals of periods; those of the whole window for the bucket `all`."""
    given["bucket"] = None if bucket == "all" else bucket
    return persistence.analytics(**given)


def metric_names(persistence: Persistence, **filters: Any) -> list[dict[str, Any]]:
    """Return each metric, and the number of its values."""
    names = persistence.metrics.names(**filters)
    return [{"name": name, "values": count} for name, count in names.items()]


def create_rule(persistence: Persistence, settings: dict[str, Any]) -> AlertRule:
    """Create an alert rule."""
    for name in ("rule_id", "condition"):
        if name not in settings:
            raise InvalidValueError(f"A rule needs {name}.", field=name)
    return persistence.alerts.create(**settings)


def create_key(persistence: Persistence, settings: dict[str, Any]) -> NewApiKey:
    """Create an API key."""
    return persistence.keys.create(**settings)


def update_rule(persistence: Persistence, rule_id: str, settings: AlertSettings) -> AlertRule:
    """Change settings of an alert rule."""
    if "rule_id" in settings:
        raise InvalidValueError("rule_id is that of the path.", field="rule_id")
    return persistence.alerts.update(rule_id, **settings)


def _number(ident: str) -> int | None:
    is_number = ident.isascii() and ident.isdecimal() and len(ident) <= _LONGEST_ID
    return int(ident) if is_number else None
