"""ATIF 1.8: a run as a trajectory of the Agent Trajectory Interchange Format.

The format forbids fields that it does not know. What it has no field for stands in `extra`, that of
the run itself below `curio`, where an import of such a file finds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from curio_persistence.models import AgentLLMUsage, AgentRun, Score
from curio_persistence.views.dialogues import Action, Dialogue, Utterance, dialogue_of
from curio_persistence.views.histories import History
from curio_persistence.views.values import compact, parsed

VERSION = "ATIF-v1.8"
UNKNOWN_VERSION = "unknown"
"""For agents that do not tell theirs, because ATIF requires one."""

Redact = Callable[[Dialogue], Dialogue]
Object = dict[str, Any]


def trajectory_of(history: History, redact: Redact) -> Object | None:
    """Return a run as a trajectory, its child runs embedded; None if nothing was said in it."""
    ours = _ours(history.run, history.scores or ())
    return _trajectory([history], redact, history.run.run_id, ours)


def trajectory_of_session(histories: Sequence[History], redact: Redact) -> Object | None:
    """Return the runs of a session, in order, as one trajectory, as `trajectory_of` does a run."""
    first, last = histories[0].run, histories[-1].run
    ours = _ours(first, ()) | {"runs": [_ours(each.run, each.scores or ()) for each in histories]}
    ours |= {name: getattr(last, name) for name in ("status", "error_message")}
    ours["finished_at"] = None if last.finished_at is None else _zulu(last.finished_at)
    del ours["run_id"]
    session_id = first.session_id or first.run_id
    return _trajectory(histories, redact, session_id, _without_nothing(ours))


def _trajectory(
    histories: Sequence[History], redact: Redact, trajectory_id: str, ours: Object
) -> Object | None:
    run = histories[0].run
    said: list[Utterance] = []
    embedded: dict[str, Object] = {}
    for history in histories:
        found = redact(dialogue_of(history)).utterances
        said += [*_not_said(found, said)]
        for child in history.children or ():
            if (below := trajectory_of(child, redact)) is not None:
                embedded[child.run.run_id] = below
    steps = [_step(number, each, embedded) for number, each in enumerate(said, start=1)]
    if not steps:
        return None
    calls = [call for history in histories for call in history.usage or ()]
    return _without_nothing(
        {
            "schema_version": VERSION,
            "session_id": run.session_id or run.run_id,
            "trajectory_id": trajectory_id,
            "agent": _agent(run, calls),
            "steps": steps,
            "final_metrics": _final_metrics(histories, calls, len(steps)),
            "subagent_trajectories": [*embedded.values()],
            "extra": {"curio": ours},
        }
    )


def _not_said(found: Iterable[Utterance], before: Sequence[Utterance]) -> Iterator[Utterance]:
    """Yield steps that earlier runs do not have: no copies, and no repeated instructions."""
    told = {each.text for each in before if each.speaker == "system"}
    for each in found:
        is_repeated = each.speaker == "system" and each.text in told
        if not before or not (each.is_copied or is_repeated):
            yield each


def _without_nothing(values: Mapping[str, Any]) -> Object:
    return {name: value for name, value in values.items() if value is not None and value != []}


def _agent(run: AgentRun, calls: Sequence[AgentLLMUsage]) -> Object:
    metadata = _object(run.metadata)
    version = metadata.get("version")
    return _without_nothing(
        {
            "name": run.agent_id,
            "version": str(version) if version else UNKNOWN_VERSION,
            "model_name": next((call.model for call in calls if call.model), None),
            "tool_definitions": tool_definitions(run, calls),
            "extra": {"agent_name": run.agent_name} if run.agent_name else None,
        }
    )


def tool_definitions(run: AgentRun, calls: Iterable[AgentLLMUsage]) -> list[Object] | None:
    """Return the definitions of tools that the run's metadata tells, or a model call was given."""
    told = (_object(run.metadata).get("tool_definitions"), *_given(calls))
    return next((found for each in told if (found := _definitions(each))), None)


def _given(calls: Iterable[AgentLLMUsage]) -> Iterator[Any]:
    return (_object(call.input_params).get("tools") for call in calls)


def _definitions(told: Any) -> list[Object]:
    """Return definitions in the form of OpenAI, from that form or Anthropic's."""
    found = []
    for each in told if isinstance(told, list) else ():
        if not isinstance(each, dict):
            continue
        inner = each.get("function")
        said = inner if isinstance(inner, dict) else each
        if isinstance(said.get("name"), str):
            parameters = said.get("parameters", said.get("input_schema"))
            function = {
                "name": said["name"],
                "description": said.get("description") or "",
                "parameters": parameters or {"type": "object", "properties": {}},
            }
            found.append(each if inner else {"type": "function", "function": function})
    return found


# --- steps ----------------------------------------------------------------------------------------


def _step(number: int, said: Utterance, embedded: Mapping[str, Object]) -> Object:
    step: Object = {
        "step_id": number,
        "timestamp": _zulu(said.at),
        "source": said.speaker,
        "message": _content(said.content) or said.text,
    }
    if said.speaker == "agent":
        step |= _of_agent(said)
    results = [
        *(_result(each, embedded) for each in said.actions if each.is_answered or each.children),
        *({"content": _text(each)} for each in said.observed),
    ]
    if references := _references(said.children, embedded):
        results.append({"subagent_trajectory_ref": references})
    return step | _without_nothing(
        {
            "observation": {"results": results} if results else None,
            "is_copied_context": said.is_copied or None,
            "extra": {"within_tool": True} if said.is_inside else None,
        }
    )


