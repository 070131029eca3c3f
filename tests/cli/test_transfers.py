"""`export`, `import records` and `copy` work in scripts and on a terminal."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, connect
from tests.cli.program import Program
from tests.support.awkward import hashes


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "arrow"])
def test_an_export_can_be_imported(program: Program, recorded: str, format: str) -> None:
    code, out, said = program("export", "--url", recorded, "--output", f"all.{format}")
    assert (code, out) == (0, "")
    said_of_all = "5 runs, 5 events, 3 model calls, 2 agents."
    assert said == f"Exported to all.{format}: {said_of_all}\n"
    report = program("import", "records", f"all.{format}", "--db-path", "new.db").json()
    assert (report["ok"], report["runs"], report["events"], report["usage"]) == (True, 5, 5, 3)
    with connect(recorded) as one, connect(f"sqlite:///{program.folder}/new.db") as two:
        assert hashes(one) == hashes(two)


def test_lines_of_json_go_to_stdout(program: Program, agents_db: str) -> None:
    code, out, said = program("export", "--output", "-", "--run-id", "run-40")
    assert code == 0
    assert [json.loads(line)["kind"] for line in out.split("\n")[:-1]] == [
        "export",
        "agent",
        "run",
        *["event"] * 5,
        *["usage"] * 3,
        "end",
    ]
    assert said == "Exported: 1 runs, 5 events, 3 model calls, 1 agents.\n"


def test_one_table_of_csv_goes_to_stdout_and_several_do_not(
    program: Program, agents_db: str
) -> None:
    out = program("export", "-o", "-", "--format", "csv", "--table", "usage").out
    assert out.startswith("agent_id,run_id,provider,model,prompt,")
    code, out, said = program("export", "-o", "-", "--format", "csv")
    assert (code, out) == (2, "")
    assert "a file for each table" in said


def test_nothing_is_overwritten_without_force(program: Program, agents_db: str) -> None:
    (program.folder / "thesis.csv").write_text("years of work")
    for_one = ("export", "-o", "thesis.csv", "--table", "runs")
    code, _, said = program(*for_one)
    assert (code, "there already" in said) == (2, True)
    assert (program.folder / "thesis.csv").read_text() == "years of work"
    assert program(*for_one, "--force").code == 0
    assert program.files() == {"agent_sdk.db", "thesis.csv"}


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (["--agent", "planner"], (3, 1, 1)),
        (["--run", "run-40"], (1, 5, 3)),
        (["--session", "chat"], (1, 1, 1)),
        (["--user", "ann"], (1, 1, 1)),
        (["--until", "2026-11-20T10:35Z"], (1, 5, 3)),
        (["--table", "events", "--payload", "tool_name=search"], (0, 1, 0)),
        (["--table", "events", "--type", "note", "--type", "tool_call"], (0, 3, 0)),
        (["--table", "events", "--min-level", "warning"], (0, 1, 0)),
        (["--table", "runs", "--tag", "nightly", "--tag", "eu"], (1, 0, 0)),
        (["--table", "runs", "--any-tag", "us", "--any-tag", "eu"], (1, 0, 0)),
        (["--table", "runs", "--parent", "run-40"], (1, 0, 0)),
        (["--table", "runs", "--status", "succeeded"], (2, 0, 0)),
        (["--table", "usage", "--status", "succeeded"], (0, 0, 3)),
        (["--table", "runs", "--table", "usage", "--status", "failed"], (1, 0, 1)),
        (["--table", "runs", "--table", "usage", "--status", "succeeded"], (2, 0, 3)),
        (["--table", "usage", "--provider", "other", "--model", "small"], (0, 0, 1)),
    ],
)
def test_filters_are_those_of_the_other_commands(
    program: Program, agents_db: str, filters: list[str], numbers: tuple[int, int, int]
) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        run = AgentRun("planner", "odd", tags=["nightly", "eu"], parent_run_id="run-40")
        run.session_id, run.user_id = "chat", "ann"
        persistence.create_agent_run(run)
        persistence.append_event("odd", "planner", "odd", level="error", session_id="chat")
        persistence.log_llm_usage(AgentLLMUsage("planner", "odd", "other", "small"))
    lines = program("export", "-o", "-", *filters).lines
    counts = json.loads(lines[-1])
    assert tuple(counts.get(table, 0) for table in ("runs", "events", "usage")) == numbers


def test_a_filter_that_some_table_lacks_is_wrong_usage(program: Program, agents_db: str) -> None:
    code, _, said = program("export", "-o", "all.jsonl", "--level", "error")
    assert code == 2
    assert (
        "runs cannot be picked by level: leave it out, or choose tables (--table) that can" in said
    )
    assert program.files() == {"agent_sdk.db"}


def test_a_truncated_export_is_imported_up_to_its_end(program: Program, agents_db: str) -> None:
    program("export", "-o", "all.jsonl")
    path = program.folder / "all.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    ended = program("import", "records", "all.jsonl", "--db-path", "new.db")
    assert ended.code == 1
    report = json.loads(ended.out)
    assert (report["ok"], report["runs"], report["events"]) == (False, 5, 5)
    assert [problem["line"] for problem in report["problems"]] == [16, None]


def test_a_database_is_copied_and_later_its_new_records(
    program: Program, recorded: str, postgres_url: str
) -> None:
    report = program("copy", recorded, "copy.db").json()
    assert report == {
        "ok": True,
        "runs": 5,
        "events": 5,
        "usage": 3,
        "scores": 0,
        "approvals": 0,
        "snapshots": 0,
        "spans": 0,
        "sources": 0,
        "agents": 2,
        "sessions": 0,
        "new_runs": 5,
        "new_events": 5,
        "new_usage": 3,
        "new_scores": 0,
        "new_approvals": 0,
        "new_snapshots": 0,
        "new_spans": 0,
        "new_sources": 0,
        "new_agents": 2,
        "new_sessions": 0,
        "kept_ids": True,
        "differing": [],
        "more_differing": 0,
    }
    shown = program.on_terminal("copy", "--url", recorded, "copy.db")
    assert shown.lines == [
        "runs         5, 0 of them new",
        "events       5, 0 of them new",
        "model calls  3, 0 of them new",
        "agents       2, 0 of them new",
    ]


def test_runs_that_differ_are_reported(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder}/other.db") as other:
        other.append_event("run-40", "agent", "from elsewhere")
    code, _, said = program("copy", agents_db, "other.db")
    assert code == 1
    assert said == "Run 'run-40' is not the same in both.\n"


def test_a_source_is_named_once_and_must_exist(program: Program, agents_db: str) -> None:
    code, _, said = program("copy", "--db-path", agents_db, agents_db, "copy.db")
    assert (code, "named twice" in said) == (2, True)
    assert program("copy", "nowhere.db", "copy.db").code == 3
    assert program("copy", agents_db, agents_db).code == 2
    assert not Path(program.folder / "nowhere.db").exists()


def test_an_export_of_an_unknown_run_is_not_a_success(program: Program, agents_db: str) -> None:
    (program.folder / "old.jsonl").write_text("an older export")
    for output in ("none.jsonl", "old.jsonl", "folder.csv"):
        code, out, said = program("export", "-o", output, "--force", "--run", "run-4000")
        assert (code, out) == (3, "")
        assert "There are no records of run 'run-4000'." in said
        assert "Exported" not in said
    assert program.files() == {agents_db, "old.jsonl"}
    assert (program.folder / "old.jsonl").read_text() == "an older export"
    assert program("export", "--output", "-", "--run", "run-4000") == (3, "", said)


def test_model_calls_of_an_unknown_run_are_exported(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        persistence.log_llm_usage(AgentLLMUsage("agent", "elsewhere"))
    said = program("export", "--output", "-", "--run", "elsewhere").said
    assert said == "Exported: 0 runs, 0 events, 1 model calls.\n"
    last = program("export", "--output", "-", "--run", "last").said
    assert last == "Exported: 1 runs, 0 events, 0 model calls, 1 agents.\n"


_EXPORTED = "curio-persistence export --output -"


@pytest.mark.parametrize(
    "line",
    [
        f"{_EXPORTED} | curio-persistence import records - --db-path new.db",
        f"{_EXPORTED} | curio-persistence import records /dev/stdin --db-path new.db",
        f"curio-persistence import records <({_EXPORTED}) --db-path new.db",
        f"{_EXPORTED} > all.jsonl; curio-persistence import records - --db-path new.db < all.jsonl",
        f"{_EXPORTED} | gzip > all.jsonl.gz;"
        "curio-persistence import records all.jsonl.gz --db-path new.db",
        f"{_EXPORTED} | gzip > all.jsonl.gz;"
        "zcat all.jsonl.gz | curio-persistence import records - --db-path new.db",
    ],
)
def test_an_export_is_imported_from_a_pipe_or_compressed(
    program: Program, agents_db: str, line: str
) -> None:
    report = program.shell(line).json()
    assert (report["ok"], report["runs"], report["events"], report["usage"]) == (True, 5, 5, 3)
    folder = program.folder
    with (
        connect(f"sqlite:///{folder}/{agents_db}") as one,
        connect(f"sqlite:///{folder}/new.db") as two,
    ):
        assert hashes(one) == hashes(two)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (f"{_EXPORTED} | head -3 | {{}} records -", 1, "was cut off: its last line is missing"),
        (f"{_EXPORTED} | gzip | {{}} records -", 1, "zcat"),
        (f"{_EXPORTED} --format csv --table runs | {{}} records -", 1, "from a file"),
        (f"{_EXPORTED} | {{}} costs -", 2, "import costs reads no pipe"),
        ("{} agdd <(true)", 2, "import agdd reads no pipe"),
        ("{} records - < /dev/null", 3, "Nothing to import was found in -."),
        ("{} records - <&-", 3, "There is no - to import."),
    ],
)
def test_incomplete_input_from_a_pipe_is_reported_in_a_sentence(
    program: Program, agents_db: str, line: str, code: int, message: str
) -> None:
    line = line.format("curio-persistence import --db-path new.db")
    ended = program.shell(line + " --json")
    assert ended.code == code
    assert message in ended.out + ended.said
    assert "Traceback" not in ended.said


@pytest.fixture(scope="module")
def large_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database so large that an export takes a while."""
    path = tmp_path_factory.mktemp("large") / "large.db"
    with connect(f"sqlite:///{path}") as persistence:
        persistence.log_agent_run_events(
            AgentRunEvent("agent", "run", event_type="t", data="x" * 500) for _ in range(50_000)
        )
    return path


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_ctrl_c_removes_an_unfinished_export(program: Program, large_db: Path, format: str) -> None:
    source = str(large_db)
    with program.start("export", "-o", f"all.{format}", "--db-path", source) as it:
        # Before its first bytes are written, the interpreter may not have stored the open file yet.
        while not any(each.is_file() and each.stat().st_size for each in program.folder.rglob("*")):
            assert it.poll() is None
        found = list(program.folder.glob(".*.partial"))
        private = 0o600 if format == "jsonl" else 0o700
        assert [stat.S_IMODE(each.stat().st_mode) for each in found] == [private]
        it.send_signal(signal.SIGINT)
        assert it.communicate() == ("", "")
    assert it.returncode == 130
    assert list(program.folder.iterdir()) == []


def test_exports_are_private(program: Program, agents_db: str) -> None:
    program("export", "-o", "all.jsonl")
    program("export", "-o", "folder.csv")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in program.folder.rglob("*")
        if "agent_sdk" not in path.name
    }
    folder = {"folder.csv": 0o700}
    assert modes == dict.fromkeys(modes, 0o600) | folder
    assert modes.keys() >= {"all.jsonl", "folder.csv", "runs.csv", "manifest.json"}
