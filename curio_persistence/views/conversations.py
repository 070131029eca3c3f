"""The conversation of a session: what was asked, done and answered in each of its runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from curio_persistence.models import AgentRun, Record
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import COUNT, Filter, Measure, Order, Where, total
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.views.steps import begin_of
from curio_persistence.views.values import milliseconds

_ORDER = (Order("at"), Order("id"))
_TOOLS = (COUNT, total("tool_error"))
_CALLS = (
    COUNT,
    Measure("count", "cost_usd"),
    total("cost_usd"),
    total("input_tokens"),
    total("output_tokens"),
)
_SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class CalledTool:
    """A tool, how often it was called, and how many of the calls failed."""

    name: str
    calls: int
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Exchange(Record):
    """One run of a conversation: what was asked, what was done in one line, what was answered.

    `asked` is the run's objective, or else its first prompt; `answered` is its output, or else the
    last response of a model. None is unknown. The runs that it started in the same session belong
    to what was done, which `done` says in one line: `tools`, those called most first, model calls
    with tokens and cost, of which `unpriced` ones have no known cost, what `failed` of all these,
    and `child_runs`.
    """

    run_id: str
    agent_id: str
    status: str
    at: datetime
    duration_ms: float | None
    asked: str | None
    done: str
    answered: str | None
    error: str | None
    tools: tuple[CalledTool, ...] = ()
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced: int = 0
    failed: int = 0
    child_runs: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, ready for JSON."""
        return {**Record.to_dict(self), "tools": [asdict(tool) for tool in self.tools]}


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """One page of a conversation, the oldest first.

    `next_cursor` leads to the exchanges before these, None before the first of all.
    """

    exchanges: tuple[Exchange, ...]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.exchanges)

    def __len__(self) -> int:
        return len(self.exchanges)

    def __getitem__(self, index: int) -> Exchange:
        return self.exchanges[index]


class _Place(NamedTuple):
    """A run in its session, without its texts."""

    at: str
    id: int
    run_id: str
    parent: str | None


class Conversation:
    """Reads the exchanges of the runs of one session."""

    def __init__(self, store: Store, where: Where) -> None:
        self._store = store
        self._where = where

    def page(self, most: int | None, cursor: str | None) -> ConversationPage:
        """Return the last exchanges, or the last ones before a cursor."""
        cursors = Cursors(self._store, "conversation", self._where, _ORDER)
        before = None if cursor is None else cursors.read(cursor)
        places = self._places()
        roots = _roots_of(places)
        earlier = [
            place
            for place in places
            if roots[place.run_id] == place.run_id and (before is None or place[:2] < before)
        ]
        page = (
            earlier[len(earlier) - most :] if most is not None and most < len(earlier) else earlier
        )
        more = page and len(page) < len(earlier)
        return ConversationPage(
            tuple(self._exchanges(page, roots)), cursors.write(page[0][:2]) if more else None
        )

    def _places(self) -> list[_Place]:
        columns = ("id", "run_id", "parent_run_id", "started_at", "created_at")
        rows = self._store.select_columns(RUNS, columns, self._where)
        return sorted(
            _Place(str(started or created), ident, run_id, parent)
            for ident, run_id, parent, started, created in rows
        )

    def _exchanges(self, page: Sequence[_Place], roots: Mapping[str, str]) -> Iterator[Exchange]:
        ids = {place.run_id for place in page}
        done = self._done({run_id: root for run_id, root in roots.items() if root in ids})
        where = (Filter("id", "in", tuple(place.id for place in page)),)
        runs = RUNS.decode(self._store.select(RUNS, where)) if page else []
        runs.sort(key=lambda run: (begin_of(run), run.id))
        return (self._exchange(run, done[run.run_id]) for run in runs)

    def _exchange(self, run: AgentRun, done: _Done) -> Exchange:
        return Exchange(
            run.run_id,
            run.agent_id,
            run.status,
            begin_of(run),
            milliseconds(run.started_at, run.finished_at),
            run.objective or self._said(run, "prompt", newest=False),
            done.in_one_line(),
            run.final_synthesis_output or self._said(run, "response_content", newest=True),
            run.error_message,
            **done.numbers(),
        )

    def _said(self, run: AgentRun, name: str, *, newest: bool) -> str | None:
        """Return the text of the first or the last model call of a run."""
        order = (Order("created_at", newest), Order("id", newest))
        where = USAGE.where(run_id=run.run_id)
        calls = USAGE.decode(self._store.select(USAGE, where, order=order, limit=1))
        return next((getattr(call, name) or None for call in calls), None)

    def _done(self, roots: Mapping[str, str]) -> Mapping[str, _Done]:
        """Return what was done in each first run, with the runs that it started."""
        done: defaultdict[str, _Done] = defaultdict(_Done)
        for root in roots.values():
            done[root].runs += 1
        of_runs = (Filter("run_id", "in", tuple(roots)),)
        tools = (*of_runs, Filter("tool_name", "is not null"))
        for run_id, *called in self._store.aggregate(
            EVENTS, _TOOLS, tools, group_by=("run_id", "tool_name")
        ):
            done[roots[run_id]].add_tool(*called)
        for run_id, *calls in self._store.aggregate(
            USAGE, _CALLS, of_runs, group_by=("run_id", "model", "status")
        ):
            done[roots[run_id]].add_calls(*calls)
        return done


