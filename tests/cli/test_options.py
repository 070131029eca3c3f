"""The database is chosen by options, then by the environment, then by a .env file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from curio_persistence import AgentRun, connect, export_records
from curio_persistence.capabilities.events import EventFilters
from curio_persistence.capabilities.runs import RunFilters
from curio_persistence.capabilities.usage import UsageFilters
from curio_persistence.cli.arguments.filters import add_filters
from tests.cli.program import Program

ROOT = Path(__file__).parents[2]


@pytest.fixture
def named(program: Program) -> Program:
    """Run in a folder with three databases, each with one run that has the file's name."""
    for name in ("agent_sdk", "one", "two"):
        with connect(f"sqlite:///{program.folder / name}.db") as persistence:
            persistence.create_agent_run(AgentRun("a", name))
    return program


@pytest.mark.parametrize(
    ("options", "variables", "found"),
    [
        ([], {}, "agent_sdk"),
        ([], {"DB_PATH": "one.db"}, "one"),
        ([], {"DATABASE_URL": "sqlite:///one.db"}, "one"),
        ([], {"DATABASE_URL": "sqlite:///one.db", "DB_PATH": "two.db"}, "two"),
        ([], {"CURIO_DATABASE_URL": "sqlite:///one.db", "DB_PATH": "two.db"}, "one"),
        (["--db-path", "two.db"], {"CURIO_DATABASE_URL": "sqlite:///one.db"}, "two"),
        (["--url", "sqlite:///two.db"], {"DB_TYPE": "oracle"}, "two"),
        (["--backend", "sqlite"], {}, "agent_sdk"),
        (["--backend", "sqlite"], {"DB_TYPE": "postgres", "DB_PATH": "one.db"}, "one"),
        (["--backend", "sqlite"], {"DB_HOST": "nowhere", "DB_PATH": "one.db"}, "one"),
        (["--backend", "sqlite"], {"CURIO_DATABASE_URL": "sqlite:///one.db"}, "one"),
        (["--backend", "sqlite"], {"CURIO_DATABASE_URL": "postgresql://h/d"}, "agent_sdk"),
        (["--backend", "sqlite", "--db-path", "two.db"], {"DB_PATH": "one.db"}, "two"),
    ],
)
def test_options_take_precedence_over_the_environment(
    named: Program, options: list[str], variables: dict[str, str], found: str
) -> None:
    runs = named("query", *options, **variables).json()
    assert [run["run_id"] for run in runs] == [found]


def test_a_dotenv_file_is_read(named: Program) -> None:
    (named.folder / ".env").write_text("DB_PATH=one.db\n")
    assert [run["run_id"] for run in named("query").json()] == ["one"]
    assert [run["run_id"] for run in named("query", DB_PATH="two.db").json()] == ["two"]


def test_a_dotenv_file_that_is_not_text_is_wrong_usage(named: Program) -> None:
    (named.folder / ".env").write_text("DB_PATH=one.db\n", encoding="utf-16")
    ended = named("query")
    assert ended.code == 2
    assert ended.said.endswith(".env cannot be read as UTF-8 text.\n")
    assert named("query", "--db-path", "two.db").code == 2  # It may configure redaction.


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "records", "words.jsonl", "--db-path", "out.db"],
        ["import", "records", "words.jsonl", "--url", "sqlite:///out.db"],
        ["copy", "words.db", "out.db"],
        ["copy", "words.db", "sqlite:///out.db"],
    ],
)
def test_redaction_applies_with_all_database_options(
    program: Program, arguments: list[str]
) -> None:
    with connect(f"sqlite:///{program.folder / 'words.db'}") as persistence:
        persistence.create_agent_run(AgentRun("a", "run-1", objective="mail alice@example.com"))
        export_records(persistence, program.folder / "words.jsonl")
    program(*arguments, CURIO_REDACT="all")
    with connect(f"sqlite:///{program.folder / 'out.db'}", read_only=True) as persistence:
        [run] = persistence.get_agent_runs()
        assert "alice" not in run.objective


@pytest.mark.parametrize("name", ["x%41.db", "b?.db", "c#.db"])
def test_a_copy_has_the_given_name(named: Program, name: str) -> None:
    assert named("copy", "one.db", name).code == 0
    assert name in named.files()


