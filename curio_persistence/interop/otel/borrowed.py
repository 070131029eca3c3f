"""The words of runs whose own spans have none: those of their calls of models.

Some frameworks write messages on the spans of calls only. What the last user message of the first
call says is then the objective, and the answer of the last call is the output.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from curio_persistence.interop.otel.words import ASSISTANT, USER, calls_tools, last_text, parsed
from curio_persistence.models import AgentLLMUsage, AgentRun
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_json
from curio_persistence.store.filters import Filter, Order, any_of
from curio_persistence.store.table import Row
from curio_persistence.tables import RUNS, USAGE

WORDS = ("objective", "final_synthesis_output")
_MARK = "from_calls"
"""The member of a run's metadata that names the columns whose words are those of its calls."""
_LACKING = any_of(
    (Filter("objective", "=", ""),),
    (Filter("final_synthesis_output", "is null"),),
    (Filter("metadata", "is not null"),),
)
"""Passes runs without texts, and runs that may have taken the texts of their calls."""
_LOOKED_AT = (1, 8)
"""The numbers of calls that are read for one that is no embedding: nearly always it is the first.
"""


def borrowed_in(run: AgentRun) -> list[str]:
    """Return the columns of a run whose words are those of its calls."""
    return list(_members(run.metadata).get(_MARK, ()))


def with_borrowed(row: Row, before: Row) -> Row:
    """Return a run's row with the words that its stored version has from calls, if it has none."""
    names = [name for name in borrowed_in(RUNS.decode_row(before)) if not row.get(name)]
    if not names:
        return row
    mark = RUNS.encode_value("metadata", _mark(names))
    return {**row, **{name: before[name] for name in names}, "metadata": mark}


def _mark(names: Collection[str]) -> str:
    return encode_json({_MARK: sorted(names)})


def without_words_of_their_own(store: Store, run_ids: Collection[str]) -> Iterator[AgentRun]:
    """Yield the derived runs, of some, that lack words or have those of their calls."""
    if not run_ids:
        return
    where = (Filter("run_id", "in", tuple(run_ids)), Filter("stub", "=", 1), _LACKING)
    for run in RUNS.decode(store.select(RUNS, where)):
        if borrowed_in(run) or not all(getattr(run, name) for name in WORDS):
            yield run


def borrow(store: Store, run: AgentRun) -> bool:
    """Set the words of a run that it does not have itself, and return whether they are others."""
    before = [getattr(run, name) for name in WORDS], run.metadata
    own = {name for name in WORDS if getattr(run, name)}.difference(borrowed_in(run))
    told = {name: words for name, words in _words(store, run, own) if words}
    for name in {*WORDS} - own:
        setattr(run, name, told.get(name) or ("" if name == "objective" else None))
    run.metadata = _mark(told) if told else None
    return before != ([getattr(run, name) for name in WORDS], run.metadata)


def _words(store: Store, run: AgentRun, own: Collection[str]) -> Iterator[tuple[str, str | None]]:
    if "objective" not in own and (first := _call(store, run, descending=False)) is not None:
        yield "objective", last_text(first.prompt or None, USER)
    if "final_synthesis_output" in own or run.status != "completed":
        return
    if (last := _call(store, run, descending=True)) is not None:
        yield "final_synthesis_output", _answer(last.response_content)


def _call(store: Store, run: AgentRun, *, descending: bool) -> AgentLLMUsage | None:
    """Return the first or the last call of a run that is no embedding."""
    order = (Order("created_at", descending), Order("event_id", descending))
    where = (Filter("run_id", "=", run.run_id),)
    for most in _LOOKED_AT:
        calls = USAGE.decode(store.select(USAGE, where, order=order, limit=most))
        found = next((call for call in calls if not _is_embedding(call)), None)
        if found is not None or len(calls) < most:
            return found
    return None


def _is_embedding(call: AgentLLMUsage) -> bool:
    return bool(_members(call.input_params).get("operation") == "embeddings")


def _members(text: Any) -> dict[str, Any]:
    """Return the members of an object that is stored as JSON."""
    value = parsed(text)
    return value if isinstance(value, dict) else {}


def _answer(response: str | None) -> str | None:
    """Return the words of an answer; a call of a tool is none."""
    if not response or not calls_tools(response):
        return response
    return last_text(response, ASSISTANT)
