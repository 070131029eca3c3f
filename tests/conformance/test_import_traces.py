"""Traces that observability tools export come in whole, once, and whatever else is in the files."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from curio_persistence import InvalidValueError, Persistence, import_sessions
from tests.support.session_samples import FOLDER

LANGFUSE = [
    FOLDER / "langfuse" / name for name in ("observations_v2", "trace.json", "observations.csv")
]
PHOENIX = [FOLDER / "phoenix" / name for name in ("spans.json", "phoenix.db", "spans.parquet")]
NINE = datetime(2026, 5, 20, 9, tzinfo=UTC)


def lines(path: Path, rows: Iterable[dict[str, Any] | bytes]) -> Path:
    written = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    path.write_bytes(b"".join(line + b"\n" for line in written))
    return path


def observation(number: int, trace: str = "t-1", **others: Any) -> dict[str, Any]:
    start = NINE + timedelta(seconds=number)
    return {
        "id": f"o-{trace}-{number}",
        "traceId": trace,
        "type": "GENERATION",
        "name": "answer",
        "parentObservationId": None,
        "startTime": f"{start:%Y-%m-%d %H:%M:%S}",
        "endTime": f"{start + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}",
        "model": "gpt-5-mini",
        "usageDetails": {"input": 10, "output": 5},
        **others,
    }


# --- the forms of one export meet -----------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False])
def test_all_forms_of_langfuse_are_the_same_traces(persistence: Persistence, at_once: bool) -> None:
    for paths in [LANGFUSE] if at_once else [[path] for path in LANGFUSE]:
        import_sessions(paths, persistence)
    assert persistence.count_agent_runs() == 2
    assert persistence.count_llm_usage() == 2
    assert persistence.count_events(event_type="tool_call") == 1
    [score] = persistence.scores.iterate()
    assert (score.name, score.value, score.source) == ("helpful", 1.0, "code")
    costs = [usage.cost_usd for usage in persistence.iter_llm_usage()]
    assert sorted(filter(None, costs)) == [Decimal("0.0010006"), Decimal("0.0034614")]
    run = persistence.get_agent_run("langfuse/a3f1c2d4e5b60718293a4b5c6d7e8f90")
    assert run is not None
    assert (run.session_id, run.user_id, run.tags) == ("shift-8", "u-1", ["demo"])
    assert (run.objective, run.final_output) == (
        '{"question": "Why does the pump stall?"}',
        "Air in the line.",
    )


def test_all_forms_of_phoenix_are_the_same_trace(persistence: Persistence) -> None:
    for path in PHOENIX:
        import_sessions([path], persistence)
    [run] = persistence.iter_agent_runs()
    [score] = persistence.scores.list(run.run_id)
    assert (score.name, score.value, score.label, score.source) == ("helpful", 1.0, "yes", "human")
    assert score.span_id == "1111111111111111"
    assert persistence.count_llm_usage() == 1
    assert persistence.count_events(event_type="tool_call") == 1


def test_database_and_export_of_mlflow_are_the_same_trace(persistence: Persistence) -> None:
    import_sessions([FOLDER / "mlflow" / "mlflow.db"], persistence)
    again = import_sessions([FOLDER / "mlflow" / "traces.jsonl"], persistence)
    assert (again.usage, again.events) == (0, 0)
    assert (persistence.count_agent_runs(), persistence.count_llm_usage()) == (1, 1)
    [score] = persistence.scores.iterate()
    assert (score.value, score.source, score.author) == (1.0, "human", "u-1")
    assert import_sessions([FOLDER / "mlflow"], persistence, verify=True).runs == 1, "the older one"
    assert persistence.scores.count() == 1


def test_a_folder_is_told_by_what_is_in_it(persistence: Persistence) -> None:
    report = import_sessions([FOLDER / "langfuse", FOLDER / "phoenix"], persistence)
    assert [source.source for source in report.sources] == ["langfuse", "phoenix"]
    assert persistence.count_agent_runs() == 3
    assert [source.calls for source in report.sources] == [2, 1], "each is told once"


# --- what is told ---------------------------------------------------------------------------------


def test_rows_of_a_trace_are_brought_together_wherever_they_stand(
    persistence: Persistence, tmp_path: Path
) -> None:
    rows = [observation(number, f"t-{number % 7}") for number in range(70)]
    report = import_sessions([lines(tmp_path / "rows.jsonl", rows)], persistence)
    assert (report.runs, report.usage) == (7, 70)
    run = persistence.get_agent_run("langfuse/t-3")
    assert run is not None
    assert (run.started_at, run.finished_at) == (
        NINE + timedelta(seconds=3),
        NINE + timedelta(seconds=67),
    )


def test_a_call_within_a_call_counts_once(persistence: Persistence, tmp_path: Path) -> None:
    outer = observation(1, usageDetails={"input": 10, "output": 5})
    inner = observation(2, parentObservationId=outer["id"], usageDetails={"input": 11, "output": 5})
    import_sessions([lines(tmp_path / "rows.jsonl", [outer, inner])], persistence)
    [usage] = persistence.iter_llm_usage()
    assert (usage.event_id, usage.input_tokens) == (f"langfuse/t-1/{inner['id']}", 11)


def test_a_cost_of_zero_is_unknown(persistence: Persistence, tmp_path: Path) -> None:
    row = observation(1, model="nobody's", costDetails={"total": 0}, totalCost=0)
    import_sessions([lines(tmp_path / "rows.jsonl", [row])], persistence)
    assert [usage.cost_usd for usage in persistence.iter_llm_usage()] == [None]


def test_sums_of_older_rows_are_read(persistence: Persistence, tmp_path: Path) -> None:
    row = observation(1, usageDetails=None, usage={"input": 7, "output": 3, "total": 10})
    import_sessions([lines(tmp_path / "rows.jsonl", [row])], persistence)
    [usage] = persistence.iter_llm_usage()
    assert (usage.input_tokens, usage.output_tokens) == (7, 3)


def test_what_has_not_ended_waits_and_what_never_ends_has_failed(
    persistence: Persistence, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    going_on = observation(1, "new", startTime=now.isoformat(), endTime=None)
    lost = observation(2, "old", endTime=None)
    report = import_sessions([lines(tmp_path / "rows.jsonl", [going_on, lost])], persistence)
    assert report.skipped == {"steps that had not ended yet": 1}
    assert {run.run_id: run.status for run in persistence.iter_agent_runs()} == {
        "langfuse/new": "running",
        "langfuse/old": "error",
    }
    ended = going_on | {"endTime": (now + timedelta(seconds=1)).isoformat()}
    import_sessions([lines(tmp_path / "later.jsonl", [ended])], persistence)
    run = persistence.get_agent_run("langfuse/new")
    assert run is not None
    assert run.status == "completed"
    assert persistence.count_llm_usage(run_id="langfuse/new") == 1


def test_usage_that_langchain_tells_with_its_answer(
    persistence: Persistence, tmp_path: Path
) -> None:
    details = {"input_token_details": {"cache_read": 4}, "output_token_details": {"reasoning": 2}}
    run = {
        "id": "r-1",
        "trace_id": "r-1",
        "run_type": "llm",
        "name": "ChatOpenAI",
        "start_time": "2026-05-20T09:00:00",
        "end_time": "2026-05-20T09:00:01",
        "extra": {"metadata": {"conversation_id": "c-1"}, "invocation_params": {"model": "m-1"}},
        "outputs": {"usage_metadata": {"input_tokens": 9, "output_tokens": 3, **details}},
    }
    import_sessions([lines(tmp_path / "runs.jsonl", [run])], persistence)
    [usage] = persistence.iter_llm_usage()
    assert (usage.model, usage.input_tokens, usage.output_tokens) == ("m-1", 9, 3)
    assert (usage.cache_read_tokens, usage.reasoning_tokens) == (4, 2)
    [stored] = persistence.iter_agent_runs()
    assert (stored.run_id, stored.session_id) == ("langsmith/r-1", "c-1")


def test_a_trace_in_mlruns_is_read_with_what_lies_beside_it(
    persistence: Persistence, tmp_path: Path
) -> None:
    [older] = json.loads((FOLDER / "mlflow" / "traces-2.json").read_text())
    trace = tmp_path / "mlruns" / "7" / "traces" / "tr-old0001"
    for folder in ("artifacts", "request_metadata", "tags"):
        (trace / folder).mkdir(parents=True)
    (trace / "artifacts" / "traces.json").write_text(json.dumps(older["data"]))
    (trace / "request_metadata" / "mlflow.trace.session").write_text("shift-8")
    (trace / "tags" / "mlflow.traceName").write_text("greeting")
    import_sessions([tmp_path / "mlruns"], persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.run_id, run.session_id) == ("mlflow/tr-old0001", "shift-8")
    assert (run.agent_id, run.get_metadata_dict()["project"]) == ("greeting", "7")


def test_a_database_that_is_being_written_is_read_with_its_log(
    persistence: Persistence, tmp_path: Path
) -> None:
    path = tmp_path / "phoenix.db"
    path.write_bytes((FOLDER / "phoenix" / "phoenix.db").read_bytes())
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL").fetchall()
        writer.execute("UPDATE projects SET name = 'pumps'")
        writer.commit()
        writer.execute("DELETE FROM spans")
        import_sessions([path], persistence)
        writer.rollback()
    [run] = persistence.iter_agent_runs()
    assert run.get_metadata_dict()["project"] == "pumps"
    assert persistence.count_llm_usage() == 1


def test_packed_exports_are_unpacked_on_the_way(persistence: Persistence, tmp_path: Path) -> None:
    whole = (FOLDER / "langfuse" / "observations_v2" / "20260520.jsonl").read_bytes()
    path = tmp_path / "20260520.jsonl.gz"
    path.write_bytes(gzip.compress(whole))
    report = import_sessions([tmp_path], persistence)
    assert [(problem.file, problem.line) for problem in report.problems] == [(path.name, 7)]
    assert (report.runs, report.usage) == (2, 2)
    path.write_bytes(gzip.compress(whole)[:-400])
    report = import_sessions([tmp_path], persistence, source="langfuse")
    assert "was cut off, or is damaged" in report.problems[-1].what


def test_parquet_of_langfuse_has_maps(persistence: Persistence, tmp_path: Path) -> None:
    counts = {"input": 700, "input_cached_tokens": 1024, "output": 80, "total": 1804}
    row: dict[str, Any] = {
        "id": "o-1",
        "trace_id": "t-1",
        "type": "GENERATION",
        "parent_observation_id": None,
        "start_time": NINE,
        "end_time": NINE + timedelta(seconds=2),
        "provided_model_name": "gpt-5-mini",
        "usage_details": [*counts.items()],
        "cost_details": [("total", Decimal("0.000361"))],
        "session_id": "shift-8",
    }
    map_of = partial(pyarrow.map_, pyarrow.string())
    types = {
        "usage_details": map_of(pyarrow.int64()),
        "cost_details": map_of(pyarrow.decimal128(20, 12)),
    }
    fields = {name: pyarrow.array([value], types.get(name)) for name, value in row.items()}
    pyarrow.parquet.write_table(pyarrow.table(fields), tmp_path / "20260520.parquet")
    import_sessions([tmp_path], persistence)
    [usage] = persistence.iter_llm_usage()
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (1724, 80, 1024)
    assert (usage.cost_usd, usage.latency_ms) == (Decimal("0.000361"), 2000)


def test_parquet_of_langsmith_tells_parents_by_their_order(
    persistence: Persistence, tmp_path: Path
) -> None:
    rows = []
    for line in (FOLDER / "langsmith" / "runs.jsonl").read_text().splitlines():
        run = json.loads(line)
        del run["parent_run_id"]
        told = {name: json.dumps(run[name]) for name in ("extra", "inputs", "outputs")}
        times = {name: run[name] and datetime.fromisoformat(run[name]) for name in TIMES}
        kept = ("id", "name", "run_type", "trace_id", "dotted_order", "error", "tags", "status")
        counts = ("prompt_tokens", "completion_tokens", "total_cost")
        rows.append({**told, **times, **{name: run.get(name) for name in (*kept, *counts)}})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "runs.parquet")
    import_sessions([tmp_path], persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.agent_id, run.session_id, run.status) == ("mechanic", "shift-8", "completed")
    assert persistence.count_llm_usage() == 2
    [tool] = persistence.get_agent_run_events(run.run_id, "tool_call")
    assert tool.parent_span_id == "1b64098b-4ab7-43f6-afee-992304000001"


TIMES = ("start_time", "end_time")


def test_a_trace_of_phoenix_by_its_command_line(persistence: Persistence, tmp_path: Path) -> None:
    spans = json.loads((FOLDER / "phoenix" / "spans.json").read_text())["data"]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceId": "c0ffee00c0ffee00c0ffee00c0ffee00", "spans": spans}))
    report = import_sessions([path], persistence)
    assert (report.runs, report.usage) == (1, 1)


@pytest.mark.parametrize("source", ["langfuse", "langsmith", "phoenix", "mlflow", "atif"])
def test_no_words_are_kept_where_only_numbers_are_wanted(
    persistence: Persistence, source: str
) -> None:
    import_sessions([FOLDER / source], persistence, content="metrics-only")
    kept = [run.to_dict() for run in persistence.iter_agent_runs()]
    kept += [usage.to_dict() for usage in persistence.iter_llm_usage()]
    for run in persistence.iter_agent_runs():
        kept += [event.to_dict() for event in persistence.get_agent_run_events(run.run_id)]
    said = json.dumps(kept)
    words = ("pump", "Air in", "valve", "did not answer", "rope", "Twelve")
    assert [word for word in words if word in said] == []
    assert sum(usage.input_tokens or 0 for usage in persistence.iter_llm_usage()) > 1_000


# --- trouble --------------------------------------------------------------------------------------


def test_bad_rows_are_told_and_the_rest_is_there(persistence: Persistence, tmp_path: Path) -> None:
    rows = [
        observation(1),
        b'{"id": "cut o',
        b'{"id": "\xff\xfe"}',
        b"[1, 2]",
        observation(5, startTime="3026-05-20 09:00:00"),
        observation(6, usageDetails={"input": -4, "output": 10**15}),
        observation(7, costDetails={"total": "much"}),
        {"something": "else"},
    ]
    report = import_sessions([lines(tmp_path / "rows.jsonl", rows)], persistence)
    told = [(problem.line, problem.what) for problem in report.problems]
    assert [line for line, _ in told] == [2, 3, 4, 5, 6, 6, 7]
    assert told[0][1].startswith("is not JSON")
    assert told[1][1] == "is not UTF-8 text"
    assert "time that cannot be" in told[3][1]
    assert "number of tokens that cannot be" in told[4][1]
    assert "cost that cannot be" in told[6][1]
    assert report.skipped == {"rows of an unknown kind": 1}
    tokens = {usage.span_id: usage.input_tokens for usage in persistence.iter_llm_usage()}
    assert tokens == {"o-t-1-1": 10, "o-t-1-6": None, "o-t-1-7": 10}


def test_an_array_that_was_cut_off_gives_what_is_before(
    persistence: Persistence, tmp_path: Path
) -> None:
    whole = json.dumps([observation(1), 5, observation(2), observation(3)], indent=1)
    path = tmp_path / "rows.json"
    path.write_text(whole[: whole.rindex('"model"')])
    report = import_sessions([path], persistence)
    [number, end] = report.problems
    assert (number.line, number.what) == (16, "is a JSON int, not an object")
    assert end.what.startswith("is not JSON from line 31 on")
    assert persistence.count_llm_usage() == 2


def test_pages_of_an_api_may_be_longer_than_a_line(
    persistence: Persistence, tmp_path: Path
) -> None:
    rows = [observation(number, input="x" * 200_000) for number in range(100)]
    path = tmp_path / "page.json"
    path.write_text(json.dumps({"data": rows, "meta": {"page": 1}}))
    report = import_sessions([path], persistence, content="metrics-only")
    assert (report.problems, report.usage) == ((), 100)


def test_a_damaged_csv_gives_its_whole_rows(persistence: Persistence, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = (FOLDER / "langfuse" / "observations.csv").read_text()
    path.write_text(text + "only,three,fields\n")
    report = import_sessions([path], persistence)
    assert [(problem.line, problem.what) for problem in report.problems] == [
        (8, "has 3 fields, not 19")
    ]
    assert persistence.count_agent_runs() == 2


def test_damaged_parquet_and_databases_are_told(persistence: Persistence, tmp_path: Path) -> None:
    for name, source in (("spans.parquet", "phoenix"), ("phoenix.db", "phoenix")):
        path = tmp_path / name
        whole = (FOLDER / "phoenix" / name).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        report = import_sessions([path], persistence, source=source)
        assert [problem.file for problem in report.problems] == [name]
    assert persistence.count_agent_runs() == 0


def test_files_of_nobody_are_refused(persistence: Persistence, tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", [{"hello": "world"}])
    with pytest.raises(InvalidValueError, match="no sessions of a known source"):
        import_sessions([path], persistence)
    report = import_sessions([path], persistence, source="langfuse")
    assert report.skipped == {"rows of an unknown kind": 1}


def test_spans_above_one_another_in_a_circle_end(persistence: Persistence, tmp_path: Path) -> None:
    first, second = observation(1), observation(2)
    first["parentObservationId"], second["parentObservationId"] = second["id"], first["id"]
    report = import_sessions([lines(tmp_path / "rows.jsonl", [first, second])], persistence)
    assert report.runs == 1
