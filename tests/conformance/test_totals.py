"""Totals: calls, tokens, costs and runs by any group and period, the same on every backend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, InvalidValueError, Persistence

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def call(persistence: Persistence, model: str, at: datetime = MONDAY, **fields: Any) -> None:
    run_id = fields.pop("run_id", "r1")
    persistence.log_llm_usage(
        AgentLLMUsage("planner", run_id, "openai", model, created_at=at, **fields)
    )


def by(persistence: Persistence, *groups: str, **more: Any) -> dict[Any, Any]:
    """Return calls and cost by group."""
    totals = persistence.usage.totals(group_by=groups, **more)
    names = {"agent": "agent_id", "session": "session_id", "user": "user_id"}
    names |= dict.fromkeys(("hour", "day", "week", "month"), "period")
    return {
        tuple(getattr(row, names.get(group, group)) for group in groups): (row.calls, row.cost_usd)
        for row in totals
    }


def test_everything_is_one_group_if_none_is_named(persistence: Persistence) -> None:
    call(persistence, "m", input_tokens=10, output_tokens=5, cost_usd=Decimal("0.1"))
    call(
        persistence,
        "n",
        input_tokens=3,
        cache_read_tokens=2,
        cache_write_tokens=7,
        reasoning_tokens=1,
        status="error",
        latency_ms=40,
    )
    (total,) = persistence.usage.totals()
    assert (total.calls, total.errors, total.unpriced) == (2, 1, 1)
    assert (total.input_tokens, total.output_tokens) == (13, 5)
    assert (total.cache_read_tokens, total.cache_write_tokens, total.reasoning_tokens) == (2, 7, 1)
    assert total.cost_usd == Decimal("0.1")
    assert total.avg_latency_ms == 40.0
    assert total.model is total.agent_id is total.period is None


def test_no_records_give_zeros(persistence: Persistence) -> None:
    (total,) = persistence.usage.totals()
    assert (total.calls, total.cost_usd, total.avg_latency_ms) == (0, Decimal(0), None)
    (runs,) = persistence.runs.totals()
    assert (runs.runs, runs.calls, runs.cost_usd) == (0, 0, Decimal(0))
    assert list(persistence.usage.totals(group_by="model")) == []
    assert list(persistence.runs.totals(group_by=("agent", "day"))) == []


def test_calls_of_unknown_cost_have_an_unknown_cost(persistence: Persistence) -> None:
    call(persistence, "m")
    (total,) = persistence.usage.totals(group_by="model")
    assert (total.cost_usd, total.unpriced) == (None, 1)


def test_by_model_and_day(persistence: Persistence) -> None:
    for day in range(2):
        for cents in (1, 2):
            at = MONDAY + timedelta(days=day, hours=23, minutes=59 * (cents - 1))
            call(persistence, "m", at, cost_usd=Decimal(cents) / 100)
    call(persistence, "n", cost_usd=Decimal(1))
    assert by(persistence, "model", "day", timezone="UTC") == {
        ("m", "2026-11-16"): (2, Decimal("0.03")),
        ("m", "2026-11-17"): (2, Decimal("0.03")),
        ("n", "2026-11-16"): (1, Decimal(1)),
    }


def test_groups_are_in_the_requested_order(persistence: Persistence) -> None:
    for model in ("n", "m"):
        for hour in (5, 4):
            call(persistence, model, MONDAY + timedelta(hours=hour))
    rows = persistence.usage.totals(group_by=("hour", "model"), timezone="UTC")
    assert [(row.period, row.model) for row in rows] == [
        ("2026-11-16T04:00+00:00", "m"),
        ("2026-11-16T04:00+00:00", "n"),
        ("2026-11-16T05:00+00:00", "m"),
        ("2026-11-16T05:00+00:00", "n"),
    ]


def test_a_day_is_a_day_of_the_readers_time_zone(persistence: Persistence) -> None:
    call(persistence, "m", datetime(2026, 11, 16, 18, 20, tzinfo=UTC))
    call(persistence, "m", datetime(2026, 11, 16, 18, 10, tzinfo=UTC))
    assert by(persistence, "day", timezone="Asia/Kathmandu") == {  # 5 hours and 45 minutes ahead.
        ("2026-11-16",): (1, None),
        ("2026-11-17",): (1, None),
    }
    assert by(persistence, "day", timezone=fixed(timedelta(hours=-18, minutes=-15))) == {
        ("2026-11-15",): (1, None),
        ("2026-11-16",): (1, None),
    }


def test_a_day_in_which_clocks_change_is_one_day(persistence: Persistence) -> None:
    # In Berlin 25 October 2026 lasts 25 hours, from 22:00 to 23:00 UTC; 02:00 comes twice.
    for hour in range(27):
        call(persistence, "m", datetime(2026, 10, 24, 21, 30, tzinfo=UTC) + timedelta(hours=hour))
    assert by(persistence, "day", timezone="Europe/Berlin") == {
        ("2026-10-24",): (1, None),
        ("2026-10-25",): (25, None),
        ("2026-10-26",): (1, None),
    }
    hours = [
        row.period for row in persistence.usage.totals(group_by="hour", timezone="Europe/Berlin")
    ]
    assert hours[3:5] == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]


def test_the_first_and_last_moments_of_all_are_in_a_period(persistence: Persistence) -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    call(persistence, "m", first)
    assert by(persistence, "day", timezone="UTC") == {("0001-01-01",): (1, None)}
    call(persistence, "m", last)
    assert by(persistence, "month", timezone="UTC") == {
        ("0001-01",): (1, None),
        ("9999-12",): (1, None),
    }
    assert by(persistence, "month", since=last - timedelta(1), timezone="UTC") == {
        ("9999-12",): (1, None)
    }


def test_a_window_without_one_or_both_ends_has_whole_periods(persistence: Persistence) -> None:
    for day in range(3):
        for at in (timedelta(0), timedelta(hours=23, minutes=59, seconds=59.999999)):
            call(persistence, "m", datetime(2026, 11, 16, tzinfo=UTC) + timedelta(day) + at)
    each = [(f"2026-11-{day}",) for day in (16, 17, 18)]
    second = datetime(2026, 11, 17, tzinfo=UTC)
    assert by(persistence, "day", timezone="UTC") == dict.fromkeys(each, (2, None))
    since = by(persistence, "day", timezone="UTC", since=second)
    assert since == dict.fromkeys(each[1:], (2, None))
    until = by(persistence, "day", timezone="UTC", until=second)
    assert until == dict.fromkeys(each[:1], (2, None))


def test_weeks_begin_on_monday_and_months_on_their_first_day(persistence: Persistence) -> None:
    for at in (
        MONDAY - timedelta(seconds=1),
        MONDAY,
        MONDAY + timedelta(days=6),
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 2, tzinfo=UTC),
    ):
        call(persistence, "m", at)
    assert by(persistence, "week", timezone="UTC") == {
        ("2026-W46",): (1, None),
        ("2026-W47",): (2, None),
        ("2026-W49",): (1, None),
        ("2026-W53",): (1, None),
    }
    assert by(persistence, "month", timezone="UTC") == {
        ("2026-11",): (3, None),
        ("2026-12",): (1, None),
        ("2027-01",): (1, None),
    }


def test_by_session_user_and_tag_of_the_calls_run(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("planner", "r1", session_id="s1", user_id="u1"))
    persistence.create_agent_run(AgentRun("planner", "r2", session_id="s1", tags=["a", "b"]))
    call(persistence, "m", cost_usd=1)
    call(persistence, "m", run_id="r2", cost_usd=2)
    call(persistence, "m", run_id=None, cost_usd=4)
    call(persistence, "m", run_id="of nobody", cost_usd=8)
    assert by(persistence, "session") == {("s1",): (2, Decimal(3)), (None,): (2, Decimal(12))}
    assert by(persistence, "user") == {("u1",): (1, Decimal(1)), (None,): (3, Decimal(14))}
    assert by(persistence, "tag") == {
        ("a",): (1, Decimal(2)),
        ("b",): (1, Decimal(2)),
        (None,): (3, Decimal(13)),
    }


def test_totals_take_the_filters_of_queries(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("planner", "r1", session_id="s1"))
    call(persistence, "m", MONDAY)
    call(persistence, "n", MONDAY + timedelta(days=1))
    call(persistence, "m", MONDAY, run_id="r2")
    (total,) = persistence.usage.totals(session_id="s1", until=MONDAY + timedelta(days=1))
    assert total.calls == 1
    assert by(persistence, "model", since=MONDAY + timedelta(hours=1)) == {("n",): (1, None)}


def test_percentiles_of_latencies_are_computed_on_request(persistence: Persistence) -> None:
    for latency in (10, 20, 30, 40, None):
        call(persistence, "m", latency_ms=latency)
    (without,) = persistence.usage.totals(group_by="model")
    assert (without.latency_p50_ms, without.latency_p95_ms) == (None, None)
    (with_them,) = persistence.usage.totals(group_by="model", percentiles=True)
    assert (with_them.latency_p50_ms, with_them.latency_p95_ms) == (25.0, 38.5)
    assert with_them.latency_p99_ms == 39.7
    assert with_them.avg_latency_ms == 25.0


def test_runs_are_summed_with_their_calls(persistence: Persistence) -> None:
    for number, (agent, status, seconds) in enumerate(
        [("a", "completed", 10), ("a", "error", 20), ("a", "running", None), ("b", "completed", 1)]
    ):
        finished = None if seconds is None else MONDAY + timedelta(seconds=seconds)
        run = AgentRun(agent, f"r{number}", status=status, started_at=MONDAY, finished_at=finished)
        run.created_at = MONDAY
        persistence.create_agent_run(run)
        call(persistence, "m", run_id=f"r{number}", input_tokens=10, cost_usd=number)
    call(persistence, "m", run_id="of nobody", cost_usd=100)
    a, b = persistence.runs.totals(group_by=("agent", "day"), timezone="UTC", percentiles=True)
    assert (a.agent_id, a.period) == ("a", "2026-11-16")
    assert (a.runs, a.completed, a.errors, a.running) == (3, 1, 1, 1)
    assert (a.calls, a.input_tokens, a.cost_usd, a.unpriced) == (3, 30, Decimal(3), 0)
    assert (a.avg_duration_s, a.duration_p50_s) == (15.0, 15.0)
    assert (b.agent_id, b.runs, b.cost_usd) == ("b", 1, Decimal(3))
    by_status = {row.status: row.runs for row in persistence.runs.totals(group_by="status")}
    assert by_status == {"completed": 2, "error": 1, "running": 1}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": ("model", "model")}, "group_by"),
        ({"group_by": ("day", "week")}, "group_by"),
        ({"group_by": 5}, "group_by"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": 5}, "timezone"),
    ],
)
def test_unknown_groups_and_zones_are_refused(
    persistence: Persistence, given: dict[str, Any], field: str
) -> None:
    for totals in (persistence.usage.totals, persistence.runs.totals):
        with pytest.raises(InvalidValueError) as refusal:
            totals(**given)
        assert refusal.value.field == field


def test_runs_have_no_model(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="group_by"):
        persistence.runs.totals(group_by="model")


def test_totals_convert_to_frames(persistence: Persistence) -> None:
    call(persistence, "m", cost_usd=Decimal("0.25"), input_tokens=5)
    frame = persistence.usage.totals(group_by=("model", "day"), timezone="UTC").to_pandas()
    assert frame["model"].tolist() == ["m"]
    assert frame["period"].tolist() == ["2026-11-16"]
    assert frame["cost_usd"].tolist() == [0.25]


def test_statistics_of_a_window_and_of_a_session(persistence: Persistence) -> None:
    old, new = AgentRun("a", "old", session_id="s1"), AgentRun("a", "new", session_id="s2")
    for run, at in ((old, MONDAY), (new, MONDAY + timedelta(days=1))):
        run.created_at = at
        persistence.create_agent_run(run)
        call(persistence, "m", at, run_id=run.run_id, latency_ms=100 if run is old else 300)
        persistence.append_event(
            run.run_id, "a", "tool_call", timestamp=at, payload={"tool_name": run.run_id}
        )
    for filters, name in (
        ({"since": MONDAY + timedelta(hours=1)}, "new"),
        ({"until": MONDAY + timedelta(hours=1)}, "old"),
        ({"session_id": "s1"}, "old"),
    ):
        stats = persistence.get_agent_run_stats(**filters)
        assert (stats["total_runs"], stats["total_llm_calls"]) == (1, 1)
        assert list(stats["tool_metrics"]) == [name]
        assert stats["latency_percentiles"]["p50"] == (100 if name == "old" else 300)
    new.metadata = {"source": "codex", "project": "mill"}
    persistence.update_agent_run("new", new)
    for filters in ({"source": "codex"}, {"project": ("mill", "else")}):
        stats = persistence.stats.summary(**filters)
        assert (stats["total_runs"], stats["total_llm_calls"]) == (1, 1)
        assert list(stats["tool_metrics"]) == ["new"]
    both = persistence.get_agent_run_stats("a", since=MONDAY, session_id="s2")
    assert both["total_runs"] == 1
