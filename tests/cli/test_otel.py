"""`otel` shows what was received by OpenTelemetry, and reads it anew."""

from __future__ import annotations

import pytest

from curio_persistence import Receiver, connect
from curio_persistence.tables import SPANS
from tests.cli.program import Program
from tests.support.otlp_corpus import spans


@pytest.fixture
def received(url: str) -> str:
    with connect(url) as persistence:
        Receiver(persistence).spans(spans("pydantic-ai-nested"))
    return url


def test_senders_are_listed(program: Program, received: str) -> None:
    [sender] = program("otel", "--url", received).json()
    assert sender["scope_name"] == "pydantic-ai"
    assert (sender["spans"], sender["unread"]) == (10, 0)
    assert sender["kinds"] == {"llm": 5, "agent": 3, "tool": 2}
    shown = program.on_terminal("otel", "--url", received, columns=100)
    assert "5 llm, 3 agent, 2 tool" in shown.out


def test_an_empty_database_says_how_to_send(program: Program, url: str) -> None:
    connect(url).close()
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in program.on_terminal("otel", "--url", url).out


def test_spans_are_read_anew(program: Program, received: str) -> None:
    read = {"kind": "span", "meaning": '{"kind": "other"}'}
    with connect(received) as persistence:
        [before] = persistence.runs.query(agent_id="editor")
        persistence._store.update(SPANS, (), read)  # As an older version has read them.
    asked = ("otel", "reinterpret", "--url", received)
    assert program(*asked, "--dry-run").json()["changed"] == 10
    assert program("otel", "--url", received).json()[0]["unread"] == 10
    assert program(*asked, "--yes").json()["changed"] == 10
    assert program(*asked, "--yes").json()["changed"] == 0
    assert program("otel", "--url", received).json()[0]["unread"] == 0
    with connect(received) as persistence:
        assert persistence.get_agent_run(before.run_id) == before


def test_consent_without_a_change_is_a_mistake(program: Program, received: str) -> None:
    refused = program("otel", "--yes", "--url", received)
    assert refused.code == 2
    assert "reinterpret" in refused.said
