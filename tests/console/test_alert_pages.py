"""Alerts and health: what they show, and what may be changed by whom."""

from __future__ import annotations

from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AlertSink,
    ConflictError,
    InMemoryPersistence,
    Persistence,
    RetentionPolicy,
    SQLitePersistence,
)
from curio_persistence.clock import Clock
from curio_persistence.console.http.paths import Paths
from tests.support.console import NOW, client_of

HOSTILE = "<script>alert(1)</script>\u202e a/b"


def writer_of(persistence: Persistence) -> TestClient:
    """Return a client that may change something, as a page of the console does."""
    client = client_of(persistence, allow_writes=True)
    client.headers["Sec-Fetch-Site"] = "same-origin"
    return client


@pytest.fixture
def alerted(persistence: Persistence) -> Persistence:
    """Rules that fire, do not fire and are disabled, evaluated once."""
    persistence.create_agent_run(AgentRun("guide", "r1"))
    persistence.log_llm_usage(AgentLLMUsage("guide", "r1", cost_usd=5))
    alerts = persistence.alerts
    alerts.create("costs", "cost", 1, window="1h", agent_id="guide", sinks=[AlertSink.log()])
    alerts.create("quiet", "silence", window="1h")
    alerts.create("slow", "latency", 2000, enabled=False)
    alerts.evaluate()
    return persistence


def test_rules_are_shown_with_their_states_and_history(alerted: Persistence) -> None:
    page = client_of(alerted).get("/alerts").text
    for words in (
        "firing",
        "disabled",
        "cost &gt; 1 in 1h",
        "agent guide",
        "nobody",
        "avg latency",
    ):
        assert words in page
    assert "Cost $5.00 is above $1.00 in the last 1h (agent guide)" in page
    assert "log, fired" in page.replace("</span>", "").replace('<span dir="auto">', "")


def test_the_history_is_filtered(alerted: Persistence) -> None:
    client = client_of(alerted)
    assert "No alert passes the filters" in client.get("/alerts?state=resolved").text
    assert "Cost $5.00" in client.get("/alerts?rule_id=costs&state=firing").text
    refused = client.get("/alerts?state=odd")
    assert (refused.status_code, "state is firing" in refused.text) == (400, True)


def test_without_rules_it_says_how_to_make_one(persistence: Persistence) -> None:
    page = client_of(persistence).get("/alerts").text
    assert "No rules yet" in page
    assert "curio-persistence alerts add" in page
    assert "<form method=" not in page.partition("<main")[2]


def test_a_rule_is_made_disabled_and_enabled_where_writes_are_allowed(
    persistence: Persistence,
) -> None:
    client = writer_of(persistence)
    form = {"rule_id": HOSTILE, "condition": "cost", "threshold": "5", "window": "1h", "log": "1"}
    made = client.post("/alerts", data=form | {"tags": "prod", "agent_id": ""})
    assert made.status_code == 200  # The list, after a redirect.
    assert HOSTILE.partition("\u202e")[0] not in made.text
    [rule] = persistence.alerts.list()
    assert (rule.rule_id, rule.threshold, rule.window_seconds) == (HOSTILE, 5, 3600)
    assert (rule.tags, rule.agent_id, [sink.name for sink in rule.sinks]) == (
        ["prod"],
        None,
        ["log"],
    )
    for action, enabled in (("disable", False), ("enable", True)):
        client.post(Paths().record("alerts", HOSTILE, action))
        [rule] = persistence.alerts.list()
        assert rule.enabled is enabled


def test_a_form_that_is_wrong_is_shown_again_with_what_to_do(persistence: Persistence) -> None:
    client = writer_of(persistence)
    wrong = (
        ({"rule_id": "r", "condition": "cost", "threshold": "much"}, "threshold is a number"),
        ({"rule_id": "r", "condition": "cost"}, "threshold is required"),
        ({"rule_id": "r", "condition": "luck", "threshold": "1"}, "condition is one of"),
        ({"rule_id": "", "condition": "silence"}, "rule_id"),
        ({"rule_id": "r", "condition": "cost", "threshold": "1", "webhook": "ftp://x"}, "url"),
    )
    for form, said in wrong:
        page = client.post("/alerts", data=form)
        assert (page.status_code, said in page.text) == (400, True), form
        assert f'value="{form["rule_id"]}"' in page.text
    persistence.alerts.create("r", "silence", window="1h")
    assert "already" in client.post("/alerts", data={"rule_id": "r", "condition": "silence"}).text
    with pytest.raises(ConflictError):
        persistence.alerts.create("r", "silence", window="1h")


def test_readers_change_nothing(alerted: Persistence) -> None:
    client = client_of(alerted)
    client.headers["Sec-Fetch-Site"] = "same-origin"
    for path in ("/alerts", "/alerts/costs/disable", "/alerts/slow/enable"):
        assert client.post(path, data={"rule_id": "x", "condition": "silence"}).status_code == 403
    assert [rule.enabled for rule in alerted.alerts.list()] == [True, True, False]
    gone = writer_of(alerted).post("/alerts/none/enable")
    assert gone.status_code == 404


# --- health -----------------------------------------------------------------------------------


def test_health_shows_checks_sizes_and_policies(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("guide", "r1", status="completed"))
    policy = RetentionPolicy("default", keep="90d", max_runs=1, keep_content="36h", tags="prod")
    persistence.lifecycle.set_policy(policy)
    persistence.lifecycle.hold("case-7", run_id="r1", reason="see the <lawyers>")
    page = client_of(persistence).get("/health").text
    assert "runs go after 90 days · the newest 1 run stay · texts go after 1d 12h" in page
    assert "of tag prod" in page
    assert "see the &lt;lawyers&gt;" in page
    assert "nothing has expired yet" in page
    assert "none left behind" in page
    persistence.lifecycle.expire(check_clock=False)
    assert "nothing has expired yet" not in client_of(persistence).get("/health").text


def test_runs_that_were_left_behind_are_named_with_what_to_do() -> None:
    times = [NOW - timedelta(hours=3)]
    with InMemoryPersistence(clock=Clock(lambda: times[-1])) as persistence:
        persistence.create_agent_run(
            AgentRun("guide", "r/..", objective="<b>lost</b>", status="running")
        )
        times.append(NOW)
        page = client_of(persistence).get("/health").text
    assert "&lt;b&gt;lost&lt;/b&gt;" in page
    assert "curio-persistence abandon --older-than 1h" in page
    assert "1 warning" in page


def test_a_deep_check_reads_everything_on_request(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="guide") as run:
        run.finish("done")
    client = client_of(persistence)
    assert "a deep check verifies them" in client.get("/health").text
    assert "everything was read" in client.get("/health?deep=1").text


def test_the_last_backup_is_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("backup")
    with SQLitePersistence(folder / "agent.db") as persistence:
        assert "none is known" in client_of(persistence).get("/health").text
        persistence.backup(folder / "copy.db")
        page = client_of(persistence).get("/health").text
    assert "copy.db" in page
    assert str(folder) not in page


def test_a_planned_round_is_the_next_expiry(console: TestClient) -> None:
    page = console.get("/health").text
    assert "no round is planned" in page
