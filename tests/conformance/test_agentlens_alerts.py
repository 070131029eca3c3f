"""AgentLens' alerts: rules, their history, and the engine that evaluates them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest

from curio_persistence import ConflictError, InvalidValueError, NotFoundError, Persistence
from curio_persistence.capabilities.alerts import webhooks
from curio_persistence.compat.agentlens import AlertEngine, AlertHistory, AlertRule, EventStore
from tests.support.hands import Hands
from tests.support.lens import append, at, event
from tests.support.threads import all_at_once

RULE: dict[str, Any] = {
    "id": "r",
    "name": "Rule",
    "enabled": True,
    "condition": "error_rate_exceeds",
    "threshold": 0.1,
    "windowMinutes": 60,
    "scope": {"agentId": "a", "custom_key": 1},
    "notifyChannels": ["slack", "https://example.com/hook?token=secret", "https://example.com/b"],
    "createdAt": "2026-02-01T00:00:00Z",
    "updatedAt": "2026-02-01T00:00:00Z",
}


@pytest.fixture
def lens(persistence: Persistence, clock: Hands) -> EventStore:
    clock.put(datetime(2026, 2, 7, 11, 0, tzinfo=UTC))
    return EventStore(persistence)


# --- rules --------------------------------------------------------------------------------------


def test_a_rule_comes_back_as_it_was_given(lens: EventStore) -> None:
    lens.create_alert_rule(RULE)
    assert lens.get_alert_rule("r") == AlertRule.from_dict(RULE)
    assert lens.list_alert_rules() == [AlertRule.from_dict(RULE)]
    with pytest.raises(ConflictError):
        lens.create_alert_rule(AlertRule.from_dict(RULE))


def test_rules_are_listed_by_when_they_were_created(lens: EventStore) -> None:
    for name, created in ("late", at(5)), ("early", at(1)), ("middle", at(3)):
        lens.create_alert_rule({**RULE, "id": name, "createdAt": created})
    assert [rule.id for rule in lens.list_alert_rules()] == ["early", "middle", "late"]
    lens.create_alert_rule(AlertRule("bare", "Bare", True, "cost_exceeds", 1, 5))
    smallest = {k: RULE[k] for k in ("id", "name", "condition", "threshold", "windowMinutes")}
    lens.create_alert_rule(smallest)
    rule = lens.get_alert_rule("r")
    assert rule is not None
    assert (rule.enabled, rule.scope, rule.notify_channels) == (True, {}, [])
    assert rule.created_at == "2026-02-07T11:00:00.000Z"


def test_the_given_fields_of_a_rule_are_changed(lens: EventStore) -> None:
    lens.create_alert_rule(RULE)
    lens.update_alert_rule("r", {})
    assert lens.get_alert_rule("r") == AlertRule.from_dict(RULE)
    lens.update_alert_rule("r", {"threshold": 0.5, "notify_channels": [], "enabled": False})
    changed = lens.get_alert_rule("r")
    assert changed is not None
    assert changed.to_dict() == {
        **RULE,
        "threshold": 0.5,
        "notifyChannels": [],
        "enabled": False,
        "updatedAt": "2026-02-07T11:00:00.000Z",
    }
    lens.update_alert_rule("r", {"updatedAt": at(1)})
    with pytest.raises(NotFoundError, match=r"^Alert rule not found: x$"):
        lens.update_alert_rule("x", {})
    with pytest.raises(InvalidValueError, match="threshold"):
        lens.update_alert_rule("r", {"threshold": -1})


def test_the_history_of_a_deleted_rule_stays(lens: EventStore) -> None:
    lens.create_alert_rule(RULE)
    lens.insert_alert_history(_entry("one"))
    lens.delete_alert_rule("r")
    assert lens.get_alert_rule("r") is None
    assert [entry.id for entry in lens.list_alert_history().entries] == ["one"]
    with pytest.raises(NotFoundError, match=r"^Alert rule not found: r$"):
        lens.delete_alert_rule("r")


@pytest.mark.parametrize(
    "changes",
    [
        {"condition": "moon_is_full"},
        {"threshold": -1},
        {"threshold": float("nan")},
        {"threshold": "much"},
        {"windowMinutes": 0},
        {"windowMinutes": -5},
        {"windowMinutes": 10**9},
        {"id": ""},
        {"enabled": 1},
        {"notifyChannels": "slack"},
        {"createdAt": "soon"},
        {"name": None},
    ],
)
@pytest.mark.before_io
def test_a_rule_that_cannot_be_evaluated_is_refused(
    lens: EventStore, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError, match="AlertRule"):
        lens.create_alert_rule({**RULE, **changes})
    assert lens.list_alert_rules() == []


def _entry(ident: str, triggered_at: str = "2026-02-07T10:00:00Z", rule: str = "r") -> AlertHistory:
    return AlertHistory(ident, rule, triggered_at, 0.5, 0.1, "Error rate 50.0%")


def test_the_history_is_listed_newest_first(lens: EventStore) -> None:
    entries = [_entry("a", at(1)), _entry("b", at(3)), _entry("c", at(2), "other")]
    for entry in entries:
        lens.insert_alert_history(entry)
    lens.insert_alert_history(
        {**_entry("d", at(0)).to_dict(), "resolvedAt": "2026-02-07T11:00:00Z"}
    )
    found = lens.list_alert_history()
    assert [entry.id for entry in found.entries] == ["b", "c", "a", "d"]
    assert (found.entries[0], found.total) == (entries[1], 4)
    assert found.entries[3].resolved_at == "2026-02-07T11:00:00Z"
    mine = lens.list_alert_history(rule_id="r", limit=1, offset=1)
    assert ([entry.id for entry in mine.entries], mine.total) == (["a"], 3)
    assert lens.list_alert_history({"ruleId": "r", "limit": 1, "offset": 1}) == mine
    with pytest.raises(ConflictError):
        lens.insert_alert_history(entries[0])
    with pytest.raises(ValueError, match="limit"):
        lens.list_alert_history(limit=-1)


def test_rules_and_history_are_in_our_tables(lens: EventStore) -> None:
    lens.create_alert_rule(RULE)
    lens.insert_alert_history(_entry("one"))
    [rule] = lens.persistence.alerts.list()
    assert (rule.rule_id, rule.condition, rule.agent_id) == ("r", "error_rate_exceeds", "a")
    assert "secret" not in json.dumps(rule.to_dict())
    assert [alert.alert_id for alert in lens.persistence.alerts.history()] == ["one"]
    report = lens.persistence.alerts.evaluate()
    assert (report.fired, report.resolved, report.failed) == ([], [], {})


# --- the engine ---------------------------------------------------------------------------------


@pytest.fixture
def failing(lens: EventStore) -> EventStore:
    """A store in which two of eleven events are errors, and one more is a metric."""
    append(lens, *(event(minute=30) for _ in range(9)))
    append(lens, event(minute=31, severity="error"), event("tool_error", minute=32))
    append(lens, event(minute=33, severity="error", metadata={"source": "otlp_metric"}))
    return lens


def _fired(lens: EventStore, **changes: Any) -> list[str]:
    """Return the messages of a new rule that is evaluated once."""
    for rule in lens.list_alert_rules():
        lens.delete_alert_rule(rule.id)
    name = f"r{len(lens.persistence.audit.query(limit=None))}"
    lens.create_alert_rule({**RULE, "id": name, "scope": {}, "notifyChannels": [], **changes})
    return [entry.message for entry in AlertEngine(lens).evaluate()]


def test_each_condition_fires_above_its_threshold(failing: EventStore) -> None:
    append(
        failing,
        event("tool_response", {"durationMs": 1_500}, session_id="t", agent_id="b", minute=40),
        event("llm_response", {"costUsd": 0.5}, session_id="t", agent_id="b", minute=40),
    )
    a = {"scope": {"agentId": "a"}}
    assert _fired(failing, **a) == ["Error rate 18.2% exceeds threshold 10.0% in the last 60m"]
    assert _fired(failing, threshold=2 / 11, **a) == []
    assert _fired(failing, scope={"agentId": "nobody"}) == []
    cost = {"condition": "cost_exceeds"}
    assert _fired(failing, **cost, threshold=0.25) == [
        "Cost $0.5000 exceeds threshold $0.2500 in the last 60m"
    ]
    assert _fired(failing, **cost, threshold=0.5) == []
    latency = {"condition": "latency_exceeds", "threshold": 1_000}
    assert _fired(failing, **latency) == [
        "Average latency 1500ms exceeds threshold 1000ms in the last 60m"
    ]
    count = {"condition": "event_count_exceeds"}
    assert _fired(failing, **count, threshold=12) == [
        "Event count 13 exceeds threshold 12 in the last 60m"
    ]
    assert _fired(failing, **count, threshold=13) == []
    silence = {"condition": "no_events_for", "threshold": 0}
    assert _fired(failing, **silence) == []
    assert _fired(failing, **silence, windowMinutes=5) == ["No events received in the last 5m"]
    assert _fired(failing, **silence, scope={"agentId": "nobody"}) != []


def test_a_window_includes_both_of_its_ends(lens: EventStore) -> None:
    append(lens, event(minute=0), event(minute=60), event(minute=59.5))
    count = {"condition": "event_count_exceeds", "threshold": 2}
    assert _fired(lens, **count) != []
    assert _fired(lens, **count, windowMinutes=59) == []


def test_tags_choose_sessions(lens: EventStore) -> None:
    append(lens, event("session_started", {"tags": ["x", "y"]}, minute=50), event(minute=50))
    append(lens, event(session_id="t", minute=50))
    count = {"condition": "event_count_exceeds"}
    assert _fired(lens, **count, threshold=1, scope={"tags": ["x", "z"]}) != []
    assert _fired(lens, **count, threshold=2, scope={"tags": ["x"]}) == []
    assert _fired(lens, **count, threshold=0, scope={"tags": ["z"]}) == []
    assert _fired(lens, **count, threshold=2, scope={"tags": []}) != []


def test_disabled_rules_do_not_fire(failing: EventStore) -> None:
    assert _fired(failing, enabled=False) == []


def test_a_rule_does_not_fire_again_within_its_window(failing: EventStore, clock: Hands) -> None:
    failing.create_alert_rule({**RULE, "scope": {}, "notifyChannels": [], "windowMinutes": 120})
    told: list[tuple[AlertRule, AlertHistory]] = []
    engine = AlertEngine(failing, on_triggered=lambda rule, entry: told.append((rule, entry)))
    [entry] = engine.evaluate()
    assert (entry.rule_id, entry.current_value, entry.threshold) == ("r", 2 / 11, 0.1)
    assert entry.triggered_at == "2026-02-07T11:00:00.000Z"
    assert failing.list_alert_history("r").entries == [entry]
    assert [(rule.id, each) for rule, each in told] == [("r", entry)]
    clock.move(minutes=30)
    assert engine.evaluate() == AlertEngine(failing).evaluate() == []
    clock.move(minutes=90)
    append(failing, event(timestamp="2026-02-07T12:50:00Z", severity="error"))
    assert len(engine.evaluate()) == 1
    assert failing.list_alert_history("r").total == 2


def test_one_of_several_engines_fires(failing: EventStore) -> None:
    failing.create_alert_rule({**RULE, "scope": {}, "notifyChannels": []})
    fired: list[AlertHistory] = []
    all_at_once(*[lambda: fired.extend(AlertEngine(failing).evaluate())] * 4)
    assert len(fired) == failing.list_alert_history().total == 1


def test_a_rule_that_fails_stops_no_other(
    failing: EventStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "one", "two", "three":
        failing.create_alert_rule({**RULE, "id": name, "scope": {}, "notifyChannels": []})
    measure = failing._sums

    def fail_once(rule: AlertRule, now: datetime) -> Any:
        if rule.id == "one":
            raise RuntimeError("broken")
        return measure(rule, now)

    monkeypatch.setattr(failing, "_sums", fail_once)
    engine = AlertEngine(failing, on_triggered=lambda rule, entry: 1 / 0)
    with caplog.at_level(logging.WARNING):
        assert [entry.rule_id for entry in engine.evaluate()] == ["two", "three"]
    assert len(caplog.records) == 3


def test_channels_are_told_over_http_but_not_inwards(
    failing: EventStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    post = webhooks.post

    def note(url: str, body: dict[str, Any], **settings: Any) -> None:
        if "127.0.0.1" in url or "localhost" in url or "169.254" in url:
            post(url, body, **settings)
        assert settings["allow_private"] is False
        sent.append((url, body))

    monkeypatch.setattr(webhooks, "post", note)
    inner = ["http://127.0.0.1:9/secret", "http://localhost/", "http://169.254.169.254/latest"]
    channels = [*inner, "ops@example.com", "https://example.com/hook"]
    failing.create_alert_rule({**RULE, "notifyChannels": channels})
    with caplog.at_level(logging.WARNING):
        [entry] = AlertEngine(failing).evaluate()
    assert [url for url, _ in sent] == ["https://example.com/hook"]
    assert sent[0][1] == {
        "alertRuleId": "r",
        "alertName": "Rule",
        "condition": "error_rate_exceeds",
        "currentValue": 2 / 11,
        "threshold": 0.1,
        "message": entry.message,
        "triggeredAt": entry.triggered_at,
        "windowMinutes": 60,
        "scope": RULE["scope"],
    }
    assert len(caplog.records) == 3
    assert "secret" not in caplog.text


def test_an_engine_evaluates_in_a_thread_until_it_is_stopped(failing: EventStore) -> None:
    failing.create_alert_rule({**RULE, "scope": {}, "notifyChannels": []})
    fired = Event()
    engine = AlertEngine(failing, 20, on_triggered=lambda rule, entry: fired.set())
    engine.start()
    engine.start()
    assert fired.wait(20)
    engine.stop()
    engine.stop()
    assert failing.list_alert_history().total == 1


@pytest.mark.before_io
def test_the_interval_is_given_or_of_the_environment(
    lens: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERT_CHECK_INTERVAL_MS", raising=False)
    assert AlertEngine(lens).check_interval_ms == 60_000
    monkeypatch.setenv("ALERT_CHECK_INTERVAL_MS", "5000")
    assert AlertEngine(lens).check_interval_ms == 5_000
    assert AlertEngine(lens, 250).check_interval_ms == 250
    monkeypatch.setenv("ALERT_CHECK_INTERVAL_MS", "often")
    assert AlertEngine(lens).check_interval_ms == 60_000
    with pytest.raises(ValueError, match="check_interval_ms"):
        AlertEngine(lens, 0)
