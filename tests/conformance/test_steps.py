"""Pages of the steps of a run: joined they are the whole, from any step, in both directions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    NotFoundError,
    Persistence,
    aio,
)
from curio_persistence.views.brief import BriefStep
from curio_persistence.views.step_pages import StepPage
from curio_persistence.views.steps import RecordRef

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
SECOND = timedelta(seconds=1)
_EXAMPLE = iter(range(10**9))


def at(second: float) -> datetime:
    return MONDAY + second * SECOND


def run(persistence: Persistence, run_id: str, second: float = 0, **fields: Any) -> None:
    persistence.create_agent_run(
        AgentRun("planner", run_id, started_at=at(second), created_at=at(second), **fields)
    )


def event(
    persistence: Persistence, run_id: str, second: float, event_type: str, data: Any = None,
    **fields: Any,
) -> AgentRunEvent:  # fmt: skip
    logged = AgentRunEvent(
        "planner", run_id, timestamp=at(second), event_type=event_type, data=data, **fields
    )
    persistence.log_agent_run_event(logged)
    return logged


def call(persistence: Persistence, run_id: str, second: float, **fields: Any) -> None:
    persistence.log_llm_usage(
        AgentLLMUsage("planner", run_id, "acme", "m", created_at=at(second), **fields)
    )


def pages(persistence: Persistence, run_id: str, limit: int, **more: Any) -> Iterator[StepPage]:
    page = persistence.runs.steps(run_id, limit=limit, **more)
    yield page
    while page.next_cursor:
        page = persistence.runs.steps(run_id, limit=limit, cursor=page.next_cursor, **more)
        yield page


def pages_back(persistence: Persistence, run_id: str, page: StepPage, limit: int) -> list[Any]:
    """Return the steps of all pages before one."""
    found: list[Any] = []
    while page.previous_cursor:
        page = persistence.runs.steps(run_id, limit=limit, cursor=page.previous_cursor)
        found = [*page, *found]
    return found


def told(steps: Any) -> list[tuple[int, str, str]]:
    return [(step.depth, step.kind, step.name) for step in steps]


@pytest.fixture
def planned(persistence: Persistence) -> Persistence:
    """A run with two child runs, of which one has another, all at work at the same time."""
    run(persistence, "東京", objective="Plan", status="running")
    run(persistence, "child", 1, parent_run_id="東京", objective="Search it", status="completed")
    run(persistence, "below", 1.5, parent_run_id="child", status="completed")
    run(persistence, "late", 6, parent_run_id="東京", status="error", error_message="gone")
    event(persistence, "東京", 0, "run_started", {"objective": "Plan"})
    event(persistence, "東京", 2, "tool_call_started", {"tool_name": "t"}, span_id="a")
    event(persistence, "child", 2, "noted", {"n": 1})
    event(persistence, "below", 2, "noted", {"n": 2}, level="error")
    call(persistence, "below", 3, response_content="It is.", input_tokens=7, output_tokens=2)
    call(persistence, "東京", 4, response_content="So be it.", latency_ms=1500, cost_usd=0.25)
    ended = {"tool_name": "t", "args": {"q": "why?"}, "error": "TimeoutError: 30 s"}
    event(persistence, "東京", 5, "tool_call", ended, span_id="a", level="warning")
    event(persistence, "東京", 7, "tool_call_started", {"tool_name": "u"}, span_id="b")
    return persistence


WHOLE = [
    (0, "run", "planner"),
    (1, "run", "planner"),
    (2, "noted", ""),
    (2, "model", "m"),
    (1, "noted", ""),
    (0, "tool", "t"),
    (0, "model", "m"),
    (0, "run", "planner"),
    (0, "tool", "u"),
]


def test_the_steps_of_a_child_run_stand_below_it(planned: Persistence) -> None:
    assert told(planned.runs.steps("東京")) == WHOLE
    assert told(planned.runs.steps("child")) == [
        (depth - 1, kind, name) for depth, kind, name in WHOLE[1:5]
    ]


def test_a_brief_step_tells_one_line(planned: Persistence) -> None:
    child, _, noted, answered, _, tool, call, late, still_open = planned.runs.steps("東京")
    assert (child.child_id, child.text, child.run_id) == ("child", "Search it", "東京")
    assert (noted.run_id, noted.text, noted.level) == ("below", '{"n": 2}', "error")
    assert (answered.input_tokens, answered.output_tokens) == (7, 2)
    assert (tool.at, tool.began, tool.took_ms, tool.is_open) == (at(2), at(2), 3000, False)
    assert (tool.text, tool.error) == ('{"q": "why?"}', "TimeoutError: 30 s")
    assert (call.at, call.began, call.took_ms) == (at(4), at(2.5), 1500)
    assert (call.text, call.cost_usd) == ("So be it.", Decimal("0.25"))
    assert (late.error, late.child_id) == ("gone", "late")
    assert still_open.is_open
    assert still_open.ref.kind == "event"


def test_a_line_of_a_very_long_payload_tells_the_same(persistence: Persistence) -> None:
    run(persistence, "r")
    given = {"tool_name": "fetch", "args": {"q": 'a "b" \\ 東'}, "result": "two\nlines " * 5_000}
    event(persistence, "r", 1, "tool_call", {**given, "latency_ms": 1.5, "error": None})
    event(persistence, "r", 2, "tool_call", {**given, "error": "TimeoutError"}, level="warning")
    event(persistence, "r", 3, "noted", "x" * 10_000)
    call(persistence, "r", 4, response_content="y" * 10_000)
    fine, failed, noted, answered = persistence.runs.steps("r")
    for tool in (fine, failed):
        assert tool.name == "fetch"
        assert tool.text.startswith('{"q": "a \\"b\\" \\\\ 東"} two lines two lines')
        assert len(tool.text) == 160
    assert (fine.took_ms, fine.error) == (1.5, None)
    assert failed.error == "TimeoutError"
    assert (noted.text, answered.text) == ("x" * 159 + "…", "y" * 159 + "…")


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_joined_are_the_whole_in_both_directions(planned: Persistence, limit: int) -> None:
    whole = list(planned.runs.steps("東京", limit=None))
    found = list(pages(planned, "東京", limit))
    assert [step for page in found for step in page] == whole
    assert all(len(page) <= limit for page in found)
    assert found[0].previous_cursor is None
    back = pages_back(planned, "東京", found[-1], limit)
    assert [*back, *found[-1]] == whole


def test_a_page_has_the_step_that_is_asked_for(planned: Persistence) -> None:
    whole = list(planned.runs.steps("東京", limit=None))
    for step in whole:
        page = planned.runs.steps("東京", around=step.ref, limit=3)
        assert step in page.steps
        assert page.steps == planned.runs.steps("東京", around=str(step.ref), limit=3).steps
        rest = planned.runs.steps("東京", cursor=page.next_cursor) if page.next_cursor else ()
        joined = [*pages_back(planned, "東京", page, 2), *page, *rest]
        assert joined == whole
    ended = next(step for step in whole if step.name == "t").ref
    begun = RecordRef("event", ended.id - 3)
    assert [step.name for step in planned.runs.steps("東京", around=begun, limit=1)] == ["t"]


@pytest.mark.parametrize(
    ("filters", "admitted"),
    [
        ({"only": "model"}, [3, 6]),
        ({"only": ("tool", "run")}, [0, 1, 5, 7, 8]),
        ({"only": "event"}, [2, 4]),
        ({"only": ["noted"]}, [2, 4]),
        ({"only": []}, []),
        ({"failed": True}, [5, 7]),
        ({"min_level": "warning"}, [2, 5, 7]),
        ({"min_level": "critical"}, []),
        ({"text": "SO BE"}, [6]),
        ({"text": "why?", "only": "tool"}, [5]),
    ],
    ids=str,
)
def test_only_steps_that_pass_the_filters_are_on_a_page(
    planned: Persistence, filters: dict[str, Any], admitted: list[int]
) -> None:
    whole = list(planned.runs.steps("東京", limit=None))
    wanted = [whole[index] for index in admitted]
    assert [step for page in pages(planned, "東京", 2, **filters) for step in page] == wanted


def test_a_step_of_another_run_is_not_found(planned: Persistence) -> None:
    other = event(planned, "other", 0, "noted")
    for wrong in (f"event:{other.id}", "event:999", "usage:999", "run:999"):
        with pytest.raises(NotFoundError, match=f"has no such step: {wrong}"):
            planned.runs.steps("東京", around=wrong)
    with pytest.raises(NotFoundError, match="has no run 'nine'"):
        planned.runs.steps("nine")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"only": 7}, "only"),
        ({"only": ["model", None]}, "only"),
        ({"min_level": "loud"}, "min_level"),
        ({"text": 7}, "text"),
        ({"around": "step:7"}, "around"),
        ({"around": "event:x"}, "around"),
        ({"around": 7}, "around"),
        ({"limit": -1}, "limit"),
        ({"cursor": "xyz"}, "cursor"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_for_is_refused(
    planned: Persistence, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        planned.runs.steps("東京", **given)
    assert refused.value.field == field


def test_a_cursor_is_that_of_one_run_and_its_filters(planned: Persistence) -> None:
    cursor = planned.runs.steps("東京", limit=1).next_cursor
    for run_id, filters in (("child", {}), ("東京", {"failed": True})):
        with pytest.raises(InvalidValueError):
            planned.runs.steps(run_id, cursor=cursor, **filters)  # type: ignore[arg-type]


def test_parents_may_go_in_circles(persistence: Persistence) -> None:
    for run_id, parent in (("a", "c"), ("b", "a"), ("c", "b"), ("d", "d")):
        run(persistence, run_id, parent_run_id=parent)
        event(persistence, run_id, 1, "noted")
    whole = list(persistence.runs.steps("a", limit=None))
    depths = [(0, "run"), (1, "run"), (2, "run"), (2, "noted"), (1, "noted"), (0, "noted")]
    assert [(step.depth, step.kind) for step in whole] == depths
    assert [step for page in pages(persistence, "a", 2) for step in page] == whole
    assert len(persistence.runs.steps("d")) == 2
    assert persistence.runs.outline_buckets("a").steps == len(whole)


def test_what_belongs_to_a_deleted_run_is_behind_no_cursor(planned: Persistence) -> None:
    page = planned.runs.steps("東京", limit=3)
    planned.delete_agent_run("child")
    rest = planned.runs.steps("東京", cursor=page.next_cursor)
    assert told(rest) == WHOLE[5:]


def test_pages_of_many_records_of_one_moment(persistence: Persistence) -> None:
    run(persistence, "r")
    persistence.log_agent_run_events(
        AgentRunEvent("planner", "r", timestamp=at(1), event_type=f"e{n}") for n in range(700)
    )
    persistence.log_llm_usages(
        AgentLLMUsage("planner", "r", "acme", f"m{n}", created_at=at(1)) for n in range(700)
    )
    whole = list(persistence.runs.steps("r", limit=None))
    assert [step.kind for step in whole[:700]] == [f"e{n}" for n in range(700)]
    assert [step.name for step in whole[700:]] == [f"m{n}" for n in range(700)]
    found = list(pages(persistence, "r", 333))
    assert [step for page in found for step in page] == whole
    assert [*pages_back(persistence, "r", found[-1], 333), *found[-1]] == whole


# --- any history ----------------------------------------------------------------------------------

_TYPES = ("tool_call_started", "tool_call", "span_started", "span", "noted", "run_completed")
_RECORDS = st.tuples(
    st.integers(0, 3),  # Which run.
    st.integers(0, 5),  # When.
    st.sampled_from((*_TYPES, "call")),
    st.sampled_from((None, "x", "y")),  # The span.
    st.sampled_from(("t", "u")),  # The name.
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(st.lists(_RECORDS, max_size=30), st.integers(1, 7), st.data())
def test_pages_of_any_history_are_the_whole(
    persistence: Persistence, records: list[Any], limit: int, data: st.DataObject
) -> None:
    number = next(_EXAMPLE)
    names = [f"{number} {each}" for each in range(4)]
    parents = data.draw(st.lists(st.sampled_from([None, *names]), min_size=4, max_size=4))
    for name, parent, begin in zip(names, parents, (0, 1, 1, 3), strict=True):
        run(persistence, name, begin, parent_run_id=parent)
    for which, second, kind, span, name in records:
        if kind == "call":
            call(persistence, names[which], second, span_id=span)
        else:
            payload = {"tool_name": name, "name": name, "args": {}}
            event(persistence, names[which], second, kind, payload, span_id=span)
    root = names[0]
    whole = list(persistence.runs.steps(root, limit=None))
    found = list(pages(persistence, root, limit))
    assert [step for page in found for step in page] == whole
    assert [*pages_back(persistence, root, found[-1], limit), *found[-1]] == whole
    for step in whole:
        assert step in persistence.runs.steps(root, around=step.ref, limit=limit).steps
    assert len({step.ref for step in whole}) == len(whole) or _ends_are_shared(whole)
    failed = [step for step in whole if step.error]
    assert list(persistence.runs.steps(root, failed=True)) == failed
    lanes = persistence.runs.outline_buckets(root, 10).lanes
    kinds = Counter(step.kind for step in whole)
    assert (lanes["model"].count, lanes["child"].count) == (kinds["model"], kinds["run"])
    for lane in (lanes["model"], lanes["tool"]):
        assert sum(count for _, count, _ in lane.buckets) == lane.count


def _ends_are_shared(steps: list[BriefStep]) -> bool:
    """Two begins with one span_id have the same end."""
    refs = Counter(step.ref for step in steps)
    return all(ref.kind == "event" for ref, count in refs.items() if count > 1)


def test_a_call_may_begin_after_an_end_with_its_span_id(persistence: Persistence) -> None:
    run(persistence, "r")
    event(persistence, "r", 0, "tool_call_started", {"tool_name": "t"}, span_id="x")
    event(persistence, "r", 1, "tool_call", {"tool_name": "t"}, span_id="y")
    event(persistence, "r", 2, "tool_call_started", {"tool_name": "t"}, span_id="y")
    for limit in (None, 1):
        found = [step for page in pages(persistence, "r", limit or 9) for step in page]
        assert [step.is_open for step in found] == [True, False, True]


# --- the outline ----------------------------------------------------------------------------------


def test_an_outline_counts_what_happened_in_each_bucket(planned: Persistence) -> None:
    outline = planned.runs.outline_buckets("東京", 7)
    assert (outline.begin, outline.end, outline.buckets) == (at(0), at(7), 7)
    assert (outline.steps, outline.failed) == (9, 2)
    assert outline.lanes["model"].buckets == ((3, 1, 0), (4, 1, 0))
    assert (outline.lanes["tool"].count, outline.lanes["tool"].failed) == (1, 1)
    assert outline.lanes["child"].count == 3
    for lane in outline.lanes.values():
        assert all(0 <= number < 7 and failed <= count for number, count, failed in lane.buckets)


def test_an_outline_of_nothing(persistence: Persistence) -> None:
    run(persistence, "r")
    outline = persistence.runs.outline_buckets("r")
    assert (outline.steps, outline.begin) == (0, at(0))
    assert outline.end > outline.begin
    assert all(lane.buckets == () for lane in outline.lanes.values())


@pytest.mark.parametrize("wrong", [0, -1, None, 1.5, 10**6])
def test_the_buckets_of_an_outline_are_a_number(persistence: Persistence, wrong: Any) -> None:
    run(persistence, "r")
    with pytest.raises(InvalidValueError) as refused:
        persistence.runs.outline_buckets("r", wrong)
    assert refused.value.field == "buckets"


def test_steps_and_outlines_can_be_awaited(planned: Persistence) -> None:
    async def ask() -> tuple[Any, Any]:
        runs = aio.AsyncPersistence(planned).runs
        return await runs.steps("東京", only="model"), await runs.outline_buckets("東京")

    steps, outline = asyncio.run(ask())
    assert steps == planned.runs.steps("東京", only="model")
    assert outline == planned.runs.outline_buckets("東京")
