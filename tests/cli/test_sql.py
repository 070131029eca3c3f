"""`sql` runs a statement that reads."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing

import pytest

from curio_persistence import AgentRun, connect
from tests.cli.program import Program

BY_MODEL = "SELECT model, count(*) AS calls, sum(cost_usd) AS usd FROM llm_calls GROUP BY 1"
BY_MODEL_IN_ORDER = f"{BY_MODEL} ORDER BY model DESC"


def test_a_script_gets_json(program: Program, recorded: str) -> None:
    expected = [
        {"model": "acme-small", "calls": 1, "usd": None},
        {"model": "acme-large", "calls": 2, "usd": pytest.approx(0.008100000005)},
    ]
    assert program("sql", BY_MODEL_IN_ORDER, "--url", recorded).json() == expected
    lines = program("sql", BY_MODEL_IN_ORDER, "--url", recorded, "--jsonl").lines
    assert list(map(json.loads, lines)) == expected


def test_bytes_are_written_in_hexadecimal(program: Program, agents_db: str) -> None:
    query = "SELECT X'00FF' AS b"
    assert program("sql", query).json() == [{"b": "\\x00ff"}]
    assert program("sql", query, "--csv").out == "b\n\\x00ff\n"


def test_a_person_sees_a_table(program: Program, recorded: str) -> None:
    query = "SELECT run_id, status, duration_s, error_message FROM runs ORDER BY run_id LIMIT 2"
    assert program.on_terminal("sql", query, "--url", recorded).lines == [
        "run_id  status     duration_s  error_message",
        "run-40  completed        65.2  –",
        "run-41  error            0.85  ValueError: no calendar",
    ]


def test_csv_has_a_header_and_nothing_for_null(program: Program, recorded: str) -> None:
    shown = program("sql", f"{BY_MODEL} HAVING sum(cost_usd) IS NULL", "--url", recorded, "--csv")
    assert (shown.code, shown.out) == (0, "model,calls,usd\nacme-small,1,\n")


def test_csv_is_harmless_on_a_terminal_and_exact_in_a_file(
    program: Program, agents_db: str
) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        persistence.create_agent_run(AgentRun("agent", "odd", objective='\x1b[31m "a",\nb'))
    query = "SELECT objective FROM runs WHERE run_id = 'odd'"
    assert program.on_terminal("sql", query, "--csv").lines == [
        "objective",
        '"\\x1b[31m ""a"",\\nb"',
    ]
    assert list(csv.reader(program("sql", query, "--csv").out.splitlines(keepends=True))) == [
        ["objective"],
        ['\x1b[31m "a",\nb'],
    ]


def test_the_statement_may_come_from_stdin(program: Program, agents_db: str) -> None:
    shown = program.shell("curio-persistence sql - --csv <<< 'SELECT count(*) AS n FROM llm_calls'")
    assert (shown.code, shown.out) == (0, "n\n3\n")


def test_stderr_says_if_there_are_more_rows(program: Program, agents_db: str) -> None:
    shown = program("sql", "SELECT run_id FROM runs", "--limit", "1")
    assert (shown.code, shown.said) == (0, "There are more: add --limit all.\n")
    assert len(json.loads(shown.out)) == 1
    everything = program("sql", "SELECT run_id FROM runs", "--limit", "all")
    assert everything.said == ""
    assert len(everything.json()) > 1
    nothing = program.on_terminal("sql", "SELECT run_id FROM runs WHERE 1 = 0")
    assert nothing.lines == ["The query has no rows."]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", 'near "SELEC"'),
        ("SELECT nothing FROM runs", "nothing"),
        ("DELETE FROM agent_runs", "Expected is one statement, which only reads."),
        ("SELECT 1 FROM run", "There are the views runs, llm_calls, tool_calls, events."),
        ("", "Expected is one statement, which only reads."),
    ],
)
def test_a_statement_that_the_database_refuses_is_wrong_usage(
    program: Program, recorded: str, query: str, said: str
) -> None:
    ended = program("sql", query, "--url", recorded)
    assert (ended.code, ended.out) == (2, "")
    assert "refused the query: " in ended.said
    assert said in ended.said
    assert len(ended.said.splitlines()) == 1


def test_a_missing_database_is_not_created(program: Program) -> None:
    assert program("sql", "SELECT 1").code == 3
    assert program.files() == set()
    ended = program("sql", "SELECT 1", "--url", "memory://")
    assert ended.code == 1
    assert "does not understand SQL" in ended.said


def test_a_table_of_another_program_takes_precedence_over_a_view(program: Program) -> None:
    with closing(sqlite3.connect(program.folder / "agent_sdk.db")) as connection:
        connection.execute("CREATE TABLE runs (what TEXT)")
        connection.execute("INSERT INTO runs VALUES ('theirs')")
        connection.commit()
    assert program("migrate").code == 0
    assert program("sql", "SELECT * FROM runs").json() == [{"what": "theirs"}]
    assert program("sql", "SELECT * FROM llm_calls").json() == []
