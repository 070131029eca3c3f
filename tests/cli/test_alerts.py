"""`alerts` makes rules, evaluates them, and shows what they found."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curio_persistence import connect
from curio_persistence.tables import ALERT_RULES
from tests.cli.program import Program


def test_a_rule_is_made_watched_and_shown(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    added = program("alerts", "add", "all", "--condition", "event_count", "--above", "0", *of)
    assert added.code == 0
    assert "rule all was added" in added.said
    assert "It has no sinks" in added.said
    assert program("alerts", *of).json()[0]["state"] == "ok"
    # The history is older than any window that ends now.
    assert program("alerts", "update", "all", "--window", "9999d", "--log", *of).code == 0
    tested = program("alerts", "test", "all", "--no-send", *of).json()
    assert tested["fires"] is True
    watched = program("alerts", "watch", "--once", *of)
    assert watched.code == 0
    assert [alert["rule_id"] for alert in watched.json()["fired"]] == ["all"]
    assert "Fired: all. Event count" in watched.said
    assert program("alerts", "list", *of).json()[0]["state"] == "firing"
    [alert] = program("alerts", "history", "all", "--state", "firing", *of).json()
    assert [each["state"] for each in alert["deliveries"]] == ["delivered"]
    assert program("alerts", "history", "other", *of).json() == []
    expire = ("alerts", "expire", "--older-than", "0s", "--yes", *of)
    assert program(*expire).said.endswith("0 alerts to delete; the newest of a rule stays.\n")
    assert program("alerts", "expire", *of).code == 2
    assert program("alerts", "disable", "all", *of).code == 0
    assert program(*expire).said.endswith("\n0 alerts were deleted.\n")
    assert program("alerts", *of).json()[0]["state"] == "disabled"
    assert program("alerts", "enable", "all", *of).code == 0
    assert program("alerts", "remove", "all", *of).code == 0
    assert program("alerts", "remove", "all", *of).code == 3
    assert program("alerts", *of).json() == []


def test_a_rule_that_cannot_be_measured_is_shown(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    program("alerts", "add", "loss", "--condition", "metric", "--metric", "m", "--above", "1", *of)
    with connect(recorded) as persistence:
        where = ALERT_RULES.where(rule_id="loss")
        persistence._store.update(ALERT_RULES, where, {"aggregation": "mode"})
    assert program("alerts", "watch", "--once", *of).code == 1
    assert program("alerts", *of).json()[0]["state"] == "failing"
    [entry] = program("alerts", "history", "--state", "failing", *of).json()
    assert (entry["error"], "'mode'" in entry["message"]) == ("InvalidValueError", True)
    assert "failing" in program.on_terminal("alerts", "history", *of).out
    assert "alerts history --state failing" in program.on_terminal("doctor", *of).out


def test_a_person_sees_tables_on_a_terminal(program: Program, agents_db: str) -> None:
    assert "has no rules" in program.on_terminal("alerts").out
    add = ("alerts", "add", "p95", "--condition", "latency", "--aggregation", "p95")
    assert program(*add, "--above", "0", "--window", "9999d", "--model", "acme").code == 0
    quiet = ("alerts", "add", "quiet", "--condition", "silence", "--tag", "a", "--tag", "b")
    assert program(*quiet, "--command", "notify-send 'it is quiet'").code == 0
    assert program.on_terminal("alerts").lines == [
        "RULE   STATE  FIRES                     OF          TELLS",
        "p95    ok     p95 latency > 0 in 9999d  model acme  –",
        "quiet  ok     silence in 15m            tag a or b  command",
    ]
    watched = program.on_terminal("alerts", "watch", "--once")
    assert "firing  quiet: Nothing came in the last 15m (tag a or b)" in watched.out
    assert program.on_terminal("alerts", "history").lines[0].split() == [
        *("FIRED", "STATE", "RULE", "TOLD", "MESSAGE")
    ]


def test_sinks_and_scopes_are_given_by_options(program: Program, agents_db: str) -> None:
    words = "alerts add it --condition metric --metric loss --above -1 --aggregation max"
    words += " --resolve-below -2 --cooldown 1h --agent a --session s --user u --title It"
    words += " --log --webhook https://a.example/T0KEN --webhook-env HOOK --secret-env KEY"
    words += " --slack https://b.example/T0KEN --slack-env SLACK"
    added = program(*words.split())
    rule = added.json()
    assert "T0KEN" not in added.out + added.said
    assert [sink["name"] for sink in rule["sinks"]] == [
        *("log", "webhook", "webhook-2", "slack", "slack-2")
    ]
    assert rule["sinks"][2] == {
        "kind": "webhook",
        "name": "webhook-2",
        "url_env": "HOOK",
        "secret_env": "KEY",
    }
    assert (rule["threshold"], rule["resolve_below"], rule["cooldown_seconds"]) == (-1, -2, 3600)
    assert (rule["agent_id"], rule["session_id"], rule["user_id"]) == ("a", "s", "u")
    assert program("alerts", "update", "it", "--title", "Loss").json()["sinks"] == rule["sinks"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("add", "needs the id of a RULE"),
        ("add it", "--condition cost --above 5"),
        ("add it --condition mood --above 1", "condition is one of error_rate, cost"),
        ("add it --condition cost", "threshold is required"),
        ("add it --condition cost --above -1", "threshold may not be negative"),
        ("add it --condition cost --above much", "'much' is not a number"),
        ("add it --condition cost --above 1 --window 0m", "window is a time of a second or more"),
        ("add it --condition cost --above 1 --webhook http://10.0.0.1/", "--allow-private"),
        ("add it --condition cost --above 1 --once", "alerts add does not take --once"),
        ("add it --condition cost --above 1 --command '", "No closing quotation"),
        ("watch it", "alerts watch takes no RULE"),
        ("watch --every 0s", "every is a second or more"),
        ("list --above 1", "alerts list does not take --above"),
        ("history --state open", "invalid choice: 'open'"),
    ],
)
def test_a_mistake_is_named(program: Program, agents_db: str, words: str, said: str) -> None:
    found = program("alerts", *words.split())
    assert (found.code, found.out) == (2, "")
    assert said in found.said
    assert program("alerts").json() == []


def test_an_unknown_rule_is_not_found(program: Program, agents_db: str) -> None:
    for action in ("test", "update", "enable", "disable"):
        found = program("alerts", action, "none")
        assert (found.code, "Alert rule not found: none" in found.said) == (3, True)


def test_watching_ends_when_it_is_told_to(program: Program, agents_db: str) -> None:
    path = program.folder / agents_db
    with connect(f"sqlite:///{path}") as persistence:
        persistence.alerts.create("all", "event_count", 0, window="9999d")
    with watching(program, path) as child:
        assert child.stdout is not None
        assert '"fired": [{' in child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) != 0
    with connect(f"sqlite:///{path}") as persistence:
        assert persistence.alerts.count(state="firing") == 1


def watching(program: Program, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "curio_persistence", "alerts", "watch", "--every", "1s"]
    command += ["--db-path", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
