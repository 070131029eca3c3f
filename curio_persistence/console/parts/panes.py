"""The pane beside the steps: one step in full, or the run itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from curio_persistence.console.render.markdown import markdown
from curio_persistence.console.render.outline import icon_of, kind_of
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.views.html.text import Html
from curio_persistence.views.html.values import ON_A_PAGE, Renderer, raw_text, size_of
from curio_persistence.views.steps import Record, Step, step_of
from curio_persistence.views.telling import MODEL
from curio_persistence.views.values import parsed, without_nothing
from curio_persistence.views.wording import money, number, price, span

RENDERER = Renderer(ON_A_PAGE, markdown)
_IN_HEAD = frozenset(("provider", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"))
"""Parts of a step that the facts above its words say."""

_BANNER = 160
"""Characters of an error that a banner shows on a narrow screen too."""

_STORED = {"prompt": "prompt", "response": "response_content", "params": "input_params"}
"""The columns of a model call that have a part's text as it was recorded."""

_DETAILS = (
    *("event_id", "session_id", "trace_id", "span_id", "parent_span_id", "contract_id"),
    *("contract_version", "artifact_uri", "price_version", "content_hash", "chain_position", "seq"),
)


class Fact(NamedTuple):
    """A short value below its name; `note` says more about it."""

    label: str
    value: str
    note: str = ""
    href: str | None = None


class Field(NamedTuple):
    """A part with words: its size, and how it looks."""

    name: str
    size: str
    shown: Html
    is_raw: bool
    is_cut: bool


@dataclass(frozen=True)
class Pane:
    """A step or a run in full. `clock` is when it happened, told in the reader's zone."""

    ref: str
    icon: str
    kind: str
    title: str
    clock: datetime | None
    facts: tuple[Fact, ...]
    error: str | None
    fields: tuple[Field, ...]
    details: Mapping[str, str]
    run_id: str
    trace_id: str | None = None


def pane_of_record(record: Record, raw: str | None = None) -> Pane:
    """Return an event or a model call; the part named `raw` is shown as it was recorded."""
    step = step_of(record)
    parts = {name: value for name, value in step.parts.items() if name not in _IN_HEAD}
    if "params" in parts:  # They are read after what was said.
        parts["params"] = parts.pop("params")
    return Pane(
        str(step.ref),
        icon_of(step.kind),
        kind_of(step.kind),
        step.name if step.name and kind_of(step.kind) != "event" else step.kind,
        began(step),
        tuple(_facts(step, record)),
        step.error,
        tuple(
            field_of(name, value, raw, part_of(record, name))
            for name, value in _with_message(step, parts).items()
        ),
        _details(record),
        record.run_id or "",
        record.trace_id,
    )


def began(step: Step) -> datetime:
    """Return when a step began: a model call is recorded when it was answered."""
    if step.kind == MODEL and step.took_ms:
        return step.at - timedelta(milliseconds=step.took_ms)
    return step.at


def _with_message(step: Step, parts: dict[str, Any]) -> dict[str, Any]:
    is_event = kind_of(step.kind) == "event" and step.name
    return {"message": step.name, **parts} if is_event else parts


def field_of(name: str, value: Any, raw: str | None = None, text: str | None = None) -> Field:
    """Return a part as it is shown; `text` is how it was recorded."""
    text = raw_text(value) if text is None else text
    is_raw = name == raw
    shown = RENDERER.part(name, text if is_raw else value, raw=is_raw)
    return Field(name, size_of(text), shown, is_raw, len(text) > ON_A_PAGE.whole)


def part_of(record: Record, name: str) -> str | None:
    """Return the text of a part of an event or a model call; None where it has none so named."""
    if isinstance(record, AgentLLMUsage) and name in _STORED:
        stored = getattr(record, _STORED[name])
        return None if stored is None else raw_text(stored)
    step = step_of(record)
    value = _with_message(step, dict(step.parts)).get(name)
    return None if value is None else raw_text(value)


def pane_of_run(run: AgentRun, raw: str | None = None) -> Pane:
    """Return a run itself: what it was for, what came out of it, and what it was told."""
    parts = without_nothing(
        {
            "objective": run.objective or None,
            "error": _long_error(run),
            "output": parsed(run.final_synthesis_output),
            "context": parsed(run.additional_context),
            "history": parsed(run.execution_history),
            "metrics": parsed(run.metrics),
            "metadata": parsed(run.metadata),
        }
    )
    fields = tuple(
        field_of(name, value, raw) for name, value in parts.items() if value not in ({}, [])
    )
    return Pane("run", "info", "run", "About this run", None, (), None, fields, {}, run.run_id)


def _long_error(run: AgentRun) -> str | None:
    """Return an error of which the banner above the steps shows only the begin."""
    error = run.error_message or ""
    return error if len(error) > _BANNER or "\n" in error else None


def part_of_run(run: AgentRun, name: str) -> str | None:
    """Return the text of a part of a run."""
    columns = {
        "error": "error_message",
        "output": "final_synthesis_output",
        "context": "additional_context",
        "history": "execution_history",
    }
    if name not in {*columns, "objective", "metrics", "metadata"}:
        return None
    value = getattr(run, columns.get(name, name))
    return None if value is None else raw_text(value)


def _facts(step: Step, record: Record) -> Iterator[Fact]:
    if step.took_ms is not None:
        yield Fact("Took", span(step.took_ms))
    if isinstance(record, AgentLLMUsage):
        yield from _facts_of_call(record)
    elif step.cost_usd is not None:
        yield _cost(step.cost_usd)
    if step.level != "info":
        yield Fact("Level", step.level)
    if isinstance(record, AgentRunEvent) and kind_of(step.kind) == "event":
        return
    if step.is_open:
        yield Fact("End", "not recorded")


def _facts_of_call(call: AgentLLMUsage) -> Iterator[Fact]:
    cached = call.cache_read_tokens
    yield Fact("In", number(call.input_tokens), f"{number(cached)} cached" if cached else "")
    thought = call.reasoning_tokens
    yield Fact("Out", number(call.output_tokens), f"{number(thought)} reasoning" if thought else "")
    yield _cost(call.get_cost_usd(), call.cost_source)
    if call.provider:
        yield Fact("Provider", call.provider)


def _cost(cost: Decimal | None, source: str = "") -> Fact:
    note = source if source in ("computed", "reported") else ""
    return Fact("Cost", "unknown" if cost is None else price(cost), note)


def _details(record: Record) -> dict[str, str]:
    values = {name: getattr(record, name, None) for name in _DETAILS}
    if isinstance(record, AgentLLMUsage):
        values["cost"] = money(record.get_cost_usd())
    return {name: str(value) for name, value in values.items() if value is not None}
