"""Traces of Langfuse as records: an observation is a step."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.langfuse.parts import OBSERVATION, SCORE, TRACE, kind_of
from curio_persistence.importers.sessions.records import Found, SourceLocation
from curio_persistence.importers.traces.records import records_of
from curio_persistence.importers.traces.rows import Placed, Row
from curio_persistence.importers.traces.steps import TOOL, Judgement, ModelCall, Step, Trace
from curio_persistence.importers.traces.values import Values, judged, text, texts
from curio_persistence.importers.traces.words import parsed

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

_CALLS = frozenset({"generation", "embedding"})
_MOMENTS = frozenset({"event"})
_DETAILS = ("metadata", "environment", "version", "promptName", "promptVersion")


def records(context: SessionContext, trace_id: str, rows: list[Placed]) -> Found:
    """Yield the records of a trace."""
    parts = [(kind_of(row), row, location) for row, location in rows]
    steps = [
        _observation(row, Values(context, location), location)
        for kind, row, location in parts
        if kind == OBSERVATION
    ]
    scores = {
        text(row.get("id")): _score(row, Values(context, location), location)
        for kind, row, location in parts
        if kind == SCORE
    }
    told = [row for kind, row, _ in parts if kind == TRACE]
    others = [row for kind, row, _ in parts if kind == OBSERVATION]
    values = Values(context, rows[0][1])
    trace = _trace(trace_id, told[-1] if told else {}, others, values, rows[0][1])
    yield from records_of(context, trace, [*filter(None, steps)], [*filter(None, scores.values())])


def _trace(
    trace_id: str, told: Row, others: list[Row], values: Values, location: SourceLocation
) -> Trace:
    """Return what is told of a trace: by itself, or by each of its observations."""
    every = [told, *others]

    def first(name: str) -> Any:
        return next((row[name] for row in every if row.get(name)), None)

    return Trace(
        trace_id,
        text(told.get("name")) or text(first("traceName")),
        started_at=values.utc(told.get("timestamp")),
        input=parsed(told.get("input")),
        output=parsed(told.get("output")),
        session_id=text(first("sessionId")),
        user_id=text(first("userId")),
        tags=texts(parsed(first("tags"))),
        project=text(first("projectId")),
        version=text(first("release")),
        location=location,
        details={"environment": first("environment"), "metadata": parsed(told.get("metadata"))},
    )


def _observation(row: Row, values: Values, location: SourceLocation) -> Step | None:
    started_at, step_id = values.utc(row["startTime"]), text(row.get("id"))
    if started_at is None or step_id is None:
        return None
    kind = str(row["type"]).lower()
    message = text(row.get("statusMessage"))
    is_error = row.get("level") == "ERROR"
    details = {name: value for name in _DETAILS if (value := parsed(row.get(name)))}
    if message and not is_error:
        details["status_message"] = message
    return Step(
        step_id,
        text(row.get("parentObservationId")),
        text(row.get("name")) or kind,
        TOOL if kind == "tool" else kind,
        started_at,
        values.utc(row.get("endTime")),
        location,
        error=(message or "error") if is_error else None,
        input=parsed(row.get("input")),
        output=parsed(row.get("output")),
        call=_call(row, values) if kind in _CALLS else None,
        is_moment=kind in _MOMENTS,
        details=details,
    )


def _score(row: Row, values: Values, location: SourceLocation) -> Judgement | None:
    at = values.utc(row.get("timestamp"))
    value, label = judged(row.get("value"))
    label = text(row.get("stringValue")) or label
    if at is None or (value is None and label is None):
        return None
    return Judgement(
        text(row.get("name")) or "score",
        str(row.get("source")),
        at,
        location,
        value,
        label,
        text(row.get("comment")),
        text(row.get("authorUserId")) or "",
        text(row.get("observationId")),
    )


# --- tokens and costs -----------------------------------------------------------------------------


def _call(row: Row, values: Values) -> ModelCall:
    usage = _usage(row)
    given = _named("input", usage)
    written = {**_named("creation", given), **_named("cache_write", given)}
    read = {name: n for name, n in _named("cache", given).items() if name not in written}
    told = {
        "usage_details": usage or None,
        "completion_start_time": row.get("completionStartTime"),
        "cache_write_1h_tokens": values.sum_of(_named("1h", written).values()),
    }
    return ModelCall(
        model=text(row.get("model")) or text(row.get("providedModelName")) or "",
        input_tokens=values.sum_of(given.values()),
        output_tokens=values.sum_of(_named("output", usage).values()),
        cache_read_tokens=values.sum_of(read.values()),
        cache_write_tokens=values.sum_of(written.values()),
        reasoning_tokens=values.sum_of(_named("reasoning", usage).values()),
        cost=_cost(row, values),
        params=parsed(row.get("modelParameters")),
        metrics={name: value for name, value in told.items() if value is not None},
    )


def _named(word: str, counts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the counts whose names have a word in them."""
    return {name: count for name, count in counts.items() if word in name}


def _usage(row: Row) -> Mapping[str, Any]:
    """Return the tokens by kind, which do not overlap; older rows tell only two sums."""
    details = parsed(row.get("usageDetails"))
    if isinstance(details, dict) and details:
        return {name: count for name, count in details.items() if name != "total"}
    usage = parsed(row.get("usage"))
    told = usage if isinstance(usage, dict) else {}
    sums = {
        "input": told.get("input") or row.get("promptTokens"),
        "output": told.get("output") or row.get("completionTokens"),
    }
    return {name: count for name, count in sums.items() if count}


def _cost(row: Row, values: Values) -> Decimal | None:
    """Return the cost; 0 stands for one that Langfuse does not know."""
    details = parsed(row.get("costDetails"))
    told = details.get("total") if isinstance(details, dict) else None
    for value in (told, row.get("totalCost"), row.get("calculatedTotalCost")):
        if cost := values.money(value):
            return cost
    return None