class _Done:
    """The tools and models that a run called, and the runs that it started."""

    def __init__(self) -> None:
        self.runs = self.failed = self.calls = self.priced = self.cost = 0
        self.input_tokens = self.output_tokens = 0
        self.tools: defaultdict[str, int] = defaultdict(int)
        self.failures: defaultdict[str, int] = defaultdict(int)
        self.models: defaultdict[str, int] = defaultdict(int)

    def add_tool(self, name: str, calls: int, failed: int | None) -> None:
        self.tools[name] += calls
        self.failures[name] += failed or 0
        self.failed += failed or 0

    def add_calls(
        self, model: str, status: str, calls: int, priced: int, *sums: int | None
    ) -> None:
        cost, input_tokens, output_tokens = (number or 0 for number in sums)
        self.models[model or "a model"] += calls
        self.failed += 0 if status == _SUCCESS else calls
        self.calls += calls
        self.priced += priced
        self.cost += cost
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    def in_one_line(self) -> str:
        """Return, such as `search ×3, calculator · acme-1 ×2 · 1 failed · 1 child run`."""
        children = self.runs - 1
        parts = (
            _times(self.tools),
            _times(self.models),
            f"{self.failed:,} failed" if self.failed else "",
            f"{children:,} child run{'s' * (children > 1)}" if children else "",
        )
        return " · ".join(part for part in parts if part)

    def numbers(self) -> dict[str, Any]:
        """Return the counting fields of an exchange."""
        names = _most_first(self.tools)
        return {
            "tools": tuple(CalledTool(n, self.tools[n], self.failures[n]) for n in names),
            "model_calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": decode_money(self.cost) if self.priced else None,
            "unpriced": self.calls - self.priced,
            "failed": self.failed,
            "child_runs": self.runs - 1,
        }


def _roots_of(places: Sequence[_Place]) -> dict[str, str]:
    """Return for each run the first of those, in the session, that led to it.

    Of runs that are parents of each other in a circle, each is its own.
    """
    parents = {place.run_id: place.parent for place in places}
    roots: dict[str, str] = {}
    for run_id in parents:
        root, seen = run_id, {run_id}
        while (above := parents[root]) in parents:
            root = run_id if above in seen else str(above)
            if above in seen:
                break
            seen.add(root)
        roots[run_id] = root
    return roots


def _most_first(called: Mapping[str, int]) -> list[str]:
    return sorted(called, key=lambda name: (-called[name], name))


def _times(called: Mapping[str, int]) -> str:
    """Return names, those that were called most first, with how often if more than once."""
    told = ((name, called[name]) for name in _most_first(called))
    return ", ".join(name if calls == 1 else f"{name} ×{calls:,}" for name, calls in told)