def test_the_postgres_backend_is_configured_by_the_environment(
    program: Program, postgres18: str, postgres_url: str, schema_name: str
) -> None:
    with connect(postgres_url) as persistence:
        persistence.create_agent_run(AgentRun("a", "run-1"))
    server = parse_dsn(postgres18)
    variables = {
        "DB_HOST": server["host"],
        "DB_PORT": server["port"],
        "DB_USER": server["user"],
        "DB_NAME": server["dbname"],
        "DB_SCHEMA": schema_name,
        "DB_PATH": "one.db",
    }
    assert len(program("query", "--backend", "postgres", **variables).json()) == 1
    assert program("query", **variables).code == 2
    assert not program.files()


def test_a_database_in_memory_is_empty(program: Program) -> None:
    assert program("query", "--backend", "memory").json() == []
    assert program("stats", "--backend", "memory").json()["total_runs"] == 0
    assert program("doctor", "--backend", "memory").code == 0
    assert program("events", "run-1", "--url", "memory://").code == 3


def test_options_may_precede_the_command(named: Program) -> None:
    assert [run["run_id"] for run in named("--db-path", "one.db", "runs").json()] == ["one"]
    assert [run["run_id"] for run in named("--url", "sqlite:///two.db", "query").json()] == ["two"]
    later = named("--db-path", "one.db", "runs", "--db-path", "two.db")
    assert [run["run_id"] for run in later.json()] == ["two"]
    assert named("--db-path", "one.db", "runs", "--url", "sqlite:///two.db").code == 2
    assert named("--backend", "sqlite", "runs", DB_PATH="one.db").json()[0]["run_id"] == "one"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["rusn"], "runs"),
        (["init"], "migrate"),
        (["upgrade"], "migrate or import curio"),
        (["runs", "--agnet", "c"], "--agent"),
        (["runs", "--db-pth=x"], "--db-path"),
        (["completion", "bahs"], "bash"),
        (["stats", "--backend", "sqlight"], "sqlite"),
    ],
    ids=str,
)
def test_a_mistyped_command_or_option_gets_a_suggestion(
    program: Program, typed: list[str], meant: str
) -> None:
    ended = program(*typed)
    assert (ended.code, ended.out) == (2, "")
    assert f"; did you mean {meant}?" in ended.said
    usage = (
        "usage: curio-persistence" if len(typed) == 1 else f"usage: curio-persistence {typed[0]} "
    )
    assert ended.said.startswith(usage)


def test_a_mistyped_status_or_level_gets_a_suggestion(program: Program, agents_db: str) -> None:
    for command, option, typed, meant in (
        ("runs", "--status", "compleeted", "completed"),
        ("events", "--level", "fatl", "fatal"),
        ("calls", "--status", "eror", "error"),
    ):
        ended = program(command, option, typed)
        assert (ended.code, ended.json()) == (0, [])
        assert ended.said == f"No record has the {option[2:]} {typed!r}; did you mean {meant}?\n"
    assert program("runs", "--status", "waiting-for-approval").said == ""
    assert "did you mean completed" in program.on_terminal("runs", "--status", "compleeted").out


def test_help_may_precede_the_command(program: Program) -> None:
    assert program("help", "runs").out == program("runs", "--help").out
    assert program("help").out == program("--help").out
    assert "did you mean runs?" in program("help", "rusn").said


def test_old_names_of_commands_are_accepted_and_not_listed(
    program: Program, agents_db: str
) -> None:
    assert program("query").json() == program("runs").json()
    said = program("calsl").said
    assert "did you mean calls?" in said
    assert not {"'query'", "'usage'"} & set(said.replace(",", " ").replace(")", " ").split())


def test_an_unrecognisable_command_gets_no_suggestion(program: Program) -> None:
    assert "did you mean" not in program("xyzzyq").said
    assert "unrecognized arguments: --zzz" in program("runs", "--zzz").said
    assert "did you mean" not in program("runs", "--zzz").said


def test_each_filter_of_runs_events_and_calls_has_an_option() -> None:
    parser = ArgumentParser()
    names = {
        name
        for kind in (RunFilters, EventFilters, UsageFilters)
        for name in kind.__annotations__.keys() - {"since", "until"}
    }
    add_filters(parser, "records", *names)  # A KeyError names one without an option.
    documented = (ROOT / "docs/queries.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}=`" not in documented] == []
