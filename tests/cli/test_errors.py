"""An error is one line on stderr and an exit code, and changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from curio_persistence import connect
from tests.cli.program import Ended, Program
from tests.support.postgres import PostgresServer

READING = (["query"], ["query", "--run-id", "run-1"], ["events", "run-1"], ["usage"], ["stats"])


def assert_one_line(ended: Ended, code: int, *parts: str) -> None:
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.said.startswith("curio-persistence: ")
    assert ended.said.count("\n") == 1, ended.said
    for part in parts:
        assert part in ended.said


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_mistyped_file_is_not_found_and_not_created(program: Program, command: list[str]) -> None:
    ended = program(*command, "--db-path", "typo.db")
    assert_one_line(ended, 3, "typo.db", "curio-persistence migrate --db-path typo.db")
    assert not program.files()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (["--url", "mysql://root:secret@host/db"], "Not a database URL: mysql://…"),
        (["--url", ""], "Not a database URL"),
        (["--url", "agents.db"], "Not a database URL"),
        (["--url", "sqlite:///a.db?mode=ro"], "no parameters"),
        (["--url", "postgresql://me:secret@[/db"], "libpq"),
        (["--url", "postgresql:///?sslmode=often&password=secret"], "setting is wrong"),
        (["--url", "sqlite:///a.db", "--db-path", "b.db"], "--url cannot be combined with"),
        (["--url", "sqlite:///a.db", "--backend", "sqlite"], "--url cannot be combined with"),
        (["--db-path", "a.db", "--backend", "postgres"], "drop --backend postgres"),
        (["--db-path", "."], "is a folder"),
        (["--db-path", ":memory:"], "empty"),
        (["--db-path", "nowhere/a.db"], "does not exist; create it first"),
    ],
)
def test_a_wrong_database_option_is_wrong_usage(
    program: Program, where: list[str], said: str
) -> None:
    ended = program("query", *where)
    assert_one_line(ended, 2, said)
    assert "secret" not in ended.said
    assert not program.files()


@pytest.mark.parametrize(
    "variables",
    [
        {"DB_TYPE": "oracle"},
        {"DB_PATH": "a.db", "DB_HOST": "localhost"},
        {"DB_TYPE": "postgres", "DB_PORT": "secret"},
        {"CURIO_DATABASE_URL": "secret"},
        {"CURIO_DATABASE_URL": "mysql://me:secret@host/db"},
    ],
    ids=lambda variables: " ".join(variables),
)
def test_a_wrong_variable_is_wrong_usage(program: Program, variables: dict[str, str]) -> None:
    ended = program("stats", **variables)
    assert ended.code == 2
    assert ended.said.splitlines()[-1].startswith("curio-persistence: ")
    assert not program.files()


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["query", "--limit", "-1"],
        ["query", "--limit", "many"],
        ["query", "--offset", "-1"],
        ["query", "--lim", "1"],
        ["query", "--backend", "oracle"],
        ["query", "agents.db"],
        ["events", "run-1", "--limit", "-1"],
        ["usage", "run-1"],
    ],
    ids=" ".join,
)
def test_an_unknown_command_is_wrong_usage(program: Program, arguments: list[str]) -> None:
    ended = program(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.said.startswith("usage: curio-persistence ")


def test_no_command_shows_the_help(program: Program) -> None:
    assert program() == (2, "", program("--help").out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "--run-id", "r" * 256],
        ["query", "--agent", "a" * 256],
        ["query", "--agent", ""],
        ["query", "--status", "s" * 51],
        ["query", "--limit", str(2**63)],
        ["query", "--offset", str(2**63)],
        ["events", "r" * 256],
        ["events", ""],
        ["stats", "--agent", "a" * 256],
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_an_invalid_value_is_wrong_usage(
    program: Program, recorded: str, arguments: list[str]
) -> None:
    assert_one_line(program(*arguments, "--url", recorded), 2)


def test_a_file_that_is_not_a_database_is_damaged(program: Program) -> None:
    (program.folder / "notes.txt").write_text("Not a database, whatever they say. " * 100)
    for command in (*READING, ["migrate"]):
        assert_one_line(program(*command, "--db-path", "notes.txt"), 5, "notes.txt is damaged")
    assert program.files() == {"notes.txt"}


def test_a_damaged_database_exits_with_the_code_for_damage(
    program: Program, agents_db: str
) -> None:
    damage(program.folder / agents_db, "agent_runs")
    assert_one_line(program("query"), 5, "malformed")


def damage(path: Path, tree: str) -> None:
    """Overwrite the root page of a table or an index."""
    with closing(sqlite3.connect(path)) as database:
        [(page,)] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (tree,))
        [(size,)] = database.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(b"\xff" * 200)


def test_an_unreachable_server_is_unavailable(program: Program) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/agents"
    for command in (*READING, ["migrate"]):
        ended = program(*command, "--url", url)
        assert_one_line(ended, 4, "cannot be reached", "127.0.0.1")
        assert "secret" not in ended.said


def test_a_missing_database_of_a_server_is_not_found(program: Program, postgres18: str) -> None:
    settings = parse_dsn(postgres18)
    del settings["dbname"]
    url = f"postgresql:///unheard_of?{urlencode(settings)}"
    for command in (*READING, ["migrate"], ["tail", "-f"]):
        ended = program(*command, "--url", url)
        assert_one_line(ended, 3, '"unheard_of" does not exist', "Create the database")
    assert program("doctor", "--url", url).code == 3


def test_a_locked_table_is_busy(
    program: Program, postgres18: str, postgres_url: str, schema_name: str
) -> None:
    connect(postgres_url).close()
    with closing(psycopg2.connect(postgres18)) as other, other.cursor() as cursor:
        cursor.execute(f'LOCK TABLE "{schema_name}".agent_runs')
        ended = program("query", "--url", f"{postgres_url}&options=-c%20lock_timeout%3D100")
    assert_one_line(ended, 4, "lock timeout", "try again")


def test_a_wrong_password_is_refused_and_not_shown(
    program: Program, private_postgres: PostgresServer
) -> None:
    with server_that_asks_for_passwords(private_postgres) as place:
        for url in (
            f"postgresql://me:open-sesame@/postgres?{place}",
            f"postgresql:///postgres?user=me&password=open-sesame&{place}",
        ):
            ended = program("query", "--url", url)
            assert_one_line(ended, 1, "refused the login", "Check user and password")
            assert "sesame" not in ended.said
        variables = {"DB_TYPE": "postgres", "DB_USER": "me", "DB_PASSWORD": "open-sesame"}
        ended = program("doctor", DB_HOST=str(private_postgres.directory), **variables)
        assert ended.code == 1
        assert "refused the login" in ended.out
        assert "sesame" not in ended.out + ended.said


@contextmanager
def server_that_asks_for_passwords(server: PostgresServer) -> Iterator[str]:
    with closing(psycopg2.connect(server.dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CREATE ROLE me LOGIN PASSWORD 'the right one'")
        cursor.execute("SHOW hba_file")
        [(path,)] = cursor.fetchall()
        Path(path).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        cursor.execute("SELECT pg_reload_conf()")
        yield f"host={server.directory}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "postgresql://me:open-sesame@host/db"],
        ["query", "postgresql://me:open@sesame@host/db"],
        ["query", "--backend", "postgresql://me:open-sesame@host/db"],
        ["query", "--limit", "postgresql:///db?user=me&password=open-sesame"],
        ["postgresql://me:open-sesame@host/db"],
        ["events", "postgresql://me:open-sesame@host/db"],
        ["query", "--db-path", "postgresql://me:open-sesame@host/db"],
        ["doctor", "--db-path", "postgresql://me:open-sesame@host/db"],
    ],
    ids=" ".join,
)
def test_a_password_in_the_wrong_place_is_not_shown(
    program: Program, agents_db: str, arguments: list[str]
) -> None:
    ended = program(*arguments)
    assert ended.code != 0
    assert "sesame" not in ended.out + ended.said


def test_a_full_disk_ends_the_output_with_an_error(program: Program, agents_db: str) -> None:
    ended = program.shell("curio-persistence query > /dev/full")
    assert_one_line(ended, 1, "No space left on device")


def test_a_closed_output_is_not_an_error(program: Program, agents_db: str) -> None:
    assert program.shell("curio-persistence query >&-") == (0, "", "")


def test_a_closed_pipe_ends_the_output_quietly(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        run = persistence.get_agent_runs(limit=1)[0]
        run.additional_context = "long " * 100_000
        persistence.update_agent_run(run.run_id, run)
    ended = program.shell("curio-persistence query | head -1; echo ${PIPESTATUS[0]}")
    assert ended == (0, "[\n141\n", "")
    ended = program.shell("curio-persistence query --help | true; echo ${PIPESTATUS[0]}")
    assert ended.said == ""


def test_nothing_is_left_beside_a_database_that_was_only_read(
    program: Program, agents_db: str
) -> None:
    before = program.files()
    for command in (*READING, ["doctor"]):
        program(*command)
    assert program.files() == before == {agents_db}


def test_a_copy_in_a_folder_of_its_own_can_be_read(program: Program, agents_db: str) -> None:
    (program.folder / "copies").mkdir()
    shutil.copy(program.folder / agents_db, program.folder / "copies" / "a copy?.db")
    assert len(program("query", "--db-path", "copies/a copy?.db").json()) == 5
