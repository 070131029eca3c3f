"""The run and the record that a request names."""

from __future__ import annotations

from starlette.requests import Request

from curio_persistence.console.http.paths import decoded_id
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.models import AgentRun
from curio_persistence.persistence import Persistence
from curio_persistence.views.steps import Record

_LARGEST_ID = 2**63 - 1
RUN = "run"
"""The name of the run itself among the names of its steps."""


def run_of(persistence: Persistence, request: Request) -> AgentRun:
    """Return the run of a request; raise NotFoundError if it is not stored."""
    run_id = decoded_id(request.path_params["run_id"])
    run = persistence.get_agent_run(run_id)
    if run is None:
        raise NotFoundError(f"No run {run_id!r} is stored.")
    return run


def record_of(persistence: Persistence, run_id: str, ref: str) -> Record:
    """Return the event or model call of a run that is named `event:7` or `usage:3`."""
    kind, _, text = ref.partition(":")
    reader = {"event": persistence.events.get, "usage": persistence.usage.get}.get(kind)
    if reader is None or not (text.isascii() and text.isdigit()) or int(text[:20]) > _LARGEST_ID:
        raise InvalidValueError("step is as event:7 or usage:3.", field="step")
    record: Record | None = reader(int(text))
    if record is None or record.run_id != run_id:
        raise NotFoundError(f"Run {run_id!r} has no record {ref}.")
    return record
