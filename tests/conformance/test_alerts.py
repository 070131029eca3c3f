"""Rules of alerts fire once, are over once, and tell what they measured."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    Alert,
    AlertReport,
    AlertSink,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    Persistence,
    PersistenceError,
    UnsupportedError,
)
from curio_persistence.tables import ALERT_RULES
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def noon(clock: Hands) -> None:
    clock.put(NOON)


def run(
    persistence: Persistence, run_id: str, status: str = "completed", ago: float = 5, **fields: Any
) -> None:
    """Store a run that ended so many minutes ago."""
    ended = persistence.clock.now() - ago * MINUTE
    fields = {"created_at": ended - MINUTE, "started_at": ended - MINUTE, **fields}
    agent = fields.pop("agent_id", "agent")
    persistence.create_agent_run(
        AgentRun(agent, run_id, status=status, finished_at=ended, **fields)
    )


def call(
    persistence: Persistence, run_id: str | None = None, ago: float = 5, **fields: Any
) -> None:
    """Store a model call of so many minutes ago."""
    at = persistence.clock.now() - ago * MINUTE
    fields = {"agent_id": "agent", "model": "acme-1", **fields}
    persistence.log_llm_usage(AgentLLMUsage(run_id=run_id, created_at=at, **fields))


def event(persistence: Persistence, run_id: str, ago: float = 5, **fields: Any) -> None:
    at = persistence.clock.now() - ago * MINUTE
    fields = {"agent_id": "agent", "event_type": "log", **fields}
    persistence.log_agent_run_event(AgentRunEvent(run_id=run_id, timestamp=at, **fields))


def value_of(persistence: Persistence, condition: str, threshold: Any = 0.5, **rule: Any) -> Any:
    persistence.alerts.create("it", condition, threshold, **rule)
    value = persistence.alerts.test("it").value
    persistence.alerts.delete("it")
    return value


def fired(report: AlertReport) -> list[str]:
    return [alert.rule_id for alert in report.fired]


def resolved(report: AlertReport) -> list[str]:
    return [alert.rule_id for alert in report.resolved]


# --- values ---------------------------------------------------------------------------------------


def test_an_error_rate_is_the_share_of_failed_runs_among_those_that_ended_in_the_window(
    persistence: Persistence,
) -> None:
    assert value_of(persistence, "error_rate") is None
    run(persistence, "long", status="error", created_at=NOON - 90 * MINUTE)
    run(persistence, "slow", status="timeout")
    for number in range(6):
        run(persistence, f"good-{number}")
    run(persistence, "old", status="error", ago=16)
    persistence.create_agent_run(AgentRun("agent", "going", status="running"))
    assert value_of(persistence, "error_rate") == 0.25
    assert value_of(persistence, "error_rate", window="1h") == 3 / 9
    assert value_of(persistence, "error_rate", agent_id="other") is None


def test_of_a_model_the_error_rate_is_the_share_of_failed_calls(persistence: Persistence) -> None:
    call(persistence)
    call(persistence, status="error")
    call(persistence, status="error", model="acme-2")
    assert value_of(persistence, "error_rate", model="acme-1") == 0.5
    assert value_of(persistence, "error_rate", model="none") is None


def test_costs_tokens_and_latencies_are_those_of_model_calls(persistence: Persistence) -> None:
    assert value_of(persistence, "cost") == 0
    assert value_of(persistence, "token_count") == 0
    assert value_of(persistence, "latency") is None
    for latency, cost in ((100, "0.1"), (200, "0.2"), (900, None)):
        call(
            persistence,
            latency_ms=latency,
            cost_usd=None if cost is None else Decimal(cost),
            input_tokens=10,
            output_tokens=5,
        )
    call(persistence, ago=15.01, latency_ms=7, cost_usd=Decimal(5), input_tokens=1_000)
    assert value_of(persistence, "cost") == 0.3
    assert value_of(persistence, "token_count") == 45
    assert value_of(persistence, "latency") == 400
    assert value_of(persistence, "latency", aggregation="p50") == 200
    assert value_of(persistence, "latency", aggregation="p95") == 830


def test_an_unknown_cost_is_no_value(persistence: Persistence) -> None:
    call(persistence)
    assert value_of(persistence, "cost") is None
    persistence.alerts.create("costs", "cost", 0)
    assert fired(persistence.alerts.evaluate()) == []


def test_events_are_counted_from_the_begin_of_the_window_until_before_now(
    persistence: Persistence,
) -> None:
    for ago in (15.001, 15, 5, 0):
        event(persistence, "run", ago=ago)
    call(persistence)
    assert value_of(persistence, "event_count") == 2
    assert value_of(persistence, "event_count", model="acme-1") == 1


def test_a_metric_is_aggregated_as_in_queries(persistence: Persistence) -> None:
    for number in (1.0, 2.0, 6.0):
        event(persistence, "run", event_type="metric", data={"name": "loss", "value": number})
    assert value_of(persistence, "metric", metric="loss") == 3
    assert value_of(persistence, "metric", metric="loss", aggregation="max") == 6
    assert value_of(persistence, "metric", metric="loss", aggregation="p50") == 2
    assert value_of(persistence, "metric", -3, metric="gain") is None


SCOPES: list[dict[str, Any]] = [
    {"agent_id": "mine"},
    {"session_id": "mine"},
    {"user_id": "mine"},
    {"tags": "mine"},
    {"tags": ["mine", "none"]},
    {"agent_id": "mine", "user_id": "mine", "tags": ["mine"]},
]


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_a_scope_selects_records_of_every_kind(
    persistence: Persistence, scope: dict[str, Any]
) -> None:
    for whose in ("mine", "other"):
        tags = [whose, "all"]
        session, agent = {"session_id": whose}, {"agent_id": whose}
        status = "error" if whose == "mine" else "completed"
        run(persistence, whose, status=status, user_id=whose, tags=tags, **session, **agent)
        event(persistence, whose, **session, **agent)
        metric = {"name": "loss", "value": 3 if whose == "mine" else 5}
        event(persistence, whose, event_type="metric", data=metric, **session, **agent)
        call(persistence, whose, input_tokens=7, **agent)
    assert value_of(persistence, "error_rate", **scope) == 1
    assert value_of(persistence, "event_count", **scope) == 2
    assert value_of(persistence, "token_count", **scope) == 7
    assert value_of(persistence, "metric", metric="loss", **scope) == 3
    assert value_of(persistence, "silence", None, **scope) == 4


# --- firing ---------------------------------------------------------------------------------------


def test_a_breach_fires_once_and_is_over_once(persistence: Persistence, clock: Hands) -> None:
    alerts = persistence.alerts
    alerts.create("errors", "error_rate", 0.1, window="10m")
    assert alerts.evaluate() == AlertReport(NOON, rules=1)
    run(persistence, "bad", status="error", ago=0)
    clock.move(minutes=1)
    report = alerts.evaluate()
    [alert] = report.fired
    assert alert == alerts.history()[0]
    assert (alert.rule_id, alert.breach, alert.value, alert.threshold) == ("errors", 1, 1, 0.1)
    assert (alert.state, alert.triggered_at) == ("firing", NOON + MINUTE)
    assert alert.message == "Error rate 100.0% is above 10.0% in the last 10m"
    assert fired(alerts.evaluate()) == []
    run(persistence, "good", ago=0)
    clock.move(minutes=11)
    run(persistence, "better", ago=0.1)
    [ended] = alerts.evaluate().resolved
    assert (ended.state, ended.resolved_at) == ("resolved", NOON + 12 * MINUTE)
    assert ended.resolution == "Error rate 0.0% is at most 10.0% in the last 10m"
    assert alerts.evaluate() == AlertReport(NOON + 12 * MINUTE, rules=1)
    assert alerts.count() == 1


def test_silence_fires_when_nothing_came_and_is_over_when_something_did(
    persistence: Persistence, clock: Hands
) -> None:
    persistence.alerts.create("quiet", "silence", window="1h", agent_id="agent")
    event(persistence, "run", ago=1)
    assert fired(persistence.alerts.evaluate()) == []
    clock.move(minutes=61)
    [alert] = persistence.alerts.evaluate().fired
    assert alert.message == "Nothing came in the last 1h (agent agent)"
    call(persistence, ago=1)
    [alert] = persistence.alerts.evaluate().resolved
    assert alert.resolution == "Records come again (agent agent)"


def test_an_alert_without_a_value_is_over(persistence: Persistence, clock: Hands) -> None:
    persistence.alerts.create("slow", "latency", 100)
    call(persistence, latency_ms=101)
    assert fired(persistence.alerts.evaluate()) == ["slow"]
    clock.move(hours=1)
    [alert] = persistence.alerts.evaluate().resolved
    assert alert.resolution == "Average latency: nothing was measured in the last 15m"


def test_an_alert_goes_on_until_the_value_is_low_enough(
    persistence: Persistence, clock: Hands
) -> None:
    alerts = persistence.alerts
    alerts.create("costs", "cost", 10, resolve_below=4, window="10m")
    call(persistence, ago=0, cost_usd=Decimal(6))
    clock.move(minutes=5)
    call(persistence, ago=0, cost_usd=Decimal("4.5"))
    clock.move(minutes=1)
    assert fired(alerts.evaluate()) == ["costs"]
    clock.move(minutes=5)  # 4.5 dollars are left in the window.
    assert resolved(alerts.evaluate()) == []
    clock.move(minutes=5)
    [alert] = alerts.evaluate().resolved
    assert alert.resolution == "Cost $0.00 is at most $4.00 in the last 10m"


@pytest.mark.parametrize("cost", ["0.1", "0.3", "0.7", "1.1", "4.35"])
def test_a_value_that_is_the_threshold_is_not_above_it(persistence: Persistence, cost: str) -> None:
    persistence.alerts.create("costs", "cost", float(cost))
    call(persistence, cost_usd=Decimal(cost))
    assert fired(persistence.alerts.evaluate()) == []
    call(persistence, cost_usd=Decimal("0.000001"))
    assert fired(persistence.alerts.evaluate()) == ["costs"]


@pytest.mark.parametrize(
    ("threshold", "cost", "said"),
    [
        (0.8, "0.950868", "Cost $0.95 is above $0.80"),
        (5, "1234.5", "Cost $1,234.50 is above $5.00"),
        (0.0004, "0.00071", "Cost $0.0007 is above $0.0004"),
        (0, "0.003", "Cost $0.003 is above $0.00"),
        (5, "5.001", "Cost $5.001 is above $5.00"),
    ],
)
def test_a_cost_is_told_in_cents_unless_it_is_small(
    persistence: Persistence, threshold: float, cost: str, said: str
) -> None:
    persistence.alerts.create("costs", "cost", threshold)
    call(persistence, cost_usd=Decimal(cost))
    assert persistence.alerts.evaluate().fired[0].message == f"{said} in the last 15m"


def test_a_rule_cools_down_before_it_fires_again(persistence: Persistence, clock: Hands) -> None:
    alerts = persistence.alerts
    alerts.create("busy", "event_count", 0, window="1m", cooldown="30m")
    event(persistence, "run", ago=0.5)
    assert fired(alerts.evaluate()) == ["busy"]
    clock.move(minutes=10)
    assert resolved(alerts.evaluate()) == ["busy"]
    event(persistence, "run", ago=0.5)
    assert fired(alerts.evaluate()) == []
    clock.move(minutes=20)
    event(persistence, "run", ago=0.5)
    assert fired(alerts.evaluate()) == ["busy"]
    assert [alert.breach for alert in alerts.history()] == [2, 1]


def test_a_clock_that_was_set_back_neither_stops_nor_repeats_alerts(
    persistence: Persistence, clock: Hands
) -> None:
    alerts = persistence.alerts
    alerts.create("busy", "event_count", 0, cooldown="1h", sinks=[AlertSink.callable("note")])
    clock.put(NOON + timedelta(days=300))
    told: list[str] = []
    note = {"note": lambda given: told.append(given["told"])}
    event(persistence, "run")
    assert fired(alerts.evaluate(callables=note)) == ["busy"]
    clock.put(NOON)
    assert resolved(alerts.evaluate(callables=note)) == ["busy"]
    event(persistence, "run")
    assert fired(alerts.evaluate(callables=note)) == ["busy"]
    assert told == ["fired", "resolved", "fired"]
    [_, late] = sorted(alerts.history(), key=lambda alert: alert.triggered_at)
    assert late.resolved_at == late.triggered_at


def test_an_evaluator_that_was_suspended_measures_the_present(
    persistence: Persistence, clock: Hands
) -> None:
    persistence.alerts.create("busy", "event_count", 0, window="1m")
    event(persistence, "run", ago=0.5)
    clock.meanwhile(lambda: clock.move(hours=1), before_reading=2)
    assert fired(persistence.alerts.evaluate()) == []


def test_an_evaluation_can_be_as_of_another_time(persistence: Persistence) -> None:
    persistence.alerts.create("busy", "event_count", 0)
    event(persistence, "run", ago=60)
    assert fired(persistence.alerts.evaluate()) == []
    [alert] = persistence.alerts.evaluate(NOON - 50 * MINUTE).fired
    assert alert.triggered_at == NOON - 50 * MINUTE


def test_disabled_rules_are_not_evaluated_and_their_alert_ends(persistence: Persistence) -> None:
    alerts = persistence.alerts
    alerts.create("busy", "event_count", 0, enabled=False, sinks=[AlertSink.log()])
    event(persistence, "run")
    assert alerts.evaluate() == AlertReport(NOON)
    alerts.update("busy", enabled=True)
    assert fired(alerts.evaluate()) == ["busy"]
    alerts.update("busy", threshold=0.5)
    assert alerts.count(state="firing") == 1
    assert alerts.update("busy", enabled=False).enabled is False
    assert alerts.count(state="firing") == 0
    assert len(alerts.history()[0].deliveries) == 1


def test_the_history_of_a_deleted_rule_stays_and_a_new_one_goes_on_counting(
    persistence: Persistence,
) -> None:
    alerts = persistence.alerts
    event(persistence, "run")
    for _ in range(2):
        alerts.create("busy", "event_count", 0)
        alerts.evaluate()
        assert alerts.delete("busy") is True
    assert alerts.delete("busy") is False
    assert [(a.breach, a.state) for a in alerts.history()] == [(2, "resolved"), (1, "resolved")]


def test_a_rule_that_fails_stops_no_other(persistence: Persistence) -> None:
    alerts = persistence.alerts
    alerts.create("broken", "metric", 1, metric="loss")
    alerts.create("busy", "event_count", 0)
    where = ALERT_RULES.where(rule_id="broken")
    persistence._store.update(ALERT_RULES, where, {"aggregation": "mode"})
    event(persistence, "run")
    report = alerts.evaluate()
    assert fired(report) == ["busy"]
    assert "'mode'" in report.failed["broken"]
    assert report.rules == 2


def test_a_rule_that_cannot_be_measured_stands_in_the_history_once(
    persistence: Persistence, clock: Hands
) -> None:
    alerts = persistence.alerts
    alerts.create("loss", "metric", 1, metric="loss", aggregation="max", window="1h", cooldown="2h")
    persistence.append_event("run", "agent", "metric", payload={"name": "loss", "value": 5})
    clock.move(seconds=1)
    assert fired(alerts.evaluate()) == ["loss"]
    where = ALERT_RULES.where(rule_id="loss")
    persistence._store.update(ALERT_RULES, where, {"aggregation": "mode"})
    for _ in range(3):
        clock.move(minutes=1)
        assert "'mode'" in alerts.evaluate().failed["loss"]
    failing, firing = alerts.history()
    assert (failing.state, failing.rule_id, failing.value) == ("failing", "loss", None)
    assert failing.error == "InvalidValueError"
    assert failing.message.startswith("Not measured: ")
    assert "'mode'" in failing.message
    assert failing.triggered_at == NOON + timedelta(seconds=61)
    assert failing.deliveries == []
    assert firing.state == "firing"
    assert list(alerts.history(state="failing")) == [failing]
    assert list(alerts.history(state="firing")) == [firing]
    health = alerts.check()
    assert health.level == "warning"
    assert "1 firing; 1 could not be measured" in health.message
    persistence._store.update(ALERT_RULES, where, {"aggregation": "max"})
    clock.move(hours=1)
    assert alerts.evaluate().failed == {}
    assert [(a.state, a.resolution) for a in alerts.history()] == [
        ("resolved", "Measured again"),
        ("resolved", "max of loss: nothing was measured in the last 1h"),
    ]
    assert alerts.check().level == "ok"
    persistence.append_event("run", "agent", "metric", payload={"name": "loss", "value": 5})
    clock.move(seconds=1)
    assert fired(alerts.evaluate()) == [], "it cools down from when it fired, not from a failure"
    persistence._store.update(ALERT_RULES, where, {"aggregation": "mode"})
    alerts.evaluate()
    assert [(a.breach, a.state) for a in alerts.history()][:2] == [(3, "failing"), (2, "resolved")]
    assert alerts.delete("loss")
    assert alerts.count(state="failing") == 0
    clock.move(days=9)
    assert alerts.expire("1d") == 2
    assert [a.breach for a in alerts.history()] == [1]


def test_of_many_evaluators_one_fires_one_resolves_and_one_tells(
    open_again: Callable[[], Persistence], clock: Hands
) -> None:
    persistence, told, begin = open_again(), [], threading.Barrier(8)
    sinks = [AlertSink.callable("note")]
    for number in range(3):
        persistence.alerts.create(f"busy-{number}", "event_count", 0, sinks=sinks)
    event(persistence, "run")
    note = {"note": lambda given: told.append((given["rule_id"], given["told"]))}

    def evaluate(_: int) -> AlertReport:
        begin.wait()
        return persistence.alerts.evaluate(callables=note)

    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(evaluate, range(8)))
        assert sum(len(report.fired) for report in reports) == 3
        clock.move(hours=1)
        reports = list(pool.map(evaluate, range(8)))
        assert sum(len(report.resolved) for report in reports) == 3
    clock.move(hours=1)
    persistence.alerts.evaluate(callables=note)
    assert sorted(told) == [(f"busy-{n}", what) for n in range(3) for what in ("fired", "resolved")]
    assert persistence.alerts.count() == 3


# --- rules ----------------------------------------------------------------------------------------


def test_rules_are_stored_changed_and_listed_as_they_were_made(persistence: Persistence) -> None:
    alerts = persistence.alerts
    rule = alerts.create(
        "slow",
        "latency",
        2_000,
        name="Slow model",
        window=timedelta(minutes=5),
        aggregation="p95",
        resolve_below=1_500,
        cooldown="1h",
        tags=["prod", "eu"],
        model="acme-1",
        sinks=[AlertSink.log(), AlertSink.command(["true"]), AlertSink.log()],
        metadata={"team": "a"},
    )
    assert (rule.window_seconds, rule.cooldown_seconds, rule.enabled) == (300, 3_600, True)
    assert (rule.tags, rule.metadata) == (["prod", "eu"], '{"team": "a"}')
    assert [sink.name for sink in rule.sinks] == ["log", "command", "log-2"]
    assert (rule.created_at, rule.updated_at) == (NOON, NOON)
    assert alerts.get("slow") == rule
    other = alerts.create("costs", "cost", 5)
    assert alerts.list() == [rule, other]
    changed = alerts.update("slow", threshold=3_000, model=None)
    assert (changed.threshold, changed.model, changed.name) == (3_000, None, "Slow model")
    assert alerts.update("slow") == changed
    assert alerts.get("none") is None
    with pytest.raises(ConflictError, match="'costs'"):
        alerts.create("costs", "cost", 6)
    with pytest.raises(NotFoundError, match="Alert rule not found: none"):
        alerts.update("none", threshold=1)
    with pytest.raises(NotFoundError, match="Alert rule not found: none"):
        alerts.test("none")
    assert alerts.get("costs") == other


def test_changes_of_rules_are_in_the_audit_log(persistence: Persistence) -> None:
    hook = AlertSink.webhook("https://example.com/secret-path", secret_env="KEY")
    persistence.alerts.create("costs", "cost", 5, sinks=[hook])
    persistence.alerts.update("costs", threshold=6)
    persistence.alerts.delete("costs")
    lines = list(persistence.audit.query(order="oldest"))
    assert [(line.action, line.resource_type, line.resource) for line in lines] == [
        (action, "alert rule", "costs") for action in ("create", "update", "delete")
    ]
    assert "example.com" in str(lines[0].metadata)
    assert "secret-path" not in str(lines)


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown condition": ({"condition": "mood"}, "condition", "is one of error_rate, cost"),
    "no threshold": ({"threshold": None}, "threshold", "is required"),
    "a negative threshold": ({"threshold": -1}, "threshold", "may not be negative"),
    "a threshold that is no number": ({"threshold": "5"}, "AlertRule.threshold", "number"),
    "a threshold without end": ({"threshold": float("inf")}, "AlertRule.threshold", "finite"),
    "a rate in percent": (
        {"condition": "error_rate", "threshold": 10},
        "threshold",
        "0.1 for 10 %",
    ),
    "a window of 0": ({"window": "0m"}, "window", "of a second or more"),
    "a negative window": ({"window": timedelta(-1)}, "window", "not negative"),
    "a window in words": ({"window": "an hour"}, "window", "text such as"),
    "half a second": ({"window": timedelta(seconds=1.5)}, "window", "whole seconds"),
    "resolving above the threshold": ({"resolve_below": 6}, "resolve_below", "at most the thres"),
    "never resolving": ({"resolve_below": -1}, "resolve_below", "would never be over"),
    "a threshold of a silence": ({"condition": "silence"}, "threshold", "is not for a silence"),
    "a metric of a cost": ({"metric": "loss"}, "metric", "condition 'metric'"),
    "a metric without a name": ({"condition": "metric"}, "metric", "the name of a metric"),
    "the mode of a latency": (
        {"condition": "latency", "aggregation": "mode"},
        "aggregation",
        "avg, p50, p95, p99",
    ),
    "the mode of a metric": (
        {"condition": "metric", "metric": "loss", "aggregation": "mode"},
        "aggregation",
        "'p0' to 'p100'",
    ),
    "a percentile of a cost": ({"aggregation": "p95"}, "aggregation", "not for cost"),
    "a metric of a model": (
        {"condition": "metric", "metric": "loss", "model": "acme-1"},
        "model",
        "leave it out",
    ),
    "a sink in words": ({"sinks": ["log"]}, "AlertRule.sinks", "AlertSink.log()"),
    "one sink": ({"sinks": AlertSink.log()}, "AlertRule.sinks", "must be some AlertSinks"),
    "an empty id": ({"rule_id": ""}, "AlertRule.rule_id", "empty"),
    "an id with a NUL": ({"rule_id": "a\0"}, "AlertRule.rule_id", "NUL"),
    "enabled by a word": ({"enabled": "yes"}, "AlertRule.enabled", "True or False"),
    "an agent that is a number": ({"agent_id": 7}, "AlertRule.agent_id", "text"),
    "a webhook to metadata": (
        {"sinks": [AlertSink.webhook("http://169.254.169.254/latest")]},
        "AlertSink.url",
        "169.254.169.254, which is not an address of the public internet",
    ),
}


@pytest.mark.before_io
@pytest.mark.parametrize("name", BAD)
def test_a_rule_that_cannot_be_meant_is_refused(persistence: Persistence, name: str) -> None:
    given, field, said = BAD[name]
    rule = {"rule_id": "it", "condition": "cost", "threshold": 5, **given}
    with pytest.raises(InvalidValueError) as refused:
        persistence.alerts.create(**rule)
    assert refused.value.field == field
    assert said in str(refused.value)
    assert persistence.alerts.list() == []


@pytest.mark.before_io
def test_what_is_unknown_or_of_a_wrong_type_is_refused(persistence: Persistence) -> None:
    alerts: Any = persistence.alerts
    with pytest.raises(TypeError, match="'severity' is not a filter here"):
        alerts.create("it", "cost", 5, severity="high")
    for wrong in (
        lambda: alerts.get(7),
        lambda: alerts.history(state="open"),
        lambda: alerts.evaluate("now"),
        lambda: alerts.evaluate(callables=[print]),
        lambda: alerts.run_forever(every=0),
        lambda: alerts.run_forever(every="0s"),
        lambda: alerts.run_forever(every=True),
    ):
        with pytest.raises(InvalidValueError):
            wrong()


def test_alerts_are_not_evaluated_inside_a_transaction(persistence: Persistence) -> None:
    persistence.alerts.create("busy", "event_count", 0)
    with persistence.transaction():
        with pytest.raises(UnsupportedError, match=r"alerts.evaluate\(\)"):
            persistence.alerts.evaluate()
        with pytest.raises(UnsupportedError, match=r"alerts.test\(\)"):
            persistence.alerts.test("busy")


# --- history --------------------------------------------------------------------------------------


def test_the_history_is_filtered_and_paged(persistence: Persistence, clock: Hands) -> None:
    alerts = persistence.alerts
    alerts.create("busy", "event_count", 0, window="1m")
    alerts.create("quiet", "silence", window="1m")
    for _ in range(3):
        event(persistence, "run", ago=0.5)
        alerts.evaluate()
        clock.move(minutes=10)
        alerts.evaluate()
        clock.move(minutes=10)
    alerts.evaluate()
    assert alerts.count() == 6
    assert alerts.count(rule_id="busy") == alerts.count(state="resolved", rule_id="busy") == 3
    [quiet] = alerts.history(state="firing")
    assert quiet.rule_id == "quiet"
    assert alerts.history(alert_id=quiet.alert_id)[0] == quiet
    assert len(alerts.history(since=NOON + 15 * MINUTE, until=NOON + 25 * MINUTE)) == 1
    page = alerts.history(limit=4)
    rest = alerts.history(limit=4, cursor=page.next_cursor)
    assert [*page, *rest] == list(alerts.history())
    assert [*alerts.history(order="oldest")] == list(alerts.history())[::-1]
    assert page.to_dicts()[0]["deliveries"] == []


def test_old_alerts_expire_but_the_newest_of_a_rule_stays(
    persistence: Persistence, clock: Hands
) -> None:
    alerts = persistence.alerts
    alerts.create("busy", "event_count", 0)
    for _ in range(3):
        event(persistence, "run", ago=0)
        clock.move(minutes=1)
        assert fired(alerts.evaluate()) == ["busy"]
        clock.move(hours=1)
        assert resolved(alerts.evaluate()) == ["busy"]
    assert alerts.expire("1d") == alerts.expire(timedelta(days=999_999_999)) == 0
    clock.move(days=1)
    assert alerts.expire("1d") == 2
    assert [alert.breach for alert in alerts.history()] == [3]
    assert alerts.expire("0s") == 0
    [line] = persistence.audit.query(action="expire")
    assert (line.resource_type, line.get_metadata_dict()["alerts"]) == ("alerts", 2)


def test_the_health_check_tells_of_alerts(persistence: Persistence, clock: Hands) -> None:
    def check() -> tuple[str, str]:
        [found] = [each for each in persistence.diagnose() if each.name == "alerts"]
        return found.level, found.message

    assert check() == ("ok", "there are no rules")
    persistence.alerts.create("busy", "event_count", 0, sinks=[AlertSink.callable("page")])
    event(persistence, "run")
    persistence.alerts.evaluate()
    assert check() == ("ok", "1 rule, 1 firing")
    clock.move(hours=1)
    assert check()[0] == "warning"


def test_alerts_of_other_programs_are_stored_with_their_ids(persistence: Persistence) -> None:
    alerts = persistence.alerts
    given = Alert("01HXY", "theirs", 7, "theirs", "Cost $ 5", 1.0, 5.0, NOON, metadata={"a": 1})
    stored = alerts.append(given)
    assert (stored.alert_id, stored.breach, stored.metadata) == ("01HXY", 1, '{"a": 1}')
    assert [*alerts.history()] == [stored]
    with pytest.raises(ConflictError):
        alerts.append(given)
    assert alerts.count() == 1


# --- rounds ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rounds_go_on_after_a_failure_until_they_are_stopped(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts, stop, outcomes = persistence.alerts, threading.Event(), []
    evaluate = alerts.evaluate
    failures = [PersistenceError("away"), None]

    def sometimes(**arguments: Any) -> AlertReport:
        if (error := failures.pop(0)) is not None:
            raise error
        return evaluate(**arguments)

    def on_round(outcome: Any) -> None:
        outcomes.append(outcome)
        if not failures:
            stop.set()

    monkeypatch.setattr(alerts, "evaluate", sometimes)
    alerts.run_forever(1, stop=stop, on_round=on_round)
    assert str(outcomes[0]) == "away"
    assert isinstance(outcomes[1], AlertReport)
