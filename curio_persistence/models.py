"""The three records an agent leaves behind: its runs, what happened in them, its model calls.

Field order is the published one, so positional construction keeps working; fields that came later
stand at the end. The records are plain and mutable; a write fills in `id` and the times it sets.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from math import isfinite
from typing import Any, Self

from curio_persistence.errors import InvalidValueError


class AgentRunStatus(StrEnum):
    """The known run statuses. A status is free text: others may be stored."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


FAILED_STATUSES = (AgentRunStatus.ERROR.value, AgentRunStatus.TIMEOUT.value)
"""The statuses of runs that failed."""


class Level(StrEnum):
    """The known levels of an event, least severe first. A level is free text: others may be stored.

    It is kept in small letters, `warn` as `warning` and `fatal` as `critical`.
    """

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class EventType(StrEnum):
    """The known event types. A type is free text: others may be stored.

    The data of a `tool_call` has `tool_name`, `latency_ms` and `error`, and statistics count it; so
    they do with an `mcp.call`, a call of an MCP server's tool. A `metric` has `name` and `value`. A
    `span` is a part of a run with a `name`.
    """

    RUN_STARTED = "run_started"
    RUN_RESUMED = "run_resumed"
    RUN_COMPLETED = "run_completed"
    RUN_ERROR = "run_error"
    ITERATION_STARTED = "iteration_started"
    ITERATION_COMPLETED = "iteration_completed"
    PLANNING_STARTED = "planning_started"
    PLANNING_COMPLETED = "planning_completed"
    ACTION_EXECUTION_STARTED = "action_execution_started"
    ACTION_EXECUTION_COMPLETED = "action_execution_completed"
    CRITIQUE_STARTED = "critique_started"
    CRITIQUE_COMPLETED = "critique_completed"
    CRITIQUE_RESULT = "critique_result"
    SYNTHESIS_STARTED = "synthesis_started"
    SYNTHESIS_COMPLETED = "synthesis_completed"
    SYNTHESIS_RESULT = "synthesis_result"
    OBJECT_STORED = "object_stored"
    OBJECT_NOT_FOUND = "object_not_found"
    TOOL_REGISTERED = "tool_registered"
    SUBAGENT_RUN_STARTED = "subagent_run_started"
    SUBAGENT_RUN_COMPLETED = "subagent_run_completed"
    SPAN_STARTED = "span_started"
    SPAN = "span"
    TOOL_CALL_STARTED = "tool_call_started"
    TOOL_CALL = "tool_call"
    MCP_CALL = "mcp.call"
    METRIC = "metric"
    CUSTOM = "custom"


TOOL_CALL = EventType.TOOL_CALL.value
MCP_CALL = EventType.MCP_CALL.value
METRIC = EventType.METRIC.value


