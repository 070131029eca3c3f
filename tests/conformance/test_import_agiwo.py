"""A database of Agiwo is imported: entries of all kinds, with their sequences and times."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from curio_persistence import InvalidValueError, NotFoundError, Persistence, import_agiwo
from curio_persistence.compat.agiwo.saved_traces import SavedTraces
from curio_persistence.runlog.entries import (
    CommittedStep,
    LLMCallCompleted,
    RetrospectApplied,
    RunFinished,
    RunLogEntry,
    RunStarted,
    StepBackApplied,
    UnknownEntry,
)
from curio_persistence.runlog.replay import replay
from curio_persistence.runlog.values import StepMetrics
from tests.conformance.conftest import Open
from tests.support import run_logs
from tests.support.agiwo_file import row_of, write_database

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def entry(cls: type[RunLogEntry], sequence: int, **own: Any) -> RunLogEntry:
    place = {"session_id": "chat", "run_id": "run", "agent_id": "guide"}
    created_at = NOON + timedelta(seconds=sequence)
    return cls(**{"sequence": sequence, "created_at": created_at, **place, **own})


LOG = [
    entry(RunStarted, 1, user_input="Where is ann@example.com?", user_id="ann"),
    entry(LLMCallCompleted, 2, metrics=StepMetrics(input_tokens=7, start_at=NOON)),
    entry(RetrospectApplied, 4, affected_step_ids=["s"], feedback="no"),
    entry(StepBackApplied, 5, affected_count=1, checkpoint_seq=2, experience="yes"),
    entry(RunFinished, 9, response="France", metrics={"total_tokens": 7}),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_database(tmp_path / "agiwo.db", map(row_of, LOG))


def test_entries_old_and_new_are_imported(persistence: Persistence, file: Path) -> None:
    report = import_agiwo(file, persistence)
    assert (report.ok, report.runs, report.events, report.usage) == (True, 1, 5, 1)
    assert persistence.runlog.entries("chat") == LOG
    run = persistence.get_agent_run("run")
    assert run is not None
    assert (run.status, run.session_id, run.user_id) == ("completed", "chat", "ann")
    assert (run.started_at, run.final_output) == (NOON + timedelta(seconds=1), "France")
    assert persistence.get_agent_run_stats()["total_input_tokens"] == 7
    assert persistence.runlog.allocate("chat")[0] == 10


def test_an_import_is_repeated_when_more_was_written(persistence: Persistence, file: Path) -> None:
    import_agiwo(file, persistence)
    write_database(file, [row_of(entry(RunStarted, 10, run_id="b"))])
    report = import_agiwo(file, persistence)
    assert (report.events, report.runs, report.skipped) == (1, 1, {"stored before": 5})
    assert len(persistence.runlog.entries("chat")) == 6
    assert persistence.count_llm_usage() == 1


def test_kinds_that_are_not_known_are_kept(persistence: Persistence, file: Path) -> None:
    payload = {"kind": "rain_forecast", "created_at": "2026-11-20T12:00:00", "mm": [1.5, None]}
    write_database(file, [row_of(LOG[0], sequence=3, kind="rain", payload=json.dumps(payload))])
    assert import_agiwo(file, persistence).ok
    [found] = persistence.runlog.entries("chat", kinds="rain")
    data = {"mm": [1.5, None]}
    expected = entry(UnknownEntry, 3, kind="rain", data=data, created_at=NOON)
    assert found == expected


def test_fields_of_other_versions_are_counted(persistence: Persistence, file: Path) -> None:
    payload = {"created_at": "2026-11-20T12:00:00", "user_input": "hi", "mood": "x", "zone": 1}
    write_database(file, [row_of(LOG[0], sequence=3, payload=json.dumps(payload))])
    report = import_agiwo(file, persistence)
    assert (report.ok, report.skipped) == (True, {"fields that are not known": 2})


def test_damaged_rows_are_reported_and_the_rest_is_imported(
    persistence: Persistence, file: Path
) -> None:
    rows = [
        row_of(LOG[0], sequence=11, payload="{"),
        row_of(LOG[0], sequence=12, payload="[]"),
        row_of(LOG[0], sequence=13, payload='{"created_at": "yesterday"}'),
        row_of(LOG[0], sequence=0),
        row_of(LOG[0], sequence=14, run_id="x" * 300),
        row_of(LOG[0], sequence=15, run_id="other"),
        row_of(LOG[0], sequence=16, session_id=""),
        row_of(LOG[0], sequence=16, session_id="x" * 256),
    ]
    report = import_agiwo(write_database(file, rows), persistence)
    told = [problem.what for problem in report.problems]
    assert [what.partition(":")[0] for what in told[:-1]] == [
        *(f"entry {sequence} of 'chat'" for sequence in (11, 12, 13, 0)),
        "entry 16 of ''",
        f"entry 16 of {'x' * 256!r:.80}",
    ]
    assert told[-1].startswith("entry 14 of 'chat'")
    assert "payload is not JSON" in told[0]
    assert "'yesterday' is not a time" in told[2]
    assert report.events == 6


def test_another_entry_with_a_sequence_is_reported(persistence: Persistence, file: Path) -> None:
    persistence.runlog.append("chat", [entry(RunStarted, 4, run_id="mine")])
    report = import_agiwo(file, persistence)
    [problem] = report.problems
    assert problem.what == "entry 4 of 'chat': another is stored as this one"
    assert report.events == 4


def test_a_whole_history_is_replayed_as_it_was(persistence: Persistence, tmp_path: Path) -> None:
    history = run_logs.history(Random(7), 300)
    report = import_agiwo(write_database(tmp_path / "long.db", map(row_of, history)), persistence)
    assert (report.ok, report.events) == (True, 300)
    stored = replay(persistence.runlog.entries("chat"))
    assert stored.step_views() == replay(history).step_views()
    assert stored.context() == replay(history).context()
    assert any(isinstance(each, CommittedStep) for each in history)


SPAN = {
    "trace_id": "t",
    "span_id": "root",
    "kind": "agent",
    "name": "guide",
    "start_time": "2026-11-20T12:00:00",
    "end_time": None,
    "status": "ok",
    "attributes": {"a": 1},
    "colour": "red",
}
TRACE = {
    "trace_id": "t",
    "agent_id": "guide",
    "start_time": "2026-11-20T12:00:00+00:00",
    "end_time": "2026-11-20T12:00:01Z",
    "status": "error",
    "duration_ms": 1000.0,
    "total_tokens": 7,
    "spans": json.dumps([SPAN]),
}


def test_traces_are_imported_and_replaced(persistence: Persistence, file: Path) -> None:
    write_database(file, [TRACE, {**TRACE, "trace_id": "bad", "spans": "{"}], "agiwo_traces")
    report = import_agiwo(file, persistence)
    assert report.also == {"traces": 1}
    assert [problem.what for problem in report.problems] == ["trace 'bad': spans is not JSON"]
    trace = SavedTraces(persistence).get("t")
    assert trace is not None
    assert (trace.agent_id, trace.status, trace.total_tokens) == ("guide", "error", 7)
    assert (trace.start_time, trace.end_time) == (NOON, NOON + timedelta(seconds=1))
    [span] = trace.spans
    assert (span.kind, span.start_time, span.attributes) == ("agent", NOON, {"a": 1})
    assert import_agiwo(file, persistence).also == {"traces": 1}
    assert SavedTraces(persistence).get("t") == trace


def test_an_import_under_a_redactor_is_recognised(open_again: Open, file: Path) -> None:
    persistence = open_again(redactor="all")
    assert import_agiwo(file, persistence).events == 5
    assert import_agiwo(file, persistence).skipped == {"stored before": 5}
    [started, *_] = persistence.runlog.entries("chat")
    assert started.user_input == "Where is [redacted:email]?"


def test_a_dry_run_stores_nothing(file: Path) -> None:
    report = import_agiwo(file, None)
    assert (report.dry_run, report.events, report.runs) == (True, 5, 1)


def test_what_is_no_database_of_agiwo_is_refused(persistence: Persistence, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        import_agiwo(tmp_path / "none.db", persistence)
    with pytest.raises(InvalidValueError, match="is a folder"):
        import_agiwo(tmp_path, persistence)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other, other:
        other.execute("CREATE TABLE steps (id)")
    with pytest.raises(InvalidValueError, match="has no table run_log_entries"):
        import_agiwo(tmp_path / "other.db", persistence)
