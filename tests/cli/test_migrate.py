"""`migrate` creates the tables, once."""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import sql

from curio_persistence import AgentRun, connect
from tests.cli.program import Program


def test_init_creates_the_tables_and_says_so(program: Program, url: str) -> None:
    code, out, said = program("migrate", "--url", url)
    assert (code, out) == (0, "")
    assert re.search(r": tables created, schema version \d+\.$", said)
    assert program("query", "--url", url).json() == []


def test_init_again_changes_nothing(program: Program, recorded: str) -> None:
    code, out, said = program("migrate", "--url", recorded)
    assert (code, out) == (0, "")
    assert re.search(r": already current, schema version \d+\.$", said)
    assert len(program("query", "--url", recorded).json()) == 5


def test_init_names_the_file_or_the_server(program: Program, postgres_url: str) -> None:
    assert program("migrate").said.startswith("The database agent_sdk.db: ")
    assert "in postgres on /" in program("migrate", "--url", postgres_url).said


@pytest.mark.parametrize("where", [("--backend", "memory"), ("--db-path", ":memory:")])
def test_init_of_a_database_in_memory_has_nothing_to_do(
    program: Program, where: tuple[str, str]
) -> None:
    code, _, said = program("migrate", *where)
    assert code == 0
    assert said.startswith("Nothing to do: a database in memory")
    assert not program.files()


def test_init_leaves_tables_of_other_programs_unchanged(program: Program) -> None:
    path = program.folder / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE agent_runs (id INTEGER, what TEXT)")
    before = path.read_bytes()
    code, _, said = program("migrate", "--db-path", "other.db")
    assert code == 1
    assert "tables that curio_persistence did not make: agent_runs" in said
    assert path.read_bytes() == before


def test_the_suggested_command_fixes_a_file_without_tables(program: Program) -> None:
    path = program.folder / "it's here" / "my agents.db"
    path.parent.mkdir()
    path.touch()
    refused = program("query", "--db-path", str(path))
    assert refused.code == 1
    mended = program.shell(_command_in(refused.said))
    assert mended.code == 0, mended
    assert program("query", "--db-path", str(path)).json() == []


def test_the_suggested_command_creates_a_missing_file(program: Program) -> None:
    refused = program("query", "--db-path", "$HOME.db")
    assert refused.code == 3
    assert program.shell(_command_in(refused.said)).code == 0
    assert program("query", "--db-path", "$HOME.db").json() == []


def test_the_suggested_command_creates_a_missing_schema(
    program: Program, postgres_url: str
) -> None:
    refused = program("query", "--url", postgres_url)
    assert refused.code == 1
    command = _command_in(refused.said)
    assert "'postgresql://…'" in command
    given = command.replace("'postgresql://…'", shlex.quote(postgres_url))
    assert program.shell(given).code == 0
    assert program("query", "--url", postgres_url).json() == []


def test_reading_a_missing_schema_does_not_create_it(
    program: Program, postgres18: str, postgres_url: str, schema_name: str
) -> None:
    for command in (["query"], ["events", "run-1"], ["stats"], ["doctor"]):
        assert program(*command, "--url", postgres_url).code == 1
    assert not _ask(postgres18, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema_name)


def test_a_role_that_may_only_read_and_write_finds_the_tables_current(
    program: Program, postgres18: str, postgres_url: str, schema_name: str
) -> None:
    with connect(postgres_url) as persistence:
        persistence.create_agent_run(AgentRun("planner", "run-1"))
    url = f"{postgres_url}&options=-c%20role%3D{schema_name}"
    try:
        _tell(postgres18, "CREATE ROLE {name}", schema_name)
        assert program("migrate", "--url", url.replace(schema_name, "pg_catalog", 1)).code == 1
        refused = program("query", "--url", url)
        assert refused.code == 1
        assert "GRANT" in refused.said
        _tell(
            postgres18,
            "GRANT USAGE ON SCHEMA {name} TO {name};"
            "GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {name}",
            schema_name,
        )
        assert "already current" in program("migrate", "--url", url).said
        assert len(program("query", "--url", url).json()) == 1
    finally:
        _tell(postgres18, "DROP OWNED BY {name}; DROP ROLE {name}", schema_name)


def _command_in(said: str) -> str:
    found = re.search(r": (curio-persistence migrate .*)$", said.strip())
    assert found, said
    return found[1]


def _ask(dsn: str, question: str, *values: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(question, values)
        return list(cursor.fetchall())


def _tell(dsn: str, statement: str, name: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(name=sql.Identifier(name)))


def test_init_builds_the_payload_index_on_request(program: Program, postgres_url: str) -> None:
    once = program("migrate", "--url", postgres_url, "--payload-index")
    again = program("migrate", "--url", postgres_url, "--payload-index")
    assert (once.code, again.code) == (0, 0)
    assert once.said.endswith("The payload index was built.\n")
    assert again.said.endswith("The payload index was there already.\n")


def test_init_of_a_file_says_that_it_has_no_payload_index(program: Program) -> None:
    code, _, said = program("migrate", "--payload-index")
    assert code == 1
    assert "has no index for payloads" in said


def test_init_without_a_search_index_is_remembered(program: Program, url: str) -> None:
    code, out, said = program("migrate", "--url", url, "--no-fts")
    assert (code, out) == (0, "")
    assert ": tables created, schema version" in said
    assert said.endswith(", without a search index.\n")
    assert program("migrate", "--url", url).said.endswith(", without a search index.\n")
    refused = program("search", "anything", "--url", url)
    assert refused.code == 1
    assert "curio-persistence index --enable" in refused.said


def test_init_accepts_the_flags_of_existing_scripts(program: Program) -> None:
    code, out, said = program("migrate", "--backend", "sqlite", "--db-path", "new.db", "--no-fts")
    assert (code, out) == (0, "")
    assert said.startswith("The database new.db: tables created")
