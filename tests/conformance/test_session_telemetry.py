"""What coding agents send over OTLP reads like the sessions that they leave behind."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, Persistence, import_sessions
from curio_persistence.interop.otel.agent_events import agent_event
from curio_persistence.interop.otel.agent_turns import store_events
from curio_persistence.interop.otel.decoding import decode_logs, decode_metrics, decode_traces
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.interop.otel.spans import OtelLog
from tests.support.otlp_corpus import JSON
from tests.support.session_samples import EXPECTED, FOLDER, copied, reading

OTLP = FOLDER / "otlp"


def test_logs_of_claude_code_read_as_expected(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    # Metrics and traces tell the same again.
    receiver.metrics(decode_metrics((OTLP / "claude-code-metrics.json").read_bytes(), JSON).points)
    receiver.logs(decode_logs((OTLP / "claude-code-logs.json").read_bytes(), JSON).logs)
    receiver.spans(decode_traces((OTLP / "claude-code-traces.json").read_bytes(), JSON).spans)
    check(persistence, "claude-code")
    key = EXPECTED["otlp/claude-code-logs.json"]["runs"][0]["key"]
    run = persistence.get_agent_run(f"claude-code/{key}")
    assert run is not None
    assert (run.session_id, run.status) == (key.partition("/")[0], "completed")
    [unknown] = persistence.get_agent_run_events(run.run_id, "claude_code.some_future_event")
    assert unknown.get_data_dict()["x"] == 1, "what is unknown is kept"


def test_logs_of_codex_read_as_expected(persistence: Persistence) -> None:
    Receiver(persistence).logs(decode_logs((OTLP / "codex-logs.json").read_bytes(), JSON).logs)
    check(persistence, "codex")
    assert [run.status for run in persistence.iter_agent_runs()] == ["completed"]


def check(persistence: Persistence, source: str) -> None:
    expected = EXPECTED[f"otlp/{source}-logs.json"]
    found = reading(persistence, source)
    assert found["sessions"] == expected["sessions"]
    assert found["tools"] == expected["tools"]
    assert without_costs(found["totals"]) == without_costs(expected["totals"])
    assert found["by_model"].keys() == expected["by_model"].keys()
    for model, totals in found["by_model"].items():
        assert without_costs(totals) == without_costs(expected["by_model"][model])
        assert totals["list_price"] == Decimal(expected["by_model"][model]["list_price"])
    usage = persistence.iter_llm_usage()
    told = [call.get_usage_metrics_dict().get("reported_cost") for call in usage]
    sums = sum(map(Decimal, filter(None, told)), Decimal())
    assert sums == Decimal(expected["totals"]["cost_told"] or 0)


def without_costs(totals: dict[str, Any]) -> dict[str, Any]:
    costs = ("cost_told", "list_price")
    return {name: number for name, number in totals.items() if name not in costs}


@pytest.mark.parametrize(
    ("sample", "name", "session"),
    [
        (
            "codex/sessions/2025/10/07",
            "codex.user_prompt",
            {"conversation.id": "019a27ca-e930-70f6-9954-7637e9031b94"},
        ),
        (
            "gemini-cli/tmp/werkstatt/chats/session-2026-08-21T16-20-ea6d87b6.jsonl",
            "gemini_cli.user_prompt",
            {"session.id": "ea6d87b6-595b-588a-a946-6114d0ce3b33", "prompt_id": "p1"},
        ),
    ],
)
def test_a_session_that_telemetry_told_is_not_counted_again(
    persistence: Persistence, tmp_path: Path, sample: str, name: str, session: dict[str, str]
) -> None:
    path = copied(FOLDER / sample, tmp_path / sample)
    source = sample.partition("/")[0]
    alone = import_sessions(path, None).sources[0]
    event = agent_event(OtelLog(10**18, attributes={"event.name": name, **session}))
    assert event is not None
    store_events(persistence, [event])
    report = import_sessions(path, persistence, source=source)
    assert (report.runs, report.usage) == (0, 0)
    assert report.skipped == {"sessions that OpenTelemetry told": 1}
    [received] = persistence.iter_agent_runs()
    assert received.session_id is not None
    persistence.sessions.delete(received.session_id)
    report = import_sessions(path, persistence, source=source)
    assert (report.runs, report.usage) == (alone.runs, alone.calls), "it can be had instead"
    before = import_sessions(path, persistence, source=source, verify=True)
    assert before.skipped == {}, "what was imported is no obstacle"


@pytest.mark.parametrize("sample", ["codex/sessions/2025/10/07", "gemini-cli/tmp/werkstatt"])
def test_a_session_whose_import_was_broken_off_is_imported(
    persistence: Persistence, tmp_path: Path, sample: str
) -> None:
    path = copied(FOLDER / sample, tmp_path / sample)
    source = sample.partition("/")[0]
    alone = InMemoryPersistence()
    import_sessions(path, alone, source=source)
    # Of a long turn the first events are stored before their run.
    persistence.log_agent_run_events([*alone.events.iterate()][-1:])
    import_sessions(path, persistence, source=source)
    assert persistence.runs.count() == alone.runs.count()
    assert persistence.usage.count() == alone.usage.count()
