"""What pages of a console read: figures of runs, brief pages, counts, values, within a deadline."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
    QueryTimeoutError,
    UnavailableError,
    aio,
)
from curio_persistence.clock import Clock
from tests.support.hands import Hands

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run(persistence: Persistence, run_id: str, at: datetime = MONDAY, **fields: Any) -> None:
    agent_id = fields.pop("agent_id", "planner")
    persistence.create_agent_run(AgentRun(agent_id, run_id, created_at=at, **fields))


def call(persistence: Persistence, run_id: str | None, **fields: Any) -> None:
    persistence.log_llm_usage(AgentLLMUsage("planner", run_id, "openai", "m", **fields))


# --- the figures of runs --------------------------------------------------------------------------


def test_the_figures_of_runs_are_their_calls_tokens_costs_and_tools(
    persistence: Persistence,
) -> None:
    call(persistence, "東京", input_tokens=10, output_tokens=5, cost_usd=Decimal("0.1"))
    call(persistence, "東京", input_tokens=3, status="error", cost_usd=Decimal("0.2"))
    call(persistence, "東京")
    call(persistence, None, input_tokens=1_000)
    for error in (None, "TimeoutError", True):
        persistence.append_event(
            "東京", "planner", "tool_call", payload={"tool_name": "search", "error": error}
        )
    call(persistence, "other")
    figures = persistence.runs.totals_of(["東京", "other", "never recorded"])
    assert list(figures) == ["東京", "other", "never recorded"]
    found = figures["東京"]
    assert (found.calls, found.input_tokens, found.output_tokens) == (3, 13, 5)
    assert (found.cost_usd, found.unpriced) == (Decimal("0.3"), 1)
    assert (found.tool_calls, found.failed_tools, found.failed_calls) == (3, 2, 1)
    assert found.failed == 3
    assert (figures["other"].calls, figures["other"].cost_usd) == (1, None)
    assert figures["never recorded"].calls == 0
    assert persistence.runs.totals_of([]) == {}


@pytest.mark.before_io
def test_the_figures_of_one_text_are_refused(persistence: Persistence) -> None:
    for wrong in ("run", None, [7], [None]):
        with pytest.raises(InvalidValueError):
            persistence.runs.totals_of(wrong)  # type: ignore[arg-type]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**5) | st.none()), max_size=20))
def test_figures_add_up_to_the_totals(
    emptied: Persistence, calls: list[tuple[str, int | None]]
) -> None:
    prefix = f"{time.monotonic_ns()} "
    for name, tokens in calls:
        call(emptied, prefix + name, input_tokens=tokens, cost_usd=tokens and Decimal(tokens))
    figures = emptied.runs.totals_of([prefix + name for name in "abc"]).values()
    (totals,) = emptied.usage.totals(run_id=[prefix + name for name in "abc"])
    assert sum(each.calls for each in figures) == totals.calls == len(calls)
    assert sum(each.input_tokens for each in figures) == totals.input_tokens
    assert sum(each.unpriced for each in figures) == totals.unpriced
    assert sum(each.cost_usd or 0 for each in figures) == (totals.cost_usd or 0)


@pytest.fixture
def emptied(persistence: Persistence) -> Persistence:
    """The same persistence for all examples, each of which uses run ids of its own."""
    return persistence


# --- brief pages ----------------------------------------------------------------------------------


def test_a_brief_page_has_all_but_the_long_fields(persistence: Persistence) -> None:
    long = {
        "additional_context": {"a": 1},
        "final_synthesis_output": "output",
        "execution_history": ["step"],
        "metadata": {"b": 2},
        "metrics": {"c": 3},
    }
    for number in range(5):
        run(persistence, f"r{number}", objective="Plan", tags=["x"], user_id="u", **long)
    whole, brief = persistence.query_agent_runs(), persistence.query_agent_runs(brief=True)
    for each, short in zip(whole, brief, strict=True):
        for name, value in short.to_dict().items():
            assert value == (None if name in long else each.to_dict()[name]), name
    page = persistence.query_agent_runs(brief=True, limit=2, tags="x")
    rest = persistence.query_agent_runs(limit=5, cursor=page.next_cursor, tags="x")
    assert [each.run_id for each in (*page, *rest)] == ["r4", "r3", "r2", "r1", "r0"]
    assert len(persistence.query_agent_runs(brief=True, agent_id="nobody")) == 0


# --- one record -----------------------------------------------------------------------------------


def test_one_event_and_one_call_are_had_by_their_ids(persistence: Persistence) -> None:
    event = persistence.append_event("r", "planner", "noted", payload={"a": 1})
    call(persistence, "r", prompt="why?")
    assert event.id is not None
    assert [persistence.events.get(event.id)] == persistence.get_agent_run_events("r")
    (stored,) = persistence.get_llm_usage()
    assert stored.id is not None
    assert persistence.usage.get(stored.id) == stored
    assert persistence.events.get(10**9) is persistence.usage.get(0) is None


@pytest.mark.before_io
@pytest.mark.parametrize("wrong", [None, "1", -1, 1.5, 2**63])
def test_the_id_of_a_record_is_a_whole_number(persistence: Persistence, wrong: Any) -> None:
    for get in (persistence.events.get, persistence.usage.get):
        with pytest.raises(InvalidValueError) as refused:
            get(wrong)
        assert refused.value.field == "ident"


# --- counts of runs -------------------------------------------------------------------------------


def test_counts_tell_each_bucket_of_the_window_also_empty_ones(persistence: Persistence) -> None:
    run(persistence, "a", MONDAY, status="completed")
    run(persistence, "b", MONDAY + HOUR / 2, status="error")
    run(persistence, "c", MONDAY + 2 * HOUR, status="completed", agent_id="other")
    counts = persistence.runs.counts(bucket="1h", since=MONDAY, until=MONDAY + 3 * HOUR)
    assert [(each.begin, each.end) for each in counts] == [
        (MONDAY + n * HOUR, MONDAY + (n + 1) * HOUR) for n in range(3)
    ]
    assert [each.runs for each in counts] == [2, 0, 1]
    assert [each.by for each in counts] == [{"completed": 1, "error": 1}, {}, {"completed": 1}]
    (of_agents,) = persistence.runs.counts(
        bucket="3h", by="agent", since=MONDAY, until=MONDAY + 3 * HOUR
    )
    assert of_agents.by == {"planner": 2, "other": 1}
    (plain,) = persistence.runs.counts(
        bucket="1d", by=None, since=MONDAY, until=MONDAY + 3 * HOUR, status="error"
    )
    assert (plain.runs, plain.by) == (1, {})


def test_a_window_may_begin_and_end_inside_a_bucket(persistence: Persistence) -> None:
    run(persistence, "a", MONDAY + HOUR / 2)
    run(persistence, "b", MONDAY + HOUR / 4)
    run(persistence, "c", MONDAY + 2 * HOUR)
    since, until = MONDAY + HOUR / 2, MONDAY + 2 * HOUR
    counts = persistence.runs.counts(bucket="1h", since=since, until=until)
    assert [(each.begin, each.runs) for each in counts] == [(since, 1), (MONDAY + HOUR, 0)]


def test_days_are_those_of_the_time_zone(persistence: Persistence) -> None:
    begin, end = datetime(2026, 10, 23, 22, tzinfo=UTC), datetime(2026, 10, 26, 23, tzinfo=UTC)
    counts = persistence.runs.counts(bucket="day", timezone="Europe/Berlin", since=begin, until=end)
    lengths = [(each.end - each.begin) / HOUR for each in counts]
    assert lengths == [24, 25, 24]  # Clocks were set back on the 25th.


def test_counts_without_a_window_go_from_the_first_run_to_now(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert persistence.runs.counts() == []
    hands = Hands()
    hands.put(MONDAY + 48 * HOUR)
    monkeypatch.setattr(persistence.runs, "_clock", Clock(hands))
    run(persistence, "a", MONDAY + HOUR)
    counts = persistence.runs.counts(bucket="day")
    assert [each.runs for each in counts] == [1, 0, 0]
    assert counts[0].begin == MONDAY + HOUR


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"bucket": "7h"}, "bucket"),
        ({"bucket": None}, "bucket"),
        ({"bucket": "1m", "since": MONDAY, "until": MONDAY + 100 * HOUR}, "bucket"),
        ({"by": "mood"}, "by"),
        ({"by": ["status"]}, "by"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"since": "soon"}, "since"),
        ({"until": 7}, "until"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    persistence: Persistence, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        persistence.runs.counts(**given)
    assert refused.value.field == field


# --- values ---------------------------------------------------------------------------------------


def test_values_are_offered_for_each_picker(persistence: Persistence) -> None:
    run(persistence, "a", tags=["billing", "東京"])
    run(persistence, "b", tags=["billing"], agent_id="agent")
    call(persistence, "a")
    persistence.append_event("a", "planner", "tool_call", payload={"tool_name": "search"})
    persistence.append_event("a", "planner", "noted 東京")
    assert persistence.values("agent_id") == ("agent", "planner")
    assert persistence.values("model") == ("m",)
    assert persistence.values("provider") == ("openai",)
    assert persistence.values("event_type") == ("noted 東京", "tool_call")
    assert persistence.values("tool") == ("search",)
    assert persistence.values("tags") == ("billing", "東京")


def test_values_are_kept_for_thirty_seconds(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands()
    hands.put(MONDAY)
    monkeypatch.setattr(persistence._values, "_clock", Clock(hands))
    assert persistence.values("model") == ()
    call(persistence, "a")
    assert persistence.values("model") == ()
    hands.move(seconds=30)
    assert persistence.values("model") == ("m",)


@pytest.mark.before_io
@pytest.mark.parametrize("wrong", ["prompt", "", None, 7, ["model"]])
def test_values_of_another_name_are_refused(persistence: Persistence, wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match="name is one of agent_id, model"):
        persistence.values(wrong)


# --- whether an event passes ----------------------------------------------------------------------


FILTERS: list[dict[str, Any]] = [
    {},
    {"agent_id": "planner"},
    {"agent_id": "other"},
    {"event_type": ["tool_call", "noted"]},
    {"level": "error"},
    {"level": "info"},
    {"min_level": "info"},
    {"min_level": "warning"},
    {"payload": {"tool_name": "search"}},
    {"payload": {"tool_name": "find"}},
    {"run_id": ["a", "b"]},
    {"session_id": "s"},
    {"user_id": "u"},
    {"user_id": "nobody"},
    {"since": MONDAY},
    {"until": MONDAY},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_an_event_matches_if_a_query_finds_it(
    persistence: Persistence, filters: dict[str, Any]
) -> None:
    run(persistence, "a", user_id="u")
    events = [
        AgentRunEvent("planner", "a", timestamp=MONDAY, event_type="noted", level="error"),
        AgentRunEvent(
            "planner",
            "b",
            timestamp=MONDAY - HOUR,
            event_type="tool_call",
            data={"tool_name": "search"},
            session_id="s",
        ),
    ]
    persistence.log_agent_run_events(events)
    found = {event.id for event in persistence.query_events(**filters)}
    matching = {e.id for e in events if persistence.events.matches(e, **filters)}
    assert matching == found


# --- a deadline -----------------------------------------------------------------------------------


def test_readings_end_at_the_deadline(persistence: Persistence) -> None:
    run(persistence, "a")
    with persistence.deadline(60):
        assert len(persistence.query_agent_runs()) == 1
    with persistence.deadline(0):
        for read in (
            persistence.query_agent_runs,
            persistence.count_events,
            persistence.usage.totals,
            lambda: list(persistence.iter_agent_runs()),
        ):
            with pytest.raises(QueryTimeoutError, match="could not be read in time") as late:
                read()
        assert isinstance(late.value, UnavailableError | TimeoutError)
        with persistence.deadline(60), pytest.raises(QueryTimeoutError):
            persistence.query_agent_runs()  # The inner one does not prolong the outer one.
    assert len(persistence.query_agent_runs()) == 1


def test_transactions_go_on_to_their_end_after_the_deadline(persistence: Persistence) -> None:
    with persistence.deadline(0), persistence.transaction():
        persistence.append_event("a", "planner", "noted")
    assert persistence.count_events() == 1


def test_awaited_readings_end_at_the_deadline(persistence: Persistence) -> None:
    async def ask() -> None:
        awaiting = aio.AsyncPersistence(persistence)
        with awaiting.deadline(0), pytest.raises(QueryTimeoutError):
            await awaiting.query_events()
        assert len(await awaiting.query_events()) == 0
        assert await awaiting.values("model") == ()
        assert await awaiting.runs.totals_of(["a"]) == persistence.runs.totals_of(["a"])
        assert await awaiting.runs.counts() == []
        assert await awaiting.events.get(1) is await awaiting.usage.get(1) is None

    asyncio.run(ask())