def _of_agent(said: Utterance) -> Object:
    """Return the fields that only an agent's step may have."""
    call, tools = said.call, [*map(_tool_call, said.actions)]
    if call is None:  # Nothing is known of a model, so no thoughts are admitted either.
        return _without_nothing({"tool_calls": tools, "llm_call_count": 0})
    metrics = _object(call.usage_metrics)
    count = metrics.get("llm_call_count")
    return _without_nothing(
        {
            "model_name": call.model or None,
            "reasoning_content": said.thinking or None,
            "tool_calls": tools,
            "metrics": _metrics(call),
            "llm_call_count": count if isinstance(count, int) and count > 1 else 1,
        }
    )


def _metrics(call: AgentLLMUsage) -> Object:
    cost = call.get_cost_usd()
    error = call.error_message or (None if call.status == "success" else call.status)
    return _without_nothing(
        {
            "prompt_tokens": call.input_tokens,
            "completion_tokens": call.output_tokens,
            "cached_tokens": call.cache_read_tokens,
            "cost_usd": None if cost is None else float(cost),
            "extra": _without_nothing(
                {
                    "provider": call.provider or None,
                    "cache_creation_input_tokens": call.cache_write_tokens,
                    "reasoning_tokens": call.reasoning_tokens,
                    # All digits, of which a float may lose some.
                    "cost_usd": None if cost is None else str(cost),
                    "duration_ms": call.latency_ms,
                    "error": error,
                }
            )
            or None,
        }
    )


def _tool_call(action: Action) -> Object:
    arguments = action.arguments
    return {
        "tool_call_id": action.call_id,
        "function_name": action.name,
        "arguments": arguments if isinstance(arguments, dict) else _named(arguments),
    }


def _named(arguments: Any) -> Object:
    """Return arguments that are no object as one."""
    return {} if arguments is None or arguments == "" else {"input": arguments}


def _result(action: Action, embedded: Mapping[str, Object]) -> Object:
    content = action.result if action.result is not None else action.error
    extra = {
        "is_error": True if action.error is not None else None,
        "error": action.error,
        "duration_ms": action.took_ms,
    }
    return _without_nothing(
        {
            "source_call_id": action.call_id,
            "content": None if content is None else _content(content) or _text(content),
            "subagent_trajectory_ref": _references(action.children, embedded),
            "extra": _without_nothing(extra) or None,
        }
    )


def _references(run_ids: Iterable[str], embedded: Mapping[str, Object]) -> list[Object]:
    return [{"trajectory_id": run_id} for run_id in run_ids if run_id in embedded]


def _content(value: Any) -> list[Object] | None:
    """Return content of texts, pictures and sounds as it is; None for anything else."""
    if isinstance(value, list) and value and all(map(_is_part, value)):
        return value
    return None


def _is_part(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("type") not in ("text", "image", "audio"):
        return False
    if value["type"] == "text":
        return value.keys() == {"type", "text"} and isinstance(value["text"], str)
    source = value.get("source")
    if value.keys() != {"type", "source"} or not isinstance(source, dict):
        return False
    return isinstance(source.get("path"), str) and "media_type" in source


def _text(value: Any) -> str:
    return compact(value)


def _zulu(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


# --- the run --------------------------------------------------------------------------------------


def _final_metrics(
    histories: Iterable[History], calls: Iterable[AgentLLMUsage], steps: int
) -> Object:
    """Return the sums of the runs' own calls; the cost includes child runs, as ATIF defines."""
    costs = [cost for each in histories if (cost := each.totals.cost_usd) is not None]

    def total(name: str) -> int | None:
        known = [value for call in calls if (value := getattr(call, name)) is not None]
        return sum(known) if known else None

    return _without_nothing(
        {
            "total_prompt_tokens": total("input_tokens"),
            "total_completion_tokens": total("output_tokens"),
            "total_cached_tokens": total("cache_read_tokens"),
            "total_cost_usd": float(sum(costs)) if costs else None,
            "total_steps": steps,
        }
    )


def _ours(run: AgentRun, scores: Iterable[Score]) -> Object:
    """Return what is known of the run and has no field in ATIF."""
    metadata = _object(run.metadata)
    metadata.pop("tool_definitions", None)
    return _without_nothing(
        {
            "run_id": run.run_id,
            "status": run.status,
            "error_message": run.error_message,
            "started_at": None if run.started_at is None else _zulu(run.started_at),
            "finished_at": None if run.finished_at is None else _zulu(run.finished_at),
            "user_id": run.user_id,
            "tags": run.tags,
            "metadata": metadata or None,
            "scores": [
                _without_nothing(
                    {
                        name: getattr(score, name)
                        for name in ("name", "value", "label", "comment", "source", "span_id")
                    }
                )
                for score in scores
            ],
        }
    )


def _object(value: Any) -> Object:
    value = parsed(value)
    return dict(value) if isinstance(value, dict) else {}


def encode(trajectory: Object, *, indent: int | None = None) -> bytes:
    """Return a trajectory as JSON."""
    return f"{json.dumps(trajectory, ensure_ascii=False, indent=indent, default=_plain)}\n".encode(
        "utf-8", "backslashreplace"
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else repr(value)
