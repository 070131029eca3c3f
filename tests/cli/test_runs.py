"""`runs` lists runs, and so does `query`, its old name."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, Persistence, SQLitePersistence, connect
from curio_persistence.cli.arguments.run_ids import short_ids
from curio_persistence.cli.terminal.text import cells
from curio_persistence.models import FAILED_STATUSES
from tests.cli.history import LONG
from tests.cli.program import Program


def ids(runs: list[dict[str, object]]) -> list[str]:
    return [str(run["run_id"]) for run in runs]


def test_runs_are_newest_first_and_complete(
    program: Program, recorded: str, persistence: Persistence
) -> None:
    runs = program("query", "--url", recorded).json()
    assert ids(runs) == ["run-44", "run-43", "run-42", "run-41", "run-40"]
    assert [AgentRun.from_dict(run) for run in runs] == persistence.get_agent_runs()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--agent", "planner"], ["run-44", "run-41"]),
        (["--agent", "nobody"], []),
        (["--status", "running"], ["run-43"]),
        (["--status", "completed", "--limit", "1"], ["run-42"]),
        (["--status", "completed", "--offset", "1"], ["run-40"]),
        (["--status", "completed", "--agent", "planner"], []),
        (["--status", "never heard of"], []),
        (["--limit", "2"], ["run-44", "run-43"]),
        (["--limit", "2", "--offset", "2"], ["run-42", "run-41"]),
        (["--limit", "0"], []),
        (["--limit", "all", "--offset", "3"], ["run-41", "run-40"]),
        (["--status", "failed", "--status", "canceled"], ["run-44", "run-41"]),
        (["--since", "2026-11-20T10:50Z"], ["run-44", "run-43", "run-42"]),
        (["--since", "2026-11-20T10:50Z", "--until", "2026-11-20T11:00Z"], ["run-42"]),
        (["--until", "4w"], []),
        (["--session", "nobody's"], []),
        (["--parent", "run-40"], []),
        (["--limit", "all"], ["run-44", "run-43", "run-42", "run-41", "run-40"]),
    ],
)
def test_filters_exclude_other_runs(
    program: Program, recorded: str, filters: list[str], expected: list[str]
) -> None:
    assert ids(program("query", "--url", recorded, *filters).json()) == expected


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("failed", "error"), ("succeeded", "completed"), ("canceled", "cancelled")],
)
def test_the_statuses_of_other_systems_are_accepted(
    program: Program, agents_db: str, theirs: str, ours: str
) -> None:
    runs = program("query", "--status", theirs).json()
    assert {run["status"] for run in runs} == {ours}
    assert runs == program("query", "--status", ours).json()


def test_twenty_runs_are_listed_by_default(program: Program, agents_db: str) -> None:
    with closing(sqlite3.connect(program.folder / agents_db)) as database, database:
        database.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) "
            "INSERT INTO agent_runs (agent_id, run_id, created_at, updated_at) SELECT 'many', i, "
            "'2026-11-19T00:00:00.000000+00:00', '2026-11-19T00:00:00.000000+00:00' FROM n"
        )
    assert len(program("query").json()) == 20
    assert len(program("query", "--limit", "all").json()) == 25
    shown = program.on_terminal("query")
    more = re.fullmatch(r"There are more: add (--cursor \S+) for the next, .*", shown.lines[-1])
    assert more
    assert len(program("query", *more[1].split()).json()) == 5
    assert "There are more" not in program.on_terminal("query", "--agent", "many").out
    assert program("query").said.startswith("There are more: add --cursor ")


def test_one_run_is_an_object(program: Program, recorded: str, persistence: Persistence) -> None:
    run = program("query", "--url", recorded, "--run-id", "run-40").json()
    assert AgentRun.from_dict(run) == persistence.get_agent_run("run-40")


def test_a_missing_run_is_not_found(program: Program, recorded: str) -> None:
    code, out, said = program("query", "--url", recorded, "--run-id", "run-4")
    assert (code, out) == (3, "")
    assert said.endswith("has no run 'run-4'.\n")


def test_runs_are_filtered_by_parent_and_tags(program: Program, url: str) -> None:
    with connect(url) as persistence:
        for number, tags in enumerate((["eu", "live"], ["us", "live"], ["us"], None)):
            parent = "run-0" if number else None
            run = AgentRun("a", f"run-{number}", session_id=f"s{number % 2}", parent_run_id=parent)
            run.tags = tags
            persistence.create_agent_run(run)
    for filters, expected in (
        (["--tag", "live"], ["run-1", "run-0"]),
        (["--tag", "live", "--tag", "us"], ["run-1"]),
        (["--any-tag", "eu", "--any-tag", "us"], ["run-2", "run-1", "run-0"]),
        (["--tag", "live", "--any-tag", "eu"], ["run-0"]),
        (["--session", "s1"], ["run-3", "run-1"]),
        (["--parent", "run-0"], ["run-3", "run-2", "run-1"]),
    ):
        assert ids(program("query", "--url", url, *filters).json()) == expected
    shown = program.on_terminal("query", "--url", url, "--run-id", "run-0")
    assert "tags        eu, live" in shown.lines


def test_pages_follow_each_other_by_their_cursors(program: Program, recorded: str) -> None:
    command = ("query", "--url", recorded, "--limit", "2")
    seen, cursor = [], []
    while True:
        seen += ids(program(*command, *cursor).json())
        said = program.on_terminal(*command, *cursor).lines[-1]
        more = re.search(r"--cursor \S+", said)
        if not more:
            break
        cursor = more[0].split()
    assert seen == ["run-44", "run-43", "run-42", "run-41", "run-40"]
    rest = program("query", "--url", recorded, "--limit", "all", *cursor).json()
    assert ids(rest) == ["run-40"]


def test_a_cursor_works_only_for_its_query(program: Program, agents_db: str) -> None:
    said = program.on_terminal("query", "--limit", "1").lines[-1]
    cursor = said.partition("--cursor ")[2].split()[0]
    for options in (["--agent", "planner", "--cursor", cursor], ["--cursor", "made up"]):
        ended = program("query", *options)
        assert (ended.code, ended.out) == (2, "")
        assert ended.said.startswith("curio-persistence: cursor is damaged, or comes from another ")


@pytest.mark.parametrize("limit", ["3", "all"])
def test_a_line_of_json_for_each_run(program: Program, recorded: str, limit: str) -> None:
    command = ("query", "--url", recorded, "--limit", limit)
    lines = program(*command, "--jsonl").lines
    assert list(map(json.loads, lines)) == program(*command).json()
    assert program(*command, "--jsonl", "--agent", "nobody") == (0, "", "")
    assert program(*command, "--json", "--jsonl").code == 2


@pytest.mark.parametrize(
    ("option", "value"), [("--since", "yesterday"), ("--until", ""), ("--since", "7 days")]
)
def test_an_invalid_time_is_wrong_usage(
    program: Program, agents_db: str, option: str, value: str
) -> None:
    ended = program("query", option, value)
    assert (ended.code, ended.out) == (2, "")
    assert ended.said.startswith(f"curio-persistence: {option[2:]} is a datetime, ISO 8601 text")


@pytest.mark.parametrize(
    "other", [["--agent", "planner"], ["--status", "error"], ["--tag", "a"], ["--since", "1d"]]
)
def test_one_run_and_a_filter_contradict_each_other(
    program: Program, agents_db: str, other: list[str]
) -> None:
    assert program("query", "--run-id", "run-40", *other).code == 2


def test_a_person_sees_a_table(program: Program, recorded: str) -> None:
    shown = program.on_terminal("query", "--url", recorded, columns=86)
    assert shown.lines == [
        "RUN     AGENT       STATUS     STARTED             TOOK  ITER  ERROR OR OBJECTIVE",
        "run-44  planner     cancelled  2026-11-20 11:10  12.0 s     0  –",
        r"run-43  researcher  running    2026-11-20 11:00       –     0  \x1b[31mred\x1b[0m\x07…",
        "run-42  researcher  completed  2026-11-20 10:50  2h 01m    12  東京の天気を要約する",
        "run-41  planner     error      2026-11-20 10:40  850 ms     1  ValueError: no calendar",
        "run-40  researcher  completed  2026-11-20 10:30  1m 05s     3  Compare three vector d…",
    ]


def test_on_a_narrow_terminal_rows_continue_below(program: Program, agents_db: str) -> None:
    shown = program.on_terminal("query", "--agent", "researcher", "--limit", "1", columns=50)
    assert shown.lines[:4] == [
        "RUN     AGENT       STATUS   STARTED",
        "    TOOK  OBJECTIVE",
        "run-43  researcher  running  2026-11-20 11:00",
        r"       –  \x1b[31mred\x1b[0m\x07 \x9b2J and more\…",
    ]


def test_no_line_is_wider_than_the_terminal(program: Program, agents_db: str) -> None:
    for columns in (60, 80, 81, 97, 200):
        shown = program.on_terminal("query", columns=columns)
        assert max(map(cells, shown.lines)) <= columns
        assert shown.code == 0


def test_a_person_sees_one_run_in_full(program: Program, recorded: str) -> None:
    shown = program.on_terminal("query", "--url", recorded, "--run-id", "run-40")
    assert shown.lines == [
        "run         run-40",
        "agent       researcher",
        "status      completed",
        "started     2026-11-20 10:30:00",
        "finished    2026-11-20 10:31:05",
        "took        1m 05s",
        "iterations  3",
        f"objective   {LONG}",
        "output      First line",
        r"            second line \x1b[31mred\x1b[0m\x07 \x9b2J and",
        r"            more\u202e",
    ]


def test_times_on_a_terminal_are_local(program: Program, agents_db: str) -> None:
    assert "2026-11-20 19:40" in program.on_terminal("query", TZ="Asia/Tokyo").out
    assert "2026-11-20T10:40:00+00:00" in program("query", TZ="Asia/Tokyo").out


def test_failed_runs_are_those_with_an_error_or_a_timeout(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        persistence.create_agent_run(AgentRun("researcher", "slow", status="timeout"))
        persistence.log_llm_usage(AgentLLMUsage("researcher", "slow", status="timeout"))
    failed = program("runs", "--status", "failed").json()
    assert ids(failed) == ["slow", "run-41"]
    assert {run["status"] for run in failed} == {*FAILED_STATUSES}
    assert ids(program("runs", "--status", "error").json()) == ["run-41"]
    assert [call["status"] for call in program("calls", "--status", "failed").json()] == ["error"]


@pytest.mark.parametrize(
    ("since", "until"),
    [("1h", "2h"), ("1h", "1h"), ("2026-11-21", "2026-11-20T10:30Z"), ("1h", "2000-01-01")],
)
@pytest.mark.parametrize("command", ["runs", "failures", "tail", "stats"])
def test_a_window_that_ends_before_it_begins_is_refused(
    program: Program, agents_db: str, command: str, since: str, until: str
) -> None:
    code, out, said = program(command, "--since", since, "--until", until)
    assert (code, out) == (2, "")
    assert f": The window is empty: --until {until} is not later than --since {since}.\n" in said


def test_an_empty_result_is_reported_and_not_a_failure(program: Program, recorded: str) -> None:
    code, out, _ = program.on_terminal("query", "--url", recorded, "--agent", "nobody")
    assert code == 0
    assert out.endswith("has no such runs.\n")
    assert program("query", "--url", recorded, "--agent", "nobody") == (0, "[]\n", "")


def test_old_names_of_commands_work_and_help_does_not_mention_them(
    program: Program, agents_db: str
) -> None:
    assert program("query") == program("runs")
    assert program("usage") == program("calls")
    assert "query" not in program("--help").out
    assert program("query", "--help").out.startswith("usage: curio-persistence query ")


def test_real_ids_fit_eighty_columns(program: Program) -> None:
    url = f"sqlite:///{program.folder / 'agent_sdk.db'}"
    with connect(url) as persistence:
        for number in range(3):
            run_id = f"01a2283b-870{number}-7526-bef0-44470ea0792c"
            run = AgentRun("researcher", run_id, objective=LONG, status="error", total_iterations=3)
            run.error_message = "TimeoutError: no answer" if number else None
            run.started_at, run.finished_at = datetime(2026, 11, 20), datetime(2026, 11, 21)
            persistence.create_agent_run(run)
            persistence.log_llm_usage(AgentLLMUsage("researcher", run_id, model="acme-large"))
            persistence.append_event(run_id, "researcher", "tool_call", payload={"error": "no"})
    for command in ("runs", "calls", "events"):
        shown = program.on_terminal(command, columns=80)
        assert len(shown.lines) == 4, shown
        assert max(map(cells, shown.lines)) <= 80
        assert "01a2283b-8701  " in shown.out
    assert "Timeout" in program.on_terminal("runs", columns=80).out


def test_ids_of_hex_digits_are_cut_and_stay_different() -> None:
    ids = ("01a2283b-870b-7526-bef0-44470ea0792c", "01a2283b-870b-7526-bee0-44470ea0792c", "x" * 40)
    assert dict(short_ids([*ids, None])) == {
        ids[0]: ids[0][:22],
        ids[1]: ids[1][:22],
        ids[2]: ids[2],
    }
    assert dict(short_ids([ids[0]])) == {ids[0]: "01a2283b-870b"}


def test_ids_of_received_runs_are_cut(program: Program, tmp_path: Path) -> None:
    database = str(tmp_path / "received.db")
    ids = [f"{span * 16}-{'ab' * 16}" for span in "78"]
    with SQLitePersistence(database) as persistence:
        for run_id in ids:
            persistence.create_agent_run(AgentRun("guide", run_id))
    assert dict(short_ids([*ids, "ab" * 16])) == {
        ids[0]: "7777777777777",
        ids[1]: "8888888888888",
        "ab" * 16: "ababababababa",
    }
    shown = program("show", "7777777777777", "--db-path", database)
    assert shown.code == 0
    assert ids[0] in shown.out


def test_a_run_is_found_by_the_id_that_a_table_shows(program: Program, url: str) -> None:
    ids = [f"01a2283b-870{n}-7526-bef0-44470ea0792c" for n in "0ab"]
    with connect(url) as persistence:
        for run_id in ids:
            persistence.create_agent_run(AgentRun("a", run_id))
            persistence.append_event(run_id, "a", "note", message="hello")
            persistence.log_llm_usage(AgentLLMUsage("a", run_id, model=run_id[:13]))
    at = ("--url", url)
    for command in (["runs", "--run"], ["show"], ["events"], ["events", "--run"]):
        assert ids[1] in program(*command, "01a2283b-870a", *at).out
        assert ids[2] in program(*command, "last", *at).out
    assert [it["run_id"] for it in program("calls", "--run", "01a2283b-870a", *at).json()] == ids[
        1:2
    ]
    assert program("tail", "--run", "01a2283b-8700", *at).out.count(ids[0]) == 1
    assert len(program("search", "hello", "--run", "01a2283b-870b", *at).json()) == 1
    assert program("diff", "01a2283b-870a", "last", *at).json()["second"]["run_id"] == ids[2]
    unclear = program("show", "01a2283b-870", *at)
    assert unclear.code == 3
    assert f"3 runs have ids that begin with '01a2283b-870': {ids[0]}, " in unclear.said
    for unknown in ("01a2", "01a2283b-9", "01A2283B-870A", "%", "01a2283b_870a"):
        assert program("show", unknown, *at).code == 3


def test_runs_are_picked_by_user_and_metadata(program: Program, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/users.db"
    with connect(url) as persistence:
        for number, user in enumerate(["ann", "bob"]):
            run = AgentRun("agent", f"run {number}", metadata={"plan": "pro", "release": number})
            run.user_id = user
            persistence.create_agent_run(run)
            persistence.log_llm_usage(AgentLLMUsage("agent", run.run_id, model=user))
            persistence.append_event(run.run_id, "agent", user)
    assert ids(program("runs", "--url", url, "--user", "ann").json()) == ["run 0"]
    assert ids(program("runs", "--url", url, "--metadata", "release=1").json()) == ["run 1"]
    [call] = program("calls", "--url", url, "--user", "bob").json()
    assert call["model"] == "bob"
    [event] = program("events", "--url", url, "--user", "bob").json()
    assert event["event_type"] == "bob"
    both = ("--metadata", "plan=pro", "--metadata", "plan=free")
    code, _, said = program("runs", "--url", url, *both)
    assert code == 2
    assert "--metadata plan= is given twice: no record has both values." in said
