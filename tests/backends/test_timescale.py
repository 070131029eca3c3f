"""The `timescale` layout, on the server that CURIO_TEST_TIMESCALE_DSN names.

All that layouts have in common is in the conformance tests, which run there too.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    DatabaseConfig,
    PostgresPersistence,
    SchemaMismatchError,
    UnsupportedError,
    connect,
)
from tests.support.backends import TIMESCALE

NOW = datetime.now(UTC)
needs_timescale = pytest.mark.skipif(
    TIMESCALE not in os.environ, reason=f"{TIMESCALE} names no server"
)


@pytest.fixture
def url() -> Iterator[str]:
    schema = f"test_{uuid.uuid4().hex}"
    dsn = os.environ[TIMESCALE]
    yield f"{dsn}{'&' if '?' in dsn else '?'}schema={schema}"
    ask(f"DROP SCHEMA {schema} CASCADE")


def ask(statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(os.environ[TIMESCALE])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def chunks(persistence: PostgresPersistence) -> int:
    schema = persistence._store._schema_name  # type: ignore[attr-defined]
    [(count,)] = ask(
        "SELECT count(*) FROM timescaledb_information.chunks "
        f"WHERE hypertable_schema = '{schema}' AND hypertable_name = 'agent_run_events'"
    )
    return int(count)


def record(persistence: PostgresPersistence, name: str, at: datetime) -> None:
    run = AgentRun("agent", name, status="completed", created_at=at, updated_at=at)
    run.started_at = run.finished_at = at
    persistence.create_agent_run(run)
    persistence.log_agent_run_events(
        AgentRunEvent("agent", name, timestamp=at, data=n, event_id=f"{name}/{n}") for n in range(9)
    )
    persistence.log_llm_usage(AgentLLMUsage("agent", name, created_at=at))


def test_a_url_names_the_layout() -> None:
    config = DatabaseConfig.from_url("postgresql+timescale://user@host/db")
    assert (config.db_type, config.layout) == ("postgres", "timescale")


def test_it_needs_the_extension(postgres18: str, schema_name: str) -> None:
    with pytest.raises(UnsupportedError, match="CREATE EXTENSION timescaledb"):
        PostgresPersistence(dsn=postgres18, schema=schema_name, layout="timescale")
    with PostgresPersistence(dsn=postgres18, schema=schema_name) as plain:
        assert plain.count_agent_runs() == 0  # Nothing was left behind.
    with pytest.raises(SchemaMismatchError, match="has the plain layout"):
        PostgresPersistence(dsn=postgres18, schema=schema_name, layout="timescale")


@needs_timescale
def test_the_extension_is_used_where_it_is_found(url: str) -> None:
    with connect(f"{url}&layout=timed") as persistence:
        assert persistence._store.layout == "timescale"  # type: ignore[attr-defined]
        record(persistence, "old", NOW - timedelta(days=90))  # type: ignore[arg-type]
        record(persistence, "new", NOW)  # type: ignore[arg-type]
        assert chunks(persistence) == 2  # type: ignore[arg-type]
        [check] = [each for each in persistence.diagnose() if each.name == "partitions"]
        assert check.message.startswith("events in 2 chunks from ")
    with connect(url.replace("postgresql://", "postgresql+timescale://")) as persistence:
        assert persistence.count_events() == 18


@needs_timescale
def test_chunks_whose_runs_have_expired_are_dropped(url: str) -> None:
    with connect(f"{url}&layout=timescale") as persistence:
        for days in 0, 40, 80, 200:
            record(persistence, f"run-{days}", NOW - timedelta(days=days))  # type: ignore[arg-type]
        before = persistence.get_agent_run_stats()
        assert chunks(persistence) == 4  # type: ignore[arg-type]
        report = persistence.lifecycle.expire("60d")
        assert (report.runs, report.events, report.usage) == (2, 18, 2)
        assert chunks(persistence) == 2  # type: ignore[arg-type]
        assert persistence.get_agent_run_stats() == before
        record_again = AgentRunEvent("agent", "again", event_id="run-200/1")
        persistence.log_agent_run_event(record_again)
        assert persistence.count_events(run_id="again") == 1


@needs_timescale
def test_a_backup_that_would_lack_the_chunks_is_refused(url: str, tmp_path: Path) -> None:
    with connect(f"{url}&layout=timescale") as persistence:
        with pytest.raises(UnsupportedError, match="not in a pg_dump of the schema"):
            persistence.backup(tmp_path / "backups")
        assert not [*tmp_path.rglob("*.dump")]


@needs_timescale
def test_indexes_are_built_chunk_by_chunk(url: str) -> None:
    with connect(f"{url}&layout=timescale") as persistence:
        for days in 0, 40:
            record(persistence, f"run-{days}", NOW - timedelta(days=days))  # type: ignore[arg-type]
        assert persistence.create_payload_index()
        assert not persistence.create_payload_index()


@needs_timescale
@pytest.mark.skipif(
    TIMESCALE in os.environ and ask("SHOW timescaledb.license") == [("apache",)],
    reason="the Apache edition does not compress",
)
def test_compressed_chunks_are_smaller_and_read_and_written_as_before(url: str) -> None:
    with connect(f"{url}&layout=timescale") as persistence:
        old = NOW - timedelta(days=60)
        for number in range(200):
            record(persistence, f"run-{number}", old)  # type: ignore[arg-type]
        before = persistence.get_agent_run_events("run-7"), persistence.get_agent_run_stats()
        name = f"{persistence._store._schema_name}.agent_run_events"  # type: ignore[attr-defined]
        ask(f"SELECT compress_chunk(c) FROM show_chunks('{name}') c")
        [(plain, compressed)] = ask(
            "SELECT before_compression_total_bytes, after_compression_total_bytes "
            f"FROM chunk_compression_stats('{name}') WHERE compression_status = 'Compressed'"
        )
        assert plain >= 4 * compressed
        after = persistence.get_agent_run_events("run-7"), persistence.get_agent_run_stats()
        assert after == before
        record(persistence, "late", old)  # type: ignore[arg-type]
        assert persistence.log_agent_run_events(before[0]) == 0
        assert persistence.delete_agent_run("run-7")
        assert persistence.count_events() == 200 * 9
