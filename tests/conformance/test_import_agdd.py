"""Run folders of AGDD and MAGSAG become runs, events and metrics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    ImportReport,
    InvalidValueError,
    NotFoundError,
    Persistence,
    import_agdd,
)
from curio_persistence.importers.agdd.run import CRASHED
from tests.support.run_folders import BEGIN, RunFolder, write_examples

pytestmark = pytest.mark.slow  # Not in the inner loop.

BEGAN = datetime.fromtimestamp(BEGIN, UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / ".runs" / "agents"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def run(root: Path) -> RunFolder:
    return RunFolder(root, "mag-1")


def told(report: ImportReport) -> list[tuple[str, int | None]]:
    return [(file, line) for file, line, _ in report.problems]


def test_run_folders_become_runs(persistence: Persistence, root: Path) -> None:
    write_examples(root)
    report = import_agdd(root, persistence)
    assert (report.runs, report.events, report.ok) == (3, 12, True)
    runs = {run.run_id: run for run in persistence.get_agent_runs()}
    assert {run_id: run.status for run_id, run in runs.items()} == {
        "mag-1": "completed",
        "sag-1": "completed",
        "mag-2": "error",
    }
    first = runs["mag-1"]
    assert (first.agent_id, first.agent_name) == ("offer-mag", "Offer Orchestrator")
    assert (first.created_at, first.started_at) == (BEGAN, BEGAN)
    assert first.finished_at == BEGAN + timedelta(seconds=2)
    assert runs["sag-1"].parent_run_id == "mag-1"


def test_totals_summary_and_plan_of_a_run_are_imported(
    persistence: Persistence, root: Path
) -> None:
    write_examples(root)
    import_agdd(root, persistence)
    run = persistence.get_agent_run("mag-1")
    assert run is not None
    assert run.get_metrics_dict() == {"duration_ms": 2000, "cost_usd": 0.0042, "token_count": 1200}
    metadata = run.get_metadata_dict()
    assert metadata["plan"] == {"steps": ["ask", "offer"]}
    assert metadata["summary"]["total_logs"] == 3
    assert "metrics" not in metadata["summary"]


def test_every_value_of_a_metric_is_imported(persistence: Persistence, run: RunFolder) -> None:
    run.start()
    run.metrics(accuracy=[0.5, 0.75, 1], note=["text"], broken=[float("nan"), 10**400])
    assert import_agdd(run.path.parent, persistence).ok
    assert persistence.metrics.names() == {"accuracy": 3}
    [point] = persistence.query_metrics("accuracy")
    assert point.value == 0.75
    assert persistence.count_events(event_type="metric") == 6
    assert persistence.get_agent_run("mag-1").get_metrics_dict() == {"accuracy": 2.25}


def test_lines_of_the_log_keep_their_type_data_time_and_spans(
    persistence: Persistence, run: RunFolder
) -> None:
    run.log("step", {"n": 1}, parent_span_id="span-0", host="alpha")
    import_agdd(run.path.parent, persistence)
    [event] = persistence.get_agent_run_events("mag-1")
    assert (event.event_type, event.timestamp) == ("step", BEGAN)
    assert event.get_data_dict() == {"n": 1}
    assert (event.span_id, event.parent_span_id) == ("span-1", "span-0")
    assert event.get_metadata_dict() == {"host": "alpha"}


def test_envelopes_and_mcp_calls_are_events_too(persistence: Persistence, root: Path) -> None:
    write_examples(root)
    import_agdd(root, persistence)
    [envelope] = persistence.get_agent_run_events("sag-1", "tool.result")
    assert envelope.timestamp == BEGAN + timedelta(seconds=1.5)  # Times without a zone are UTC.
    assert (envelope.level, envelope.span_id) == ("warning", "span-2")
    assert envelope.get_data_dict() == {"rows": 3}
    assert envelope.get_metadata_dict() == {"kv": {"cached": True}}
    [call] = persistence.get_agent_run_events("sag-1", "mcp.call")
    assert (call.level, call.message) == ("error", "no such table")
    assert persistence.get_agent_run_stats()["tool_metrics"] == {
        "pg/query": {
            "call_count": 1,
            "total_latency_ms": 12.5,
            "avg_latency_ms": 12.5,
            "error_count": 1,
        }
    }


@pytest.mark.parametrize(
    ("lines", "has_summary", "expected"),
    [
        ([("end", {"status": "success"})], True, ("completed", None)),
        ([("end", {"status": "succeeded"})], False, ("completed", None)),
        ([("end", {"status": "failed", "error": "no"})], True, ("error", "no")),
        ([("end", {"status": "canceled"})], True, ("cancelled", None)),
        ([("end", {"status": "partial"})], True, ("partial", None)),
        ([("end", {})], True, ("completed", None)),
        ([], True, ("completed", None)),
        ([("error", {"error": "boom", "type": "ValueError"})], True, ("error", "boom")),
        ([("error", {"error": "boom"})], False, ("error", "boom")),
        ([("error", {"error": "boom"}), ("end", {})], True, ("error", "boom")),
        ([("error", {"error": "x"}), ("end", {"status": "success"})], True, ("completed", None)),
        ([("error", {"error": "x"}), ("resume", {})], True, ("completed", None)),
        ([("retry", {"error": "x"}), ("error", {"error": "y"})], True, ("error", "y")),
        ([("error", "in words")], True, ("error", "in words")),
        ([("error", {"error": {"code": 7}})], True, ("error", '{"code": 7}')),
        ([("error", [])], True, ("error", "error")),
    ],
)
def test_the_last_line_of_the_log_gives_the_status(
    persistence: Persistence,
    run: RunFolder,
    lines: list[tuple[str, Any]],
    has_summary: bool,
    expected: tuple[str, str | None],
) -> None:
    run.start()
    for event, data in lines:
        run.log(event, data)
    if has_summary:
        run.summary()
    import_agdd(run.path.parent, persistence)
    found = persistence.get_agent_run("mag-1")
    assert found is not None
    assert (found.status, found.error_message) == expected


def test_the_summary_gives_the_status_if_the_log_does_not(
    persistence: Persistence, run: RunFolder
) -> None:
    run.summary(status="canceled")
    import_agdd(run.path.parent, persistence)
    assert persistence.get_agent_run("mag-1").status == "cancelled"


def test_a_run_that_crashed_is_imported_as_failed(persistence: Persistence, run: RunFolder) -> None:
    run.start()
    run.log("step")
    import_agdd(run.path.parent, persistence)
    found = persistence.get_agent_run("mag-1")
    assert found is not None
    assert found.status == "error"
    assert "crashed" in found.error_message
    assert found.finished_at == BEGAN + timedelta(seconds=1)


def test_importing_again_changes_nothing(persistence: Persistence, root: Path) -> None:
    write_examples(root)
    import_agdd(root, persistence)
    before = everything(persistence)
    report = import_agdd(root, persistence)
    assert (report.runs, report.events, report.ok) == (0, 0, True)
    assert report.skipped == {"stored before": 15}
    assert everything(persistence) == before


@pytest.mark.parametrize("settings", [{"redactor": "all"}, {"capture_content": "metrics-only"}])
def test_repeated_imports_pass_the_redactor(
    open_again: Callable[..., Persistence], root: Path, settings: dict[str, str]
) -> None:
    write_examples(root)
    RunFolder(root, "mag-3").log("error", {"error": "token=k-123 of alice@example.com"})
    persistence = open_again(**settings)
    import_agdd(root, persistence)
    before = everything(persistence)
    assert "alice" not in json.dumps(before)
    assert import_agdd(root, persistence).skipped == {"stored before": 17}
    assert everything(persistence) == before


def everything(persistence: Persistence) -> list[dict[str, object]]:
    runs = [run.to_dict() for run in persistence.iter_agent_runs()]
    return runs + [event.to_dict() for event in persistence.iter_agent_run_events()]


def test_only_the_new_lines_of_a_growing_log_are_added(
    persistence: Persistence, run: RunFolder
) -> None:
    run.start()
    import_agdd(run.path.parent, persistence)
    run.log("step")
    run.log("end", {"status": "success"})
    run.summary()
    report = import_agdd(run.path.parent, persistence)
    assert (report.runs, report.events) == (1, 2)
    found = persistence.get_agent_run("mag-1")
    assert found is not None
    assert (found.status, found.error_message) == ("completed", None)
    assert found.finished_at == BEGAN + timedelta(seconds=2)
    assert persistence.count_events() == 3


def test_two_imports_at_the_same_time_store_everything_once(
    persistence: Persistence, root: Path
) -> None:
    for number in range(50):
        run = RunFolder(root, f"run-{number}")
        run.start()
        run.log("end", {"status": "success"})
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(import_agdd, root, persistence) for _ in range(2)]
    reports = [each.result() for each in both]
    assert sum(report.events for report in reports) == persistence.count_events() == 100
    assert len(persistence.get_agent_runs(limit=None)) == 50
    assert {run.status for run in persistence.get_agent_runs(limit=None)} == {"completed"}


def test_values_added_to_a_run_by_others_stay(persistence: Persistence, run: RunFolder) -> None:
    run.start()
    import_agdd(run.path.parent, persistence)
    stored = persistence.get_agent_run("mag-1")
    assert stored is not None
    stored.tags, stored.objective = ["kept"], "an offer"
    stored.metadata = {**stored.get_metadata_dict(), "mine": 1}
    persistence.update_agent_run("mag-1", stored)
    run.log("end", {"status": "success"})
    run.summary()
    import_agdd(run.path.parent, persistence)
    found = persistence.get_agent_run("mag-1")
    assert found is not None
    assert (found.tags, found.objective, found.status) == (["kept"], "an offer", "completed")
    assert found.get_metadata_dict()["mine"] == 1
    assert "summary" in found.get_metadata_dict()


def test_a_supposed_crash_does_not_replace_a_known_end(
    persistence: Persistence, run: RunFolder
) -> None:
    persistence.create_agent_run(AgentRun("offer-mag", "mag-1", status="completed"))
    run.start()
    import_agdd(run.path.parent, persistence)
    assert persistence.get_agent_run("mag-1").status == "completed"


@pytest.mark.slow
def test_a_long_log_is_one_run(persistence: Persistence, run: RunFolder) -> None:
    run.start()
    for number in range(6_000):
        run.log("step", {"n": number})
    run.log("end", {"status": "success"})
    calls: list[tuple[int, int | None]] = []
    report = import_agdd(
        run.path.parent, persistence, progress=lambda done, total: calls.append((done, total))
    )
    assert (report.runs, report.events) == (1, 6_002)
    [found] = persistence.get_agent_runs()
    assert (found.status, found.created_at) == ("completed", BEGAN)
    assert calls == [(5_000, None), (6_003, None)]


def test_broken_lines_are_reported_and_the_others_imported(
    persistence: Persistence, run: RunFolder
) -> None:
    run.start()
    broken = [
        b"{not json",
        b"[1, 2]",
        b'"text"',
        b"\xff\xfe",
        b'{"event": "step"}',
        b'{"event": "step", "timestamp": "yesterday"}',
        b'{"event": "step", "timestamp": NaN}',
        b'{"event": "step", "timestamp": 1e400}',
        b'{"event": "step", "timestamp": true}',
        b'{"event": 7, "timestamp": 1}',
        b'{"event": "step", "timestamp": 1, "run_id": "../mag-2"}',
        b'{"event": "step", "timestamp": 1, "span_id": 7}',
        b'{"event": "' + b"x" * 256 + b'", "timestamp": 1}',
        b'{"event": "step", "timestamp": 1, "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"event": "step", "timestamp": 1, "data": ' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"event": "step", "timestamp": 1, "data": [' + b"[]," * 600_000 + b"[]]}",
        b'{"event": "step", "timestamp": ' + b"9" * 5_000 + b"}",
        b"\0" * 100,
    ]
    for line in broken:
        run.line("logs.jsonl", line)
    run.line("logs.jsonl", b"")
    run.log("end", {"status": "success"})
    with (run.path / "logs.jsonl").open("ab") as log:
        log.write(b'{"event": "step", "time')  # The line that was being written.
    report = import_agdd(run.path.parent, persistence)
    assert sorted(told(report), key=lambda place: place[1] or 0) == [
        ("mag-1/logs.jsonl", number) for number in [*range(2, 2 + len(broken)), 4 + len(broken)]
    ]
    assert not report.ok
    assert all(len(problem.what) < 400 for problem in report.problems)
    assert [event.event_type for event in persistence.get_agent_run_events("mag-1")] == [
        "start",
        "end",
    ]
    assert persistence.get_agent_run("mag-1").status == "completed"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"event": "start", "data": {"slug": "s" * 256}}, "agent_id"),
        ({"event": "start", "data": {"slug": "s", "agent": "\0"}}, "agent_name"),
        ({"event": "start", "data": {"slug": "s", "parent_run_id": "\ud800"}}, "parent_run_id"),
        ({"event": "end", "data": {"status": "x" * 51}}, "status"),
    ],
)
def test_an_invalid_name_loses_its_line_but_not_the_run(
    persistence: Persistence, root: Path, line: dict[str, Any], field: str
) -> None:
    run = RunFolder(root, "odd")
    run.line("logs.jsonl", json.dumps({"timestamp": BEGIN, **line}).encode())
    run.log("step")
    report = import_agdd(root, persistence)
    assert told(report) == [("odd/logs.jsonl", 1)]
    assert f"AgentRun.{field} may" in report.problems[0].what
    stored = persistence.get_agent_run("odd")
    assert stored is not None
    assert (stored.status, stored.error_message) == ("error", CRASHED)
    assert [e.event_type for e in persistence.get_agent_run_events("odd")] == ["step"]


def test_an_invalid_name_loses_nothing_of_a_summary(persistence: Persistence, root: Path) -> None:
    run = RunFolder(root, "odd")
    run.log("step")
    run.file("summary.json", {"slug": "\0", "status": "x" * 51, "cost_usd": 0.5})
    report = import_agdd(root, persistence)
    assert [str(problem) for problem in report.problems] == [
        "odd/summary.json: AgentRun.agent_id may not contain NUL or lone surrogates.",
        "odd/summary.json: AgentRun.status may have 50 characters, not 51.",
    ]
    stored = persistence.get_agent_run("odd")
    assert stored is not None
    assert (stored.agent_id, stored.status) == ("unknown", "completed")
    assert stored.get_metadata_dict()["summary"]["slug"] == "\0"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_invalid_time_loses_its_line_but_not_the_run(
    persistence: Persistence, root: Path, time: str
) -> None:
    run = RunFolder(root, "odd")
    run.log("step", timestamp=time)
    run.log("end", {"status": "success"})
    report = import_agdd(root, persistence)
    assert told(report) == [("odd/logs.jsonl", 1)]
    stored = persistence.get_agent_run("odd")
    assert stored is not None
    assert stored.status == "completed"


def test_an_endless_line_is_skipped_in_chunks(persistence: Persistence, run: RunFolder) -> None:
    run.start()
    run.line("logs.jsonl", b'{"event": "' + b"x" * (40 << 20))
    run.log("end", {"status": "success"})
    report = import_agdd(run.path.parent, persistence)
    assert [str(problem) for problem in report.problems] == [
        "mag-1/logs.jsonl:2: is longer than 16 MiB"
    ]
    assert report.events == 2


def test_a_byte_order_mark_is_ignored(persistence: Persistence, run: RunFolder) -> None:
    run.line("logs.jsonl", b'\xef\xbb\xbf{"event": "start", "timestamp": 1, "data": {"slug": "a"}}')
    assert import_agdd(run.path.parent, persistence).ok
    assert persistence.get_agent_run("mag-1").agent_id == "a"


def test_a_broken_file_does_not_stop_the_import_of_others(
    persistence: Persistence, run: RunFolder
) -> None:
    run.start()
    (run.path / "plan.json").write_bytes(b"")
    (run.path / "metrics.json").write_bytes(b'{"accuracy": [{"val')
    run.summary(metrics={"accuracy": [0.5]})
    report = import_agdd(run.path.parent, persistence)
    assert told(report) == [("mag-1/plan.json", None), ("mag-1/metrics.json", None)]
    assert persistence.metrics.names() == {"accuracy": 1}  # The summary contains them as well.


def test_invalid_metrics_are_reported(persistence: Persistence, run: RunFolder) -> None:
    run.file("metrics.json", {"a": 1, "b": [{"value": 2}, 3, {"value": 4, "timestamp": 5}]})
    report = import_agdd(run.path.parent, persistence)
    assert [problem.what for problem in report.problems] == [
        "has no list of values under 'a'",
        "value 0 of 'b' has no time, but None",
        "value 1 of 'b' is not an object with a value",
    ]
    assert report.events == 1


def test_links_out_of_the_folder_are_not_followed(
    persistence: Persistence, root: Path, run: RunFolder
) -> None:
    outside = RunFolder(root.parent / "elsewhere", "secret")
    outside.start()
    run.start()
    (root / "linked").symlink_to(outside.path)
    (run.path / "events.jsonl").symlink_to(outside.path / "logs.jsonl")
    (root / "broken").symlink_to("nowhere")
    report = import_agdd(root, persistence)
    assert set(told(report)) == {("linked", None), ("mag-1/events.jsonl", None), ("broken", None)}
    assert [found.run_id for found in persistence.get_agent_runs()] == ["mag-1"]
    assert report.events == 1


def test_names_with_control_characters_are_reported(persistence: Persistence, root: Path) -> None:
    for name in ("two\nlines", "not utf-8: \udcff", "bell\a"):
        RunFolder(root, name).file("summary.json", {})
    RunFolder(root, "naïve 東京 🛩").start()
    report = import_agdd(root, persistence)
    assert len(report.problems) == 3
    assert [found.run_id for found in persistence.get_agent_runs()] == ["naïve 東京 🛩"]


def test_a_file_that_is_not_regular_is_reported(
    persistence: Persistence, run: RunFolder, mkfifo: Callable[[Path], None]
) -> None:
    run.start()
    mkfifo(run.path / "events.jsonl")
    (run.path / "summary.json").mkdir()
    report = import_agdd(run.path.parent, persistence)
    assert Counter(told(report)) == {
        ("mag-1/events.jsonl", None): 1,
        ("mag-1/summary.json", None): 1,
    }
    assert report.events == 1


@pytest.fixture
def mkfifo() -> Callable[[Path], None]:
    import os

    return os.mkfifo


def test_folders_without_a_run_are_skipped(persistence: Persistence, root: Path) -> None:
    (root / "empty").mkdir()
    (root / "README").write_text("hello")
    report = import_agdd(root, persistence)
    assert (report.runs, report.ok, report.skipped) == (0, True, {"folders without a run": 1})


def test_a_name_of_any_length_gives_event_ids(persistence: Persistence, root: Path) -> None:
    run = RunFolder(root, "r" * 250)
    run.start()
    run.metrics(**{"m" * 300: [1, 2]})
    assert import_agdd(root, persistence).events == 3
    assert import_agdd(root, persistence).events == 0


def test_a_dry_run_reads_everything_and_writes_nothing(root: Path, run: RunFolder) -> None:
    write_examples(root.parent / "examples")
    report = import_agdd(root.parent / "examples", None)
    assert (report.runs, report.events, report.dry_run, report.ok) == (3, 12, True, True)
    run.line("logs.jsonl", json.dumps({"event": "x" * 256, "timestamp": 1}).encode())
    assert told(import_agdd(root, None)) == [("mag-1/logs.jsonl", 1)]


def test_an_invalid_source_is_refused(persistence: Persistence, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no"):
        import_agdd(tmp_path / "missing", persistence)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValueError, match="is not a folder") as refused:
        import_agdd(tmp_path / "file", persistence)
    assert refused.value.field == "source"
    for path in ("a\0b", 7):
        with pytest.raises(InvalidValueError, match="is not a path"):
            import_agdd(path, persistence)  # type: ignore[arg-type]