class Record:
    """The base of all records: a dictionary form that survives JSON and comes back equal."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Every field by name; times as ISO 8601 text and costs as decimal text, ready for JSON."""
        return {f.name: _to_plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The record that `to_dict` described; an unknown or missing key is refused by name."""
        if not isinstance(values, dict):
            raise InvalidValueError(
                f"{cls.__name__}.from_dict takes a dictionary, not {type(values).__name__}."
            )
        names = {f.name: f.default is MISSING for f in fields(cls)}  # type: ignore[arg-type]  # every subclass is a dataclass
        unknown = sorted(map(repr, values.keys() - names.keys()))
        if unknown:
            raise InvalidValueError(
                f"{cls.__name__} has no field {', '.join(unknown)}. "
                f"Its fields are: {', '.join(names)}."
            )
        missing = [name for name, needed in names.items() if needed and name not in values]
        if missing:
            raise InvalidValueError(f"{cls.__name__} needs {', '.join(map(repr, missing))}.")
        return cls(**{name: _from_plain(cls, name, value) for name, value in values.items()})


def _counted(name: str) -> property:
    """Return a property for a number that an agent counted itself, and that metadata keeps."""

    def read(run: AgentRun) -> int:
        number = _parse_object(run.metadata, "AgentRun.metadata").get(name, 0)
        return number if isinstance(number, int) else 0

    return property(
        read, doc="A number that the agent counted, kept in `metadata`; 0 if it is not there."
    )


@dataclass(slots=True)
class AgentRun(Record):
    """One execution of an agent.

    `additional_context`, `execution_history`, `metadata` and `metrics` take text or any value that
    JSON can express; what is read back is the text. `tags` are texts by which runs are found again.
    """

    agent_id: str
    run_id: str
    agent_name: str = ""
    objective: str = ""
    additional_context: Any = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    total_iterations: int = 0
    final_synthesis_output: str | None = None
    execution_history: Any = None
    status: str = AgentRunStatus.PENDING.value
    error_message: str | None = None
    metadata: Any = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    session_id: str | None = None
    parent_run_id: str | None = None
    tags: list[str] | None = None
    metrics: Any = None
    user_id: str | None = None

    @property
    def final_output(self) -> str | None:
        """The later name of `final_synthesis_output`."""
        return self.final_synthesis_output

    @final_output.setter
    def final_output(self, value: str | None) -> None:
        self.final_synthesis_output = value

    total_llm_calls = _counted("total_llm_calls")
    total_tool_calls = _counted("total_tool_calls")
    total_input_tokens = _counted("total_input_tokens")
    total_output_tokens = _counted("total_output_tokens")

    def get_metrics_dict(self) -> dict[str, Any]:
        """`metrics` parsed; `{}` when there are none."""
        return _parse_object(self.metrics, "AgentRun.metrics")

    def get_metadata_dict(self) -> dict[str, Any]:
        """`metadata` parsed; `{}` when there is none."""
        return _parse_object(self.metadata, "AgentRun.metadata")


@dataclass(slots=True)
class AgentRunEvent(Record):
    """Something that happened in a run. Stored once, never changed.

    `data` (the payload) and `metadata` take text or any value that JSON can express; what is read
    back is the text. `event_id` is the sender's own name for the event, unique among all events:
    what is sent again under it is not stored again. None (the default) is for what is sent once.
    `level` is one of `Level`, or another word; `span_id`, `parent_span_id` and `trace_id` are
    OpenTelemetry's; `contract_id` and `contract_version` name what the payload promises to be.
    `chain_position` and the three hashes are set where the event is a link of its run's hash chain.
    `seq` is set where it is an entry of its session's run log: its position there, from 1.
    """

    agent_id: str
    run_id: str
    agent_name: str = ""
    timestamp: datetime | None = None
    event_type: str = ""
    data: Any = None
    id: int | None = None
    created_at: datetime | None = None
    event_id: str | None = None
    session_id: str | None = None
    level: str = Level.INFO.value
    message: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    contract_id: str | None = None
    contract_version: str | None = None
    artifact_uri: str | None = None
    metadata: Any = None
    chain_position: int | None = None
    content_hash: str | None = None
    prev_hash: str | None = None
    hash: str | None = None
    seq: int | None = None

    @property
    def payload(self) -> Any:
        """Return `data` parsed if it is JSON, else its text."""
        return _parsed(self.data)

    def to_envelope(self) -> dict[str, Any]:
        """`{ts, run_id, agent_slug, type, level, msg, payload, …}`, ready for JSON.

        `ts` is RFC 3339 in UTC with microseconds and a `Z`; `payload` is `data` parsed, or its text
        where it is not JSON.
        """
        return {
            "ts": _zulu(self.timestamp),
            "run_id": self.run_id,
            "agent_slug": self.agent_id,
            "type": self.event_type,
            "level": self.level,
            "msg": self.message,
            "payload": self.payload,
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "contract_id": self.contract_id,
            "contract_version": self.contract_version,
            "artifact_uri": self.artifact_uri,
        }

    def get_metadata_dict(self) -> dict[str, Any]:
        """`metadata` parsed; `{}` when there is none."""
        return _parse_object(self.metadata, "AgentRunEvent.metadata")

    def get_data_dict(self) -> dict[str, Any]:
        """`data` parsed; `{}` when there is none."""
        return _parse_object(self.data, "AgentRunEvent.data")


@dataclass(slots=True)
class AgentLLMUsage(Record):
    """One model call: its tokens, latency (milliseconds) and cost (US dollars, exact).

    `run_id` and `agent_id` may be None: a model call can stand alone. `cost_usd` is taken from
    `usage_metrics["cost_usd"]` when it is not given; None means unknown, which is not free.
    `cache_read_tokens`, `cache_write_tokens` and `reasoning_tokens` are parts of the input and
    output tokens, not additions to them. `event_id` is the sender's own name for the call: what is
    sent again under it is not stored, and not counted, again. `span_id`, `parent_span_id` and
    `trace_id` are OpenTelemetry's. `price_version` names the prices that the cost was computed with
    when it was written (`"genai-prices 0.2.3"`), or is `"reported"`; None if the cost was given.
    """

    agent_id: str | None
    run_id: str | None
    provider: str = ""
    model: str = ""
    prompt: str = ""
    prompt_length: int = 0
    input_params: Any = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    response_content: str | None = None
    response_length: int | None = None
    usage_metrics: Any = None
    status: str = "success"
    error_message: str | None = None
    latency_ms: int | None = None
    id: int | None = None
    created_at: datetime | None = None
    span_id: str | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Decimal | None = None
    event_id: str | None = None
    trace_id: str | None = None
    parent_span_id: str | None = None
    price_version: str | None = None

    @property
    def cost_source(self) -> str:
        """Return the source of `cost_usd`: `given`, `computed`, `reported`, or `unknown`."""
        if self.cost_usd is None:
            return "unknown"
        if self.price_version is None:
            return "given"
        return "reported" if self.price_version == "reported" else "computed"

    @property
    def metadata(self) -> Any:
        """The later name of `usage_metrics`."""
        return self.usage_metrics

    @metadata.setter
    def metadata(self, value: Any) -> None:
        self.usage_metrics = value

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.get_total_tokens()

    def get_input_params_dict(self) -> dict[str, Any]:
        """`input_params` parsed; `{}` when there are none."""
        return _parse_object(self.input_params, "AgentLLMUsage.input_params")

    def get_usage_metrics_dict(self) -> dict[str, Any]:
        """`usage_metrics` parsed; `{}` when there are none."""
        return _parse_object(self.usage_metrics, "AgentLLMUsage.usage_metrics")

    def get_total_tokens(self) -> int:
        """Input and output tokens together; an unknown number counts as 0."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def get_cost_usd(self) -> Decimal | None:
        """The exact cost: the column if it is set, else `usage_metrics["cost_usd"]`, else None."""
        if self.cost_usd is not None:
            return self.cost_usd
        return cost_in_metrics(self.usage_metrics)


@dataclass(frozen=True, slots=True)
class Score(Record):
    """A judgement of a run, or of a span of it, by a person, by code or by a model.

    `value` is a number, `label` a word in its place or beside it. `source` is human, code or
    model; `author` tells several of one source apart. `span_id` is None for the run itself.
    """

    run_id: str
    name: str
    value: float | None = None
    label: str | None = None
    comment: str | None = None
    source: str = "human"
    author: str = ""
    span_id: str | None = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ApprovalStatus(StrEnum):
    """The statuses of an approval. A pending one reads as `expired` from its `expires_at` on."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Approval(Record):
    """A ticket by which a run asks a person whether it may call a tool with some arguments.

    `agent_id` is by default the run's. `arguments`, `response` and `metadata` are the text of JSON,
    and have passed the redactor; `arguments_hash` is the SHA-256 of the arguments before that, so
    that a decision is about exactly these. `resolved_by` decided at `resolved_at`, for a `reason`,
    and may have answered with a `response`.
    """

    ticket_id: str
    run_id: str
    agent_id: str
    tool: str
    arguments: Any = None
    arguments_hash: str = ""
    step_id: str | None = None
    status: str = ApprovalStatus.PENDING.value
    requested_at: datetime | None = None
    expires_at: datetime | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    reason: str | None = None
    response: Any = None
    metadata: Any = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def get_arguments_dict(self) -> dict[str, Any]:
        """`arguments` parsed; `{}` when there are none."""
        return _parse_object(self.arguments, "Approval.arguments")

    def get_response_dict(self) -> dict[str, Any]:
        """`response` parsed; `{}` when there is none."""
        return _parse_object(self.response, "Approval.response")

    def get_metadata_dict(self) -> dict[str, Any]:
        """`metadata` parsed; `{}` when there is none."""
        return _parse_object(self.metadata, "Approval.metadata")


@dataclass(frozen=True, slots=True)
class Snapshot(Record):
    """The state of a run at one of its steps, from which the run can go on.

    `state` and `metadata` are the text of JSON, and have passed the redactor. `created_at` is when
    the step was first saved, `updated_at` when its state was.
    """

    run_id: str
    step_id: str
    state: Any = None
    metadata: Any = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def get_state(self) -> Any:
        """`state` parsed; text that is not JSON as it is."""
        try:
            return json.loads(self.state) if isinstance(self.state, str) else self.state
        except (ValueError, RecursionError):
            return self.state

    def get_metadata_dict(self) -> dict[str, Any]:
        """`metadata` parsed; `{}` when there is none."""
        return _parse_object(self.metadata, "Snapshot.metadata")


@dataclass(slots=True)
class AuditEntry(Record):
    """A line of the audit log: an action, its actor, its resource and its time.

    `resource` is the name or id of what was acted on, `resource_type` what that is. `metadata`
    takes any value that JSON can express; what is read back is its text. The last four fields
    link the line to the one before.
    """

    action: str
    resource: str = ""
    resource_type: str = ""
    actor_type: str = "user"
    actor_id: str = ""
    agent_id: str | None = None
    run_id: str | None = None
    metadata: Any = None
    timestamp: datetime | None = None
    created_at: datetime | None = None
    id: int | None = None
    chain_position: int | None = None
    content_hash: str | None = None
    prev_hash: str | None = None
    hash: str | None = None

    def get_metadata_dict(self) -> dict[str, Any]:
        """`metadata` parsed; `{}` when there is none."""
        return _parse_object(self.metadata, "AuditEntry.metadata")


class SessionStatus(StrEnum):
    """The statuses of a session. `idle` is never stored: an active session reads so after a while.

    See `Sessions`.
    """

    ACTIVE = "active"
    COMPLETED = "completed"
    ERROR = "error"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class AgentSession(Record):
    """The runs of one conversation, as the database stores it; `Session` has its counters as well.

    The first run with its `session_id` makes it, with the agent and user of that run. `tags` and
    `metadata` are those of the session, not of its runs. `updated_at` is None until a caller has
    described it.
    """

    session_id: str
    agent_id: str | None = None
    agent_name: str = ""
    user_id: str | None = None
    status: str = SessionStatus.ACTIVE.value
    started_at: datetime | None = None
    ended_at: datetime | None = None
    last_event_at: datetime | None = None
    tags: list[str] | None = None
    metadata: Any = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def get_metadata_dict(self) -> dict[str, Any]:
        """`metadata` parsed; `{}` when there is none."""
        return _parse_object(self.metadata, "AgentSession.metadata")


@dataclass(frozen=True, slots=True)
class Agent(Record):
    """An agent that has run. Its first run makes it.

    `name` is that of its first run that has one. `first_seen_at` and `last_seen_at` are the times
    of its runs. `updated_at` is None until a caller has described the agent.
    """

    agent_id: str
    name: str = ""
    description: str | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    metadata: Any = None

    def get_metadata_dict(self) -> dict[str, Any]:
        """`metadata` parsed; `{}` when there is none."""
        return _parse_object(self.metadata, "Agent.metadata")


class SpanStatus(StrEnum):
    """The statuses of a span. `unset` is one whose outcome is not known."""

    UNSET = "unset"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"


class SpanKind(StrEnum):
    """The kinds of spans that have a meaning here. A kind is free text: others may be stored."""

    AGENT = "agent"
    LLM = "llm"
    TOOL = "tool"
    SPAN = "span"


@dataclass(frozen=True, slots=True)
class AgentSpan(Record):
    """A part of a trace that took time, as an application saves it; see `Traces`.

    `parent_span_id` may name a span that is saved later. With a `run_id` the span goes with that
    run; `agent_id`, `session_id` and `user_id` are for spans without one. `ended_at` is None while
    it is running. `start_nanos` and `end_nanos` are the nanoseconds, up to 999, that the times cut
    off. `input`, `output`, `attributes`, `metrics`, `details`, `events` and `links` take text or
    any value that JSON can express; what is read back is the text. Tokens and cost are those of
    model calls with the same `trace_id` and `span_id`. The last five fields are those of spans
    that came by OpenTelemetry, from which these can be had back as they came.
    """

    trace_id: str
    span_id: str
    name: str = ""
    kind: str = SpanKind.SPAN.value
    parent_span_id: str | None = None
    run_id: str | None = None
    status: str = SpanStatus.UNSET.value
    error_message: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    start_nanos: int | None = None
    end_nanos: int | None = None
    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    step_id: str | None = None
    input: Any = None
    output: Any = None
    attributes: Any = None
    metrics: Any = None
    details: Any = None
    events: Any = None
    links: Any = None
    response_id: str | None = None
    trace_state: str | None = None
    flags: int | None = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    source_id: str | None = None
    otel_kind: int | None = None
    otel_status: int | None = None
    rest: Any = None
    meaning: Any = None

    @property
    def duration_ms(self) -> float | None:
        """Return how long it took; None without an end, and 0 for one before its begin."""
        if self.started_at is None or self.ended_at is None:
            return None
        nanos = (self.end_nanos or 0) - (self.start_nanos or 0)
        return max((self.ended_at - self.started_at) / _MILLISECOND + nanos / 1e6, 0.0)


_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class SpanSource(Record):
    """The sender of spans that came by OpenTelemetry: a resource and an instrumentation scope.

    `source` is everything that was sent of both, as JSON; the names stand there too. `source_id` is
    a hash of the rest.
    """

    source_id: str
    service_name: str = ""
    scope_name: str = ""
    scope_version: str = ""
    source: Any = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


def cost_in_metrics(usage_metrics: Any) -> Decimal | None:
    """The finite number under `cost_usd` in text or a mapping of usage metrics, digit for digit."""
    if isinstance(usage_metrics, str):
        if '"cost_usd"' not in usage_metrics:
            return None
        try:
            usage_metrics = json.loads(usage_metrics, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None
    cost = usage_metrics.get("cost_usd") if isinstance(usage_metrics, dict) else None
    if isinstance(cost, bool) or not isinstance(cost, int | float | Decimal | str):
        return None
    try:
        # By way of str(), which spells a float as people mean it: 0.1, not 0.1000000000000000055.
        amount = Decimal(str(cost))
    except (InvalidOperation, ValueError):  # No number, or one of thousands of digits.
        return None
    return amount if amount.is_finite() else None


def _parse_object(value: Any, field: str) -> dict[str, Any]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidValueError(f"{field} holds text that is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidValueError(f"{field} holds a JSON {type(value).__name__}, not an object.")
    return value


def _parsed(value: Any) -> Any:
    """Return JSON text parsed, dataclasses as dictionaries, and anything else unchanged."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return value


def _finite(text: str) -> float | str:
    """Return a number; its text if it is beyond a float, because JSON has no infinity."""
    number = float(text)
    return number if isfinite(number) else text


def _zulu(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _to_plain(value: Any) -> Any:
    """Return a copy that JSON can express, as far as the values of fields usually go."""
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


_TIMES = frozenset(
    {
        *("started_at", "finished_at", "ended_at", "created_at", "updated_at", "timestamp"),
        *("last_event_at", "first_seen_at", "last_seen_at"),
        *("requested_at", "expires_at", "resolved_at"),
    }
)


def _from_plain(cls: type[Record], name: str, value: Any) -> Any:
    try:
        if name in _TIMES and isinstance(value, str):
            return datetime.fromisoformat(value)
        if name == "cost_usd" and value is not None:
            return Decimal(str(value))
    except (ValueError, InvalidOperation) as error:
        field = f"{cls.__name__}.{name}"
        raise InvalidValueError(f"{field} cannot be read from {value!r}.", field=field) from error
    return value
