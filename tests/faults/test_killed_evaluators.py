"""Evaluators of alerts, killed at any moment: an alert fires once, and is told of all the same."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from curio_persistence import AlertSink, Persistence, connect
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child
from tests.support.web_server import WebServer, web_server

pytestmark = pytest.mark.slow

KILLS = 4 * soak.FACTOR
RULES = 12
EVALUATOR = """
import time
from datetime import timedelta
from curio_persistence.capabilities.alerts import delivering
delivering._CLAIM = timedelta(seconds=1)
persistence = connect(sys.argv[1])
print("begun", flush=True)
while True:
    persistence.alerts.evaluate()
    time.sleep(0.01)
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def test_of_killed_evaluators_no_alert_is_lost_or_fires_twice(url: str) -> None:
    with connect(url) as persistence, web_server() as server, ExitStack() as stack:
        sink = AlertSink.webhook(server.url, allow_private=True)
        for number in range(RULES):
            persistence.alerts.create(f"r{number}", "event_count", 0, window="2s", sinks=[sink])
        evaluators = [stack.enter_context(Child(EVALUATOR, url)) for _ in range(3)]
        for evaluator in evaluators:
            assert evaluator.read() == "begun"
        kills = 0
        while kills < KILLS or persistence.alerts.count() < RULES:
            persistence.append_event("run", "agent", "log")
            time.sleep(random.uniform(0.01, 0.2))
            if kills < KILLS:
                kills += 1
                evaluators.pop(0).kill()
                evaluators.append(stack.enter_context(Child(EVALUATOR, url)))
        _wait_until_told(persistence)
        alerts = list(persistence.alerts.history())
        assert sorted(alert.rule_id for alert in alerts) == sorted(f"r{n}" for n in range(RULES))
        assert {alert.breach for alert in alerts} == {1}
        told = _told(server)
        assert set(told) == {(a.alert_id, what) for a in alerts for what in ("fired", "resolved")}
        # One that was killed while it sent may have been heard.
        assert sum(told.values()) - len(told) <= KILLS * RULES


def _wait_until_told(persistence: Persistence) -> None:
    until = time.monotonic() + 40
    while True:
        alerts = list(persistence.alerts.history())
        if len(alerts) == RULES and all(a.resolved_at and not a.deliver_at for a in alerts):
            return
        left = [a for a in alerts if a.deliver_at or not a.resolved_at]
        assert time.monotonic() < until, (len(alerts), left)
        time.sleep(0.1)


def _told(server: WebServer) -> Counter[tuple[str, str]]:
    return Counter((r.json()["alert_id"], r.json()["told"]) for r in server.received)
