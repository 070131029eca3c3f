"""The runs of LangSmith as records: a run is a step, and its trace a run of ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.sessions.records import Found, SourceLocation
from curio_persistence.importers.traces.records import records_of
from curio_persistence.importers.traces.rows import Placed, Row
from curio_persistence.importers.traces.steps import TOOL, ModelCall, Step, Trace
from curio_persistence.importers.traces.values import Values, text, texts
from curio_persistence.importers.traces.words import object_in, parsed

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext


_CALLS = frozenset({"llm", "embedding"})
_THREAD = ("thread_id", "session_id", "conversation_id")
_JSON = ("extra", "inputs", "outputs", "tags", "prompt_token_details", "completion_token_details")


def is_run(names: Collection[str]) -> bool:
    """Return whether a row with columns of these names is a run of LangSmith."""
    return {"run_type", "trace_id", "start_time"} <= {*names}


def split(row: Row) -> Iterator[tuple[str, Row]]:
    """Yield the runs in a row, each with the id of its trace."""
    runs = row.get("runs")
    for each in runs if isinstance(runs, list) else [row]:
        if isinstance(each, dict) and is_run(each) and isinstance(each["trace_id"], str):
            yield each["trace_id"], each


def records(context: SessionContext, trace_id: str, rows: list[Placed]) -> Found:
    """Yield the records of a trace."""
    runs = [({**row, **{n: parsed(row.get(n)) for n in _JSON}}, where) for row, where in rows]
    steps = [_step(row, Values(context, where), where) for row, where in runs]
    known = [step for step in steps if step is not None]
    trace = _trace(trace_id, [row for row, _ in runs], rows[0][1])
    yield from records_of(context, trace, known)


def _trace(trace_id: str, rows: list[Row], location: SourceLocation) -> Trace:
    metadata = [*map(_metadata, rows)]
    threads = (each.get(name) for each in metadata for name in _THREAD)
    users = (each.get("user_id") for each in metadata)
    root = next((row for row in rows if _parent_of(row) is None), rows[0])
    return Trace(
        trace_id,
        session_id=next(filter(None, map(text, threads)), None),
        user_id=next(filter(None, map(text, users)), None),
        tags=texts(root.get("tags")),
        project=text(root.get("session_name")) or text(root.get("session_id")),
        location=location,
    )


def _step(row: Row, values: Values, location: SourceLocation) -> Step | None:
    started_at, step_id = values.utc(row["start_time"]), text(row.get("id"))
    if started_at is None or step_id is None:
        return None
    kind = str(row["run_type"])
    error = text(row.get("error")) or ("error" if row.get("status") == "error" else None)
    return Step(
        step_id,
        _parent_of(row),
        text(row.get("name")) or kind,
        TOOL if kind == "tool" else kind,
        started_at,
        values.utc(row.get("end_time")),
        location,
        error=error,
        input=row.get("inputs"),
        output=row.get("outputs"),
        call=_call(row, values) if kind in _CALLS else None,
        details={"metadata": _metadata(row)} if _metadata(row) else {},
    )


def _parent_of(row: Row) -> str | None:
    """Return the run above one, as it says, or its dotted order: `<time>Z<id>.<time>Z<id>`."""
    *above, _ = str(row.get("dotted_order") or "").split(".")
    return text(row.get("parent_run_id")) or (
        above[-1].partition("Z")[2] or None if above else None
    )


def _metadata(row: Row) -> Mapping[str, Any]:
    return object_in(object_in(row.get("extra")).get("metadata"))


# --- tokens and costs -----------------------------------------------------------------------------


def _call(row: Row, values: Values) -> ModelCall:
    metadata, usage = _metadata(row), _usage(row)
    params = object_in(object_in(row.get("extra")).get("invocation_params"))
    asked, answered = object_in(usage["input_details"]), object_in(usage["output_details"])
    cost = values.money(row.get("total_cost"))
    model = text(metadata.get("ls_model_name")) or text(params.get("model_name"))
    return ModelCall(
        provider=text(metadata.get("ls_provider")) or "",
        model=model or text(params.get("model")) or "",
        input_tokens=values.tokens(usage["input"]),
        output_tokens=values.tokens(usage["output"]),
        cache_read_tokens=values.tokens(asked.get("cache_read")),
        cache_write_tokens=values.tokens(asked.get("cache_creation")),
        reasoning_tokens=values.tokens(answered.get("reasoning")),
        cost=cost or None,
        params={n: v for n, v in params.items() if n not in ("tools", "functions")},
        metrics={"first_token_time": row["first_token_time"]}
        if row.get("first_token_time")
        else {},
    )


def _usage(row: Row) -> Mapping[str, Any]:
    """Return the tokens of a run by itself, or as LangChain tells them with its answer."""
    if row.get("prompt_tokens") or row.get("completion_tokens"):
        return {
            "input": row.get("prompt_tokens"),
            "output": row.get("completion_tokens"),
            "input_details": row.get("prompt_token_details"),
            "output_details": row.get("completion_token_details"),
        }
    told = object_in(_metadata(row).get("usage_metadata"))
    told = told or object_in(object_in(row.get("outputs")).get("usage_metadata"))
    return {
        "input": told.get("input_tokens"),
        "output": told.get("output_tokens"),
        "input_details": told.get("input_token_details"),
        "output_details": told.get("output_token_details"),
    }
