"""Sinks are told of alerts: signed, again after failures, and never at an inner address."""

from __future__ import annotations

import hashlib
import hmac
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import AgentRunEvent, AlertSink, InvalidValueError, Persistence
from curio_persistence.capabilities.alerts import delivering, sending, webhooks
from curio_persistence.capabilities.alerts.addresses import Address
from tests.support.hands import Hands
from tests.support.server import free_port
from tests.support.web_server import WebServer, web_server

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon(clock: Hands) -> None:
    clock.put(NOON)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Lets names be found at other addresses: one list for each time that they are looked up."""
    known: dict[str, list[list[str]]] = {}
    look_up = socket.getaddrinfo

    def found(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in known:
            return look_up(host, port, *rest, **more)
        return [each for one in known[host].pop(0) for each in look_up(one, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return known


def breach(persistence: Persistence, *sinks: AlertSink, **rule: Any) -> None:
    """Make a rule that fires at the next evaluation."""
    rule = {"rule_id": "busy", "name": "Busy & <idle>", **rule}
    persistence.alerts.create(condition="event_count", threshold=0, sinks=sinks, **rule)
    persistence.log_agent_run_event(
        AgentRunEvent("agent", "run", timestamp=persistence.clock.now(), event_type="log")
    )
    persistence.clock.now.move(seconds=1)


def states(persistence: Persistence) -> list[tuple[str, str, int, str | None]]:
    [alert] = persistence.alerts.history()
    return [(d["told"], d["state"], d["attempts"], d["error"]) for d in alert.deliveries]


def deliver(persistence: Persistence) -> list[tuple[str, str, int, str | None]]:
    """Evaluate some minutes later, and return the deliveries."""
    persistence.clock.now.move(minutes=4)
    persistence.alerts.evaluate()
    return states(persistence)


def hook(server: WebServer, path: str = "/hook?token=1", **options: Any) -> AlertSink:
    return AlertSink.webhook(server.url + path, allow_private=True, **options)


def test_a_webhook_gets_signed_json(
    persistence: Persistence, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", "ключ")
    breach(persistence, hook(server, secret_env="HOOK_KEY"), tags="a")
    persistence.alerts.update("busy", tags=None, agent_id="agent")
    report = persistence.alerts.evaluate()
    assert (report.delivered, report.undelivered) == (1, 0)
    [request] = server.received
    [alert] = report.fired
    assert request.path == "/hook?token=1"
    assert request.headers["Host"] == f"127.0.0.1:{server.port}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.json() == {
        "told": "fired",
        "alert_id": alert.alert_id,
        "rule_id": "busy",
        "name": "Busy & <idle>",
        "message": "Event count 1 is above 0 in the last 15m (agent agent)",
        "condition": "event_count",
        "value": 1.0,
        "threshold": 0.0,
        "window_seconds": 900,
        "scope": {"agent_id": "agent"},
        "triggered_at": "2026-11-20T12:00:01+00:00",
        "resolved_at": None,
    }
    signed = request.headers["X-Curio-Timestamp"].encode() + b"." + request.body
    digest = hmac.new("ключ".encode(), signed, hashlib.sha256).hexdigest()
    assert request.headers["X-Curio-Signature"] == f"sha256={digest}"
    assert states(persistence) == [("fired", "delivered", 1, None)]
    persistence.clock.now.move(hours=1)
    persistence.alerts.evaluate()
    told = server.received[1].json()
    assert (told["told"], told["message"]) == (
        "resolved",
        "Event count 0 is at most 0 in the last 15m (agent agent)",
    )
    assert told["resolved_at"] == "2026-11-20T13:00:01+00:00"


def test_slack_gets_one_line_without_links_and_mentions(
    persistence: Persistence, server: WebServer
) -> None:
    sink = AlertSink.slack(server.url, allow_private=True)
    breach(persistence, sink, agent_id="agent", name="<!channel>\n\x1b[2J\u202e&")
    persistence.alerts.evaluate()
    assert server.received[0].json() == {
        "text": "Fired: &lt;!channel&gt;\ufffd\ufffd[2J\ufffd&amp;. "
        "Event count 1 is above 0 in the last 15m (agent agent)."
    }


def test_a_sink_that_fails_is_tried_again_five_times_in_all(
    persistence: Persistence, server: WebServer
) -> None:
    server.answers = [500, 429, 503]
    breach(persistence, hook(server))
    persistence.alerts.evaluate()
    assert states(persistence) == [("fired", "pending", 1, "the answer was 500")]
    persistence.alerts.evaluate()
    assert len(server.received) == 1, "it is not due yet"
    assert deliver(persistence) == [("fired", "pending", 2, "the answer was 429")]
    assert deliver(persistence)[0][:3] == ("fired", "pending", 3)
    assert deliver(persistence) == [("fired", "delivered", 4, None)]
    assert persistence.alerts.history()[0].deliver_at is None
    persistence.alerts.delete("busy")
    server.answers = [500] * 9
    breach(persistence, hook(server), rule_id="other")
    persistence.alerts.evaluate()
    for _ in range(6):
        persistence.clock.now.move(minutes=4)
        persistence.alerts.evaluate()
    told = persistence.alerts.history(rule_id="other")[0].deliveries
    # The end of the alert is told after its begin was, or has failed for good.
    assert [(d["told"], d["state"], d["attempts"]) for d in told] == [
        ("fired", "failed", 5),
        ("resolved", "pending", 3),
    ]


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410])
def test_what_no_retry_helps_is_not_tried_again(
    persistence: Persistence, server: WebServer, status: int
) -> None:
    server.answers = [status]
    breach(persistence, hook(server))
    persistence.alerts.evaluate()
    assert deliver(persistence)[0][1:3] == ("failed", 1)
    assert len(server.received) == 1


@pytest.mark.slow
def test_a_sink_that_is_gone_slow_or_broken_delays_no_other(
    persistence: Persistence, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT", 2.0)
    going = threading.Event()
    server.answers = [lambda: 200 + going.wait(20)]
    told: list[str] = []
    breach(
        persistence,
        hook(server, name="slow"),
        AlertSink.webhook(f"http://127.0.0.1:{free_port()}/", allow_private=True, name="gone"),
        AlertSink.callable("broken"),
        AlertSink.callable("stuck"),
        AlertSink.webhook(url_env="NO_SUCH_VARIABLE", name="unset"),
        AlertSink.command(["sh", "-c", "exit 3"], name="failing"),
        AlertSink.command(["/no/such/program"], name="missing"),
        AlertSink.command(["sleep", "20"], name="sleeping"),
        AlertSink.callable("fine"),
    )
    callables: dict[str, Callable[[Any], object]] = {
        "broken": lambda given: 1 // 0,
        "stuck": lambda given: going.wait(20),
        "fine": lambda given: told.append(given["rule_id"]),
    }
    report = persistence.alerts.evaluate(callables=callables)
    going.set()
    assert told == ["busy"]
    assert report.delivered == 1
    errors = {d["sink"]: d["error"] for d in persistence.alerts.history()[0].deliveries}
    assert "no answer" in errors.pop("slow")
    assert errors == {
        "gone": "no answer (NewConnectionError)",
        "broken": "ZeroDivisionError was raised",
        "stuck": "no answer within 2 seconds",
        "unset": "the environment variable NO_SUCH_VARIABLE is not set",
        "failing": "the command ended with 3",
        "missing": "the command cannot be run: No such file or directory",
        "sleeping": "the command took longer than 2 seconds",
        "fine": None,
    }


def test_without_urllib3_it_says_how_to_install_it(
    persistence: Persistence, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)
    breach(persistence, hook(server))
    persistence.alerts.evaluate()
    assert "pip install 'curio-persistence[alerts]'" in str(states(persistence)[0][3])


def test_a_command_reads_the_notification_from_its_stdin(
    persistence: Persistence, tmp_path: Path
) -> None:
    file = tmp_path / "told"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    breach(persistence, AlertSink.command([sys.executable, "-c", code, str(file), "; rm -rf /"]))
    persistence.alerts.evaluate()
    assert '"message": "Event count 1 is above 0 in the last 15m"' in file.read_text()


def test_the_log_has_a_line(persistence: Persistence, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "curio_persistence.alerts")
    breach(persistence, AlertSink.log(), name="busy")
    persistence.alerts.evaluate()
    persistence.clock.now.move(hours=1)
    persistence.alerts.evaluate()
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("WARNING", "Fired: busy. Event count 1 is above 0 in the last 15m."),
        ("INFO", "Resolved: busy. Event count 0 is at most 0 in the last 15m."),
    ]


def test_a_function_is_called_by_a_program_that_has_it(persistence: Persistence) -> None:
    told: list[str] = []
    breach(persistence, AlertSink.callable("page"))
    persistence.alerts.evaluate()
    assert deliver(persistence) == [("fired", "pending", 0, None)]
    persistence.alerts.evaluate(callables={"page": lambda given: told.append(given["told"])})
    assert told == ["fired"]
    assert persistence.alerts.history()[0].deliveries[0]["attempts"] == 1


def test_what_a_killed_evaluator_claimed_is_due_again(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    page = {"page": lambda given: told.append(given["told"])}
    breach(persistence, AlertSink.callable("page"))
    with monkeypatch.context() as patch:
        patch.setattr(delivering, "send_all", killed)
        with pytest.raises(SystemExit):
            persistence.alerts.evaluate(callables=page)
    persistence.alerts.evaluate(callables=page)
    assert told == [], "it may still be sending"
    persistence.clock.now.move(seconds=31)
    persistence.alerts.evaluate(callables=page)
    assert told == ["fired"]
    assert states(persistence) == [("fired", "delivered", 2, None)]


def killed(*_: Any) -> Any:
    raise SystemExit


def test_a_sink_that_the_rule_lost_is_not_told(persistence: Persistence) -> None:
    breach(persistence, AlertSink.callable("page"))
    persistence.alerts.evaluate()
    persistence.alerts.update("busy", sinks=[])
    assert deliver(persistence) == [("fired", "failed", 1, "the rule has no such sink")]


def test_a_test_tells_every_sink_and_stores_nothing(
    persistence: Persistence, server: WebServer
) -> None:
    server.answers = [200, 404]
    breach(persistence, hook(server), AlertSink.callable("page"))
    tested = persistence.alerts.test("busy")
    assert (tested.value, tested.fires) == (1, True)
    assert tested.sinks == {"webhook": None, "page": "this program passed no function 'page'"}
    assert server.received[0].json()["told"] == "test"
    assert persistence.alerts.test("busy", send=False).sinks == {}
    assert persistence.alerts.count() == 0


# --- addresses ------------------------------------------------------------------------------------


def test_a_name_that_leads_to_an_inner_address_is_refused(
    persistence: Persistence, names: dict[str, list[list[str]]], server: WebServer
) -> None:
    names["hooks.test"] = [["93.184.216.34", "169.254.169.254"]]
    breach(persistence, AlertSink.webhook(f"http://hooks.test:{server.port}/"))
    persistence.alerts.evaluate()
    assert states(persistence) == [
        (
            "fired",
            "failed",
            1,
            "hooks.test leads to 169.254.169.254, which is not public. "
            "To allow it, pass allow_private=True (--allow-private).",
        )
    ]
    assert server.received == []


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1"])
def test_other_spellings_of_an_inner_address_are_refused(
    persistence: Persistence, server: WebServer, host: str
) -> None:
    breach(persistence, AlertSink.webhook(f"http://{host}:{server.port}/"))
    persistence.alerts.evaluate()
    assert states(persistence)[0][1] == "failed"
    assert server.received == []


def test_a_name_is_looked_up_once_and_that_address_is_connected_to(
    persistence: Persistence, names: dict[str, list[list[str]]], server: WebServer
) -> None:
    names["hooks.test"] = [["127.0.0.1"], ["93.184.216.34"]]
    sink = AlertSink.webhook(f"http://hooks.test:{server.port}/x", allow_private=True)
    breach(persistence, sink)
    persistence.alerts.evaluate()
    assert states(persistence)[0][1] == "delivered"
    assert server.received[0].headers["Host"] == f"hooks.test:{server.port}"
    assert len(names["hooks.test"]) == 1


def test_proxies_of_the_environment_are_not_used(
    persistence: Persistence, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    breach(persistence, hook(server))
    persistence.alerts.evaluate()
    assert states(persistence)[0][1] == "delivered"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the certificate, and the key, of hooks.test."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=hooks.test"]
    command += ["-addext", "subjectAltName=DNS:hooks.test", "-keyout", file, "-out", f"{file}.c"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except OSError:
        pytest.skip("openssl is not installed")
    file.write_text(file.read_text() + Path(f"{file}.c").read_text())
    return str(file)


@pytest.mark.parametrize(("host", "state"), [("hooks.test", "delivered"), ("evil.test", "pending")])
def test_the_certificate_is_that_of_the_name_although_an_address_is_connected_to(
    persistence: Persistence,
    names: dict[str, list[list[str]]],
    certificate: str,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    state: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    names[host] = [["127.0.0.1"]]
    with web_server(certificate) as server:
        breach(
            persistence,
            AlertSink.webhook(f"https://{host}:{server.port}/", allow_private=True),
        )
        persistence.alerts.evaluate()
        assert states(persistence)[0][1] == state, states(persistence)
        assert len(server.received) == (state == "delivered")


# --- secrets --------------------------------------------------------------------------------------


def test_the_secrets_of_sinks_are_shown_nowhere(
    persistence: Persistence,
    server: WebServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK_URL", f"{server.url}/T0KEN-1")
    monkeypatch.setenv("HOOK_KEY", "T0KEN-2")
    server.answers = [500, 302]
    breach(
        persistence,
        hook(server, "/T0KEN-3?key=T0KEN-4#T0KEN-5", name="url"),
        AlertSink.webhook(url_env="HOOK_URL", secret_env="HOOK_KEY", allow_private=True, name="e"),
        AlertSink.slack(f"http://127.0.0.1:{free_port()}/T0KEN-6", allow_private=True),
    )
    report = persistence.alerts.evaluate()
    rules = persistence.alerts.list()
    shown = [report, report.to_dict(), rules, [rule.to_dict() for rule in rules]]
    shown += [[*persistence.alerts.history()], persistence.alerts.test("busy"), caplog.text]
    assert "T0KEN" not in repr(shown)
    sink = rules[0].sinks[0]
    assert sink.to_dict()["url"] == f"{server.url}/…"
    assert sink.url == f"{server.url}/T0KEN-3?key=T0KEN-4#T0KEN-5"


BAD_SINKS: dict[str, tuple[Callable[[], AlertSink], str]] = {
    "a URL of another kind": (lambda: AlertSink.webhook("ftp://T0KEN.com"), "url"),
    "no URL": (lambda: AlertSink.webhook(), "url"),
    "two URLs": (lambda: AlertSink.slack("https://T0KEN.com", url_env="HOOK_URL"), "url"),
    "a user in a URL": (lambda: AlertSink.webhook("https://me:T0KEN@example.com"), "url"),
    "a URL without a host": (lambda: AlertSink.webhook("https:///T0KEN"), "url"),
    "a port in words": (lambda: AlertSink.webhook("https://example.com:T0KEN"), "url"),
    "a line break in a URL": (lambda: AlertSink.webhook("https://example.com/\r\nT0KEN"), "url"),
    "letters beyond ASCII": (lambda: AlertSink.webhook("https://T0KEN.bücher.example"), "url"),
    "a key in place of its name": (
        lambda: AlertSink.webhook("https://example.com", secret_env="T0KEN-="),
        "secret_env",
    ),
    "a command of one text": (lambda: AlertSink.command("notify-send T0KEN"), "argv"),
    "no command": (lambda: AlertSink.command([]), "argv"),
    "a function without a name": (lambda: AlertSink.callable("a\0T0KEN"), "name"),
}


@pytest.mark.parametrize("name", BAD_SINKS)
def test_a_sink_that_cannot_be_told_is_refused_without_showing_it(name: str) -> None:
    make, field = BAD_SINKS[name]
    with pytest.raises(InvalidValueError) as refused:
        make()
    assert refused.value.field == f"AlertSink.{field}"
    assert "T0KEN" not in str(refused.value)


@pytest.mark.slow
def test_a_request_that_may_have_come_is_not_sent_to_another_address(
    persistence: Persistence, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT", 1.0)
    two = [Address("127.0.0.1", server.port)] * 2
    monkeypatch.setattr(webhooks, "resolve", lambda *_, **__: two)
    going = threading.Event()
    server.answers = [lambda: 200 + going.wait(20)]
    breach(persistence, hook(server))
    persistence.alerts.evaluate()
    going.set()
    assert len(server.received) == 1
    assert "no answer" in str(states(persistence)[0][3])


def test_an_address_that_refuses_is_followed_by_the_next(
    persistence: Persistence, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [Address("127.0.0.1", free_port()), Address("127.0.0.1", server.port)]
    monkeypatch.setattr(webhooks, "resolve", lambda *_, **__: both)
    breach(persistence, hook(server))
    assert persistence.alerts.evaluate().delivered == len(server.received) == 1
