"""Analytics: what happened in each period and group, the same numbers on every backend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, InvalidValueError, PeriodTotals, Persistence
from tests.support.hands import Hands

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def run(persistence: Persistence, name: str, at: datetime = MONDAY, **fields: Any) -> None:
    fields = {"status": "completed", "agent_id": "planner", **fields}
    persistence.create_agent_run(AgentRun(run_id=name, created_at=at, **fields))


def event(persistence: Persistence, name: str, at: datetime = MONDAY) -> None:
    persistence.append_event(name, "planner", "note", timestamp=at)


def tool(persistence: Persistence, name: str, at: datetime = MONDAY, error: str = "") -> None:
    payload = {"tool_name": "search", "error": error or None}
    persistence.append_event(name, "planner", "tool_call", timestamp=at, payload=payload)


def call(persistence: Persistence, name: str | None, at: datetime = MONDAY, **fields: Any) -> None:
    persistence.log_llm_usage(AgentLLMUsage("planner", name, model="m", created_at=at, **fields))


def analytics(persistence: Persistence, *when: Any, **how: Any) -> list[PeriodTotals]:
    return list(persistence.analytics(*when, **{"timezone": "UTC", **how}))


def runs_of(rows: list[PeriodTotals], field: str = "period") -> dict[Any, int]:
    return {getattr(row, field): row.runs for row in rows}


def test_a_row_has_all_that_happened_in_its_period(persistence: Persistence) -> None:
    run(persistence, "r1", session_id="s", user_id="u")
    run(persistence, "r2", MONDAY + HOUR, status="error", session_id="s")
    run(persistence, "r3", MONDAY + HOUR, status="timeout", agent_id="scout", user_id="v")
    run(persistence, "r4", MONDAY + DAY)
    event(persistence, "r1")
    tool(persistence, "r1")
    tool(persistence, "r2", error="it failed")
    call(persistence, "r1", input_tokens=10, output_tokens=5, cost_usd=Decimal("0.1"))
    call(persistence, "r2", input_tokens=1, latency_ms=30, status="error")
    call(persistence, None, latency_ms=10, cost_usd=Decimal("0.2"))
    first, second = analytics(persistence)
    assert first == PeriodTotals(
        period="2026-11-16",
        begin=MONDAY,
        agent_id=None,
        session_id=None,
        user_id=None,
        tag=None,
        runs=3,
        errors=2,
        error_rate=0.6667,
        events=3,
        tool_calls=2,
        tool_errors=1,
        calls=3,
        call_errors=1,
        avg_latency_ms=20.0,
        latency_p50_ms=None,
        latency_p95_ms=None,
        input_tokens=11,
        output_tokens=5,
        cost_usd=Decimal("0.3"),
        unpriced=1,
        sessions=1,
        agents=2,
        users=2,
    )
    assert (second.period, second.runs, second.errors, second.error_rate) == ("2026-11-17", 1, 0, 0)
    assert (second.calls, second.cost_usd, second.avg_latency_ms) == (0, Decimal(0), None)


def test_without_records_there_are_no_rows(persistence: Persistence) -> None:
    assert analytics(persistence) == []
    assert analytics(persistence, "30d", bucket="hour", group_by="agent") == []
    (nothing,) = analytics(persistence, bucket=None)
    assert (nothing.period, nothing.begin, nothing.runs, nothing.error_rate) == (
        None,
        None,
        0,
        None,
    )
    assert (nothing.cost_usd, nothing.agents) == (Decimal(0), 0)


def test_calls_of_unknown_cost_have_an_unknown_cost(persistence: Persistence) -> None:
    call(persistence, None)
    (row,) = analytics(persistence)
    assert (row.runs, row.calls, row.cost_usd, row.unpriced) == (0, 1, None, 1)


def test_events_count_for_the_time_at_which_they_happened(persistence: Persistence) -> None:
    run(persistence, "r1", MONDAY)
    event(persistence, "r1", MONDAY + DAY)
    rows = analytics(persistence)
    assert [(row.period, row.runs, row.events) for row in rows] == [
        ("2026-11-16", 1, 0),
        ("2026-11-17", 0, 1),
    ]


def test_periods_are_those_of_the_calendar(persistence: Persistence) -> None:
    times = [
        MONDAY - timedelta(microseconds=1),
        MONDAY,
        MONDAY + 6 * DAY,
        datetime(2026, 12, 31, 23, tzinfo=UTC),
        datetime(2027, 1, 3, tzinfo=UTC),
    ]
    for number, at in enumerate(times):
        run(persistence, f"r{number}", at)
    assert runs_of(analytics(persistence, bucket="week")) == {
        "2026-W46": 1,
        "2026-W47": 2,
        "2026-W53": 2,
    }
    months = analytics(persistence, bucket="month")
    assert runs_of(months) == {"2026-11": 3, "2026-12": 1, "2027-01": 1}
    assert [month.begin for month in months] == [
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ]
    hours = analytics(persistence, bucket="hour", until=MONDAY + HOUR)
    assert [hour.period for hour in hours] == ["2026-11-15T23:00+00:00", "2026-11-16T00:00+00:00"]
    assert hours[0].begin == MONDAY - HOUR


def test_a_day_in_which_clocks_change_is_one_day(persistence: Persistence) -> None:
    begin = datetime(2026, 10, 24, 21, 30, tzinfo=UTC)
    for hour in range(27):
        run(persistence, f"r{hour}", begin + hour * HOUR)
    days = analytics(persistence, timezone="Europe/Berlin")
    assert runs_of(days) == {"2026-10-24": 1, "2026-10-25": 25, "2026-10-26": 1}
    assert days[1].begin == datetime(2026, 10, 24, 22, tzinfo=UTC)
    hours = analytics(persistence, bucket="hour", timezone="Europe/Berlin")
    assert [hour.period for hour in hours][3:5] == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:00+01:00",
    ]
    assert len(analytics(persistence, bucket="hour", timezone="Asia/Kathmandu")) == 27


def test_a_window_divides_periods(persistence: Persistence) -> None:
    for hour in range(4):
        run(persistence, f"r{hour}", MONDAY + hour * HOUR)
        call(persistence, f"r{hour}", MONDAY + hour * HOUR)
    (row,) = analytics(persistence, MONDAY + HOUR, MONDAY + 3 * HOUR)
    assert (row.period, row.begin, row.runs, row.calls) == ("2026-11-16", MONDAY, 2, 2)
    (row,) = analytics(persistence, MONDAY + HOUR, MONDAY + 3 * HOUR, bucket=None)
    assert (row.period, row.runs, row.calls) == (None, 2, 2)
    assert analytics(persistence, MONDAY + HOUR, MONDAY) == []


def test_periods_without_records_are_added_on_request(persistence: Persistence) -> None:
    run(persistence, "r1")
    run(persistence, "r2", MONDAY + 2 * DAY, agent_id="scout")
    window = MONDAY - DAY, MONDAY + 4 * DAY
    assert runs_of(analytics(persistence, *window, fill=True)) == {
        "2026-11-15": 0,
        "2026-11-16": 1,
        "2026-11-17": 0,
        "2026-11-18": 1,
        "2026-11-19": 0,
    }
    rows = analytics(persistence, *window, fill=True, group_by="agent", bucket="week")
    assert [(row.period, row.agent_id, row.runs) for row in rows] == [
        ("2026-W46", "planner", 0),
        ("2026-W46", "scout", 0),
        ("2026-W47", "planner", 1),
        ("2026-W47", "scout", 1),
    ]
    assert rows[0].begin == MONDAY - 7 * DAY


@pytest.mark.parametrize("since", [MONDAY, None])
def test_a_window_without_an_end_is_filled_up_to_now(
    persistence: Persistence, clock: Hands, since: datetime | None
) -> None:
    assert analytics(persistence, fill=True) == []
    run(persistence, "r1", MONDAY)
    clock.put(MONDAY + 3 * DAY)
    assert list(runs_of(analytics(persistence, since, fill=True)).values()) == [1, 0, 0, 0]


def test_groups_by_agent_session_user_and_tag(persistence: Persistence) -> None:
    run(persistence, "r1", session_id="s1", user_id="u1", tags=["a", "b"])
    run(persistence, "r2", session_id="s1", user_id="u2", tags=["b"], status="error")
    run(persistence, "r3", agent_id="scout")
    for name in "r1", "r2", "r2", "r3":
        tool(persistence, name, error="yes" if name == "r2" else "")
        call(persistence, name, cost_usd=1)
    call(persistence, None, cost_usd=10)

    def told(group: str, field: str) -> dict[Any, tuple[Any, ...]]:
        return {
            getattr(row, field): (row.runs, row.errors, row.events, row.tool_errors, row.cost_usd)
            for row in analytics(persistence, group_by=group)
        }

    assert told("session", "session_id") == {
        "s1": (2, 1, 3, 2, Decimal(3)),
        None: (1, 0, 1, 0, Decimal(11)),
    }
    assert told("user", "user_id") == {
        "u1": (1, 0, 1, 0, Decimal(1)),
        "u2": (1, 1, 2, 2, Decimal(2)),
        None: (1, 0, 1, 0, Decimal(11)),
    }
    assert told("tag", "tag") == {
        "a": (1, 0, 1, 0, Decimal(1)),
        "b": (2, 1, 3, 2, Decimal(3)),
        None: (1, 0, 1, 0, Decimal(11)),
    }
    # Events and calls say themselves whose they are.
    assert told("agent", "agent_id") == {
        "planner": (2, 1, 4, 2, Decimal(14)),
        "scout": (1, 0, 0, 0, Decimal(0)),
    }


def test_different_agents_sessions_and_users_of_a_tag_are_counted_once(
    persistence: Persistence,
) -> None:
    run(persistence, "r1", session_id="s1", user_id="u1", tags=["a", "b"])
    run(persistence, "r2", session_id="s1", user_id="u2", tags=["a"])
    run(persistence, "r3", MONDAY + DAY, session_id="s1", user_id="u2", tags=["a"])
    a, b = analytics(persistence, bucket=None, group_by="tag")
    assert (a.tag, a.runs, a.sessions, a.agents, a.users) == ("a", 3, 1, 1, 2)
    assert (b.tag, b.runs, b.sessions, b.agents, b.users) == ("b", 1, 1, 1, 1)
    (week,) = analytics(persistence, bucket="week")
    assert (week.runs, week.sessions, week.users) == (3, 1, 2)


def test_several_groups_are_combined_in_the_order_of_periods(persistence: Persistence) -> None:
    run(persistence, "r1", MONDAY + DAY, session_id="s1", tags=["b", "a"])
    run(persistence, "r2", agent_id="scout", session_id="s2")
    rows = analytics(persistence, group_by=("tag", "agent", "session"))
    assert [(row.period, row.tag, row.agent_id, row.session_id) for row in rows] == [
        ("2026-11-16", None, "scout", "s2"),
        ("2026-11-17", "a", "planner", "s1"),
        ("2026-11-17", "b", "planner", "s1"),
    ]


@pytest.mark.parametrize("bucket", ["day", None])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"agent_id": "planner"}, (1, 2, 2)),
        ({"session_id": "s1"}, (1, 1, 1)),
        ({"user_id": "u2"}, (1, 1, 1)),
        ({"tags": ["a", "b"]}, (1, 1, 1)),
        ({"any_tags": ["b", "c"]}, (2, 2, 2)),
        ({"session_id": "s1", "user_id": "u2"}, (0, 0, 0)),
        ({"agent_id": "unknown"}, (0, 0, 0)),
    ],
)
def test_all_records_of_a_row_pass_the_filters(
    persistence: Persistence, filters: dict[str, Any], expected: tuple[int, ...], bucket: Any
) -> None:
    run(persistence, "r1", session_id="s1", user_id="u1", tags=["a", "b"])
    run(persistence, "r2", agent_id="scout", session_id="s2", user_id="u2", tags=["c"])
    for name in "r1", "r2":
        event(persistence, name)
        call(persistence, name)
    rows = analytics(persistence, bucket=bucket, **filters)
    assert [(row.runs, row.events, row.calls) for row in rows] == (
        [expected] if any(expected) or bucket is None else []
    )


def test_percentiles_of_latencies_are_computed_on_request(persistence: Persistence) -> None:
    for latency in (10, 20, 30, 40, None):
        call(persistence, None, latency_ms=latency)
    (row,) = analytics(persistence, percentiles=True)
    assert (row.avg_latency_ms, row.latency_p50_ms, row.latency_p95_ms) == (25.0, 25.0, 38.5)


def test_a_run_counts_anew_when_it_is_updated_or_deleted(persistence: Persistence) -> None:
    run(persistence, "r1", status="running")
    call(persistence, "r1")
    persistence.runs.patch("r1", status="error")
    assert [(row.runs, row.errors) for row in analytics(persistence)] == [(1, 1)]
    persistence.delete_agent_run("r1")
    assert [(row.runs, row.errors, row.calls) for row in analytics(persistence)] == [(0, 0, 1)]


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"bucket": "minute"}, "bucket"),
        ({"bucket": 5}, "bucket"),
        ({"bucket": ["day"]}, "bucket"),
        ({"group_by": "model"}, "group_by"),
        ({"group_by": "day"}, "group_by"),
        ({"group_by": ("agent", "agent")}, "group_by"),
        ({"group_by": [["agent"]]}, "group_by"),
        ({"group_by": 5}, "group_by"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"since": "soon"}, "since"),
        ({"until": 5}, "until"),
        ({"agent_id": ""}, "AgentRun.agent_id"),
        ({"tags": [5]}, "AgentRun.tags"),
        ({"since": "2000-01-01", "until": "2026-11-20", "bucket": "hour"}, "since"),
        ({"since": "0001-01-01", "until": "2026-11-20"}, "since"),
    ],
)
def test_what_makes_no_sense_is_refused(
    persistence: Persistence, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        persistence.analytics(**given)
    assert refusal.value.field == field


@pytest.mark.before_io
def test_an_unknown_filter_is_refused(persistence: Persistence) -> None:
    with pytest.raises(TypeError, match="'model' is not a filter here"):
        persistence.analytics(model="m")  # type: ignore[call-arg]


def test_records_at_the_ends_of_time_count(persistence: Persistence) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    run(persistence, "r1", first)
    assert runs_of(analytics(persistence, bucket="month")) == {"0001-01": 1}
    run(persistence, "r2", last)
    with pytest.raises(InvalidValueError, match="more than 10,000 days"):
        analytics(persistence)
    assert runs_of(analytics(persistence, last - DAY, bucket="month")) == {"9999-12": 1}


def test_rows_convert_to_frames_and_tables(persistence: Persistence) -> None:
    run(persistence, "r1")
    call(persistence, "r1", cost_usd=Decimal("0.25"))
    rows = persistence.analytics(timezone="UTC")
    frame = rows.to_pandas()
    assert frame["period"].tolist() == ["2026-11-16"]
    assert frame["begin"].tolist() == [MONDAY]
    assert frame["cost_usd"].tolist() == [0.25]
    assert rows.to_arrow().column("runs").to_pylist() == [1]
    assert "2026-11-16" in rows._repr_html_()
