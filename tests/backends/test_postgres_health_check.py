"""The health check of a PostgreSQL server. It reads, and changes nothing."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

import psycopg2
import pytest

from curio_persistence import AgentRun, HealthCheck, PostgresPersistence
from curio_persistence.backends.postgres.health import Server, TableSize, space
from curio_persistence.backends.sql import health
from tests.backends.conftest import Ask, Open

SERVER = Server("18.1", 18, "UTF8", places=90)


def checks(persistence: PostgresPersistence, *, deep: bool = False) -> dict[str, HealthCheck]:
    return {check.name: check for check in persistence.diagnose(deep=deep)}


def test_a_healthy_server_passes_the_health_check(open_postgres: Open) -> None:
    found = checks(open_postgres())
    assert list(found) == [
        "engine",
        "schema",
        "encoding",
        "checksums",
        "pool",
        "space",
        "indexes",
        "views",
        "orphans",
        "search",
        "similar",
        "runs",
        "alerts",
        "chains",
        "retention",
    ]
    assert {found[check].level for check in found if check != "engine"} == {"ok"}
    assert found["space"].message.endswith(" MB, with 0 dead rows")


def test_a_read_only_persistence_gets_the_same_report(open_postgres: Open) -> None:
    names = list(checks(open_postgres(), deep=True))
    assert names[names.index("orphans") + 1] == "texts"
    assert list(checks(open_postgres(read_only=True), deep=True)) == names


def test_it_reports_the_number_of_connections_in_use(open_postgres: Open) -> None:
    persistence = open_postgres(max_connections=7)
    persistence.health_check()
    assert "0 connections in use, 1 idle, at most 7" in checks(persistence)["pool"].message
    with persistence.transaction():
        assert "1 connections in use, 0 idle, at most 7" in checks(persistence)["pool"].message


@pytest.mark.parametrize(
    ("places", "in_use", "idle", "level"),
    [
        (9, 0, 1, "ok"),
        (8, 0, 1, "warning"),
        (8, 1, 1, "ok"),
        (0, 7, 3, "ok"),
        (-2, 0, 1, "warning"),
    ],
)
def test_it_detects_that_the_server_has_too_few_connections_for_the_pool(
    places: int, in_use: int, idle: int, level: str
) -> None:
    check = SERVER._replace(places=places).pool(0.2, in_use, idle, most=10)
    assert check.level == level
    assert ("DB_MAX_CONNECTIONS" in check.advice) == (level == "warning")


def test_the_reported_free_connections_are_those_the_server_accepts(
    open_postgres: Open, ask: Ask
) -> None:
    [(most,)] = ask("SELECT current_setting('max_connections')::int")
    said = checks(open_postgres())["pool"].message
    places = int(said.partition("has room for ")[2].partition(" ")[0])
    assert 0 < places < most


@pytest.mark.parametrize(
    ("major", "today", "level"),
    [
        (9, date(2026, 1, 1), "warning"),
        (13, date(2026, 1, 1), "warning"),
        (14, date(2026, 11, 12), "ok"),
        (14, date(2026, 11, 13), "warning"),
        (18, date(2030, 11, 14), "ok"),
        (18, date(2030, 11, 15), "warning"),
        (19, date(2031, 11, 13), "ok"),
    ],
)
def test_it_knows_when_a_version_gets_its_last_fixes(major: int, today: date, level: str) -> None:
    check = SERVER._replace(major=major, version=f"{major}.3").engine(today)
    assert check.level == level
    assert f"PostgreSQL {major}.3" in check.message
    assert ("pg_upgrade" in check.advice) == (level == "warning")


@pytest.mark.parametrize(
    ("live", "dead", "level"),
    [(0, 0, "ok"), (10, 49_999, "ok"), (100_000, 50_000, "warning"), (100_001, 50_000, "ok")],
)
def test_it_detects_tables_that_autovacuum_does_not_finish(
    live: int, dead: int, level: str
) -> None:
    tables = [TableSize("agent_runs", 8192, 10, 1), TableSize("t", 10**8, live, dead)]
    check = space(tables, '"s"')
    assert (check.level, check.advice) == (
        level,
        'With psql: VACUUM (ANALYZE) "s"."t"' if level == "warning" else "",
    )


def test_it_counts_dead_rows(open_postgres: Open, ask: Ask, schema_name: str) -> None:
    persistence = open_postgres()
    ask(f"ALTER TABLE {schema_name}.agent_runs SET (autovacuum_enabled = off)")
    persistence.create_agent_runs(AgentRun("agent", f"run {number}") for number in range(30))
    ask(f"UPDATE {schema_name}.agent_runs SET agent_name = 'another'")
    ask("SELECT pg_stat_force_next_flush()")
    ask("SELECT 1")
    assert "30 dead rows" in checks(persistence)["space"].message


def test_it_detects_events_without_their_run(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    persistence = open_postgres()
    persistence.append_event("gone", "agent", "note")
    ask(
        "BEGIN; SET LOCAL session_replication_role = replica; "
        f"DELETE FROM {schema_name}.agent_runs; COMMIT"
    )
    assert checks(persistence)["orphans"].level == "warning"
    monkeypatch.setattr(health, "SMALL", 0)
    assert checks(persistence)["orphans"].message.startswith("not looked at")
    check = checks(persistence, deep=True)["orphans"]
    assert check.message.startswith("1 events are of runs that do not exist, gone for one")


def test_it_detects_invalid_and_missing_indexes(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence = open_postgres()
    persistence.create_agent_runs(AgentRun("agent", run) for run in "ab")
    with suppress(psycopg2.errors.UniqueViolation):
        ask(f"CREATE UNIQUE INDEX CONCURRENTLY twice ON {schema_name}.agent_runs (agent_id)")
    check = checks(persistence)["indexes"]
    assert check.level == "warning"
    name = f'"{schema_name}"."twice"'
    assert f"invalid: {name};" in check.message
    persistence.delete_agent_run("a")
    ask(check.advice.removeprefix("With psql: "))
    assert checks(persistence)["indexes"] == ("indexes", "ok", "all there", "")
    ask(f"DROP INDEX {schema_name}.agent_runs_by_time")
    check = checks(persistence)["indexes"]
    assert check.message.startswith("missing: agent_runs_by_time;")
    assert "schema/postgres/" in check.advice


def test_damaged_pages_that_the_server_detected_are_an_error() -> None:
    assert SERVER.checksums().level == "ok"
    damaged = SERVER._replace(failures=3).checksums()
    assert damaged.level == "error"
    assert damaged.message == "3 damaged pages were read in this cluster"


def test_a_server_without_checksums_is_reported(open_postgres: Open, ask: Ask) -> None:
    on = ask("SELECT current_setting('data_checksums')") == [("on",)]
    message = checks(open_postgres())["checksums"].message
    assert message == SERVER._replace(has_checksums=on).checksums().message
    assert SERVER._replace(has_checksums=False).checksums().message.startswith("off: ")
