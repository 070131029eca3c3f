"""An index of pgvector finds the same as comparing all vectors in memory."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from curio_persistence import (
    AgentRunEvent,
    ConfigurationError,
    DatabaseConfig,
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    UnsupportedError,
    restore_backup,
)
from curio_persistence.capabilities.similarity import finding
from tests.support.backends import PostgresSchema
from tests.support.meanings import WORDS, Meanings
from tests.support.postgres import find_binaries

MODEL = "model 'of' 100 % Zürich\\"


@pytest.fixture
def persistence(postgres18: str) -> Iterator[Persistence]:
    schema = PostgresSchema(postgres18)
    with PostgresPersistence(
        dsn=postgres18, schema=schema.name, embed=Meanings(MODEL)
    ) as persistence:
        record(persistence, 400)
        yield persistence
    schema.drop()


def record(persistence: Persistence, count: int, run_id: str = "run") -> None:
    chance = random.Random(count)
    persistence.log_agent_run_events(
        AgentRunEvent(
            "agent",
            f"{run_id}{number % 7}",
            event_type="log",
            message=" ".join(chance.choices(WORDS, k=5)),
        )
        for number in range(count)
    )


@pytest.fixture
def planned(persistence: Persistence, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plans of the questions to the index."""
    plans: list[str] = []
    store = persistence._store
    read = store._read

    def explained(sql: str, params: tuple[object, ...]) -> list[tuple[object, ...]]:
        if "hnsw.ef_search" in sql:
            explain = sql.replace("SELECT id", "EXPLAIN SELECT id")
            plans.append("\n".join(line for (line,) in read(explain, params)))
        return read(sql, params)

    monkeypatch.setattr(store, "_read", explained)
    return plans


def scores(persistence: Persistence, **options: object) -> list[float]:
    hits = persistence.similar("rate limit poem", **options)  # type: ignore[arg-type]
    return [hit.score for hit in hits]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top": 3, "kind": "message"},
        {"kind": "error"},
        {"run_id": "run3"},
        {"agent_id": "agent", "top": 300},
        {"agent_id": "nobody"},
    ],
    ids=str,
)
@pytest.mark.parametrize("few", [finding._FEW, 1])
def test_it_finds_the_same(
    persistence: Persistence,
    options: dict[str, object],
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finding, "_FEW", few)
    expected = scores(persistence, **options)
    assert persistence.similarity.create_index()
    assert not persistence.similarity.create_index()
    assert scores(persistence, **options) == pytest.approx(expected, abs=0.002)


def test_the_index_is_used_and_follows_what_is_stored_and_deleted(
    persistence: Persistence, planned: list[str]
) -> None:
    assert persistence.similarity.create_index()
    assert len(scores(persistence)) == 20
    assert "agent_embeddings_near_" in planned[-1]
    assert persistence.similarity.check().message.endswith("; an index of pgvector answers")
    record(persistence, 30, "later")
    assert {hit.run_id for hit in persistence.similar("rate limit poem", run_id="later1")} == {
        "later1"
    }
    for number in range(7):
        persistence.delete_agent_run(f"run{number}")
    hits = persistence.similar("rate limit poem", top=100)
    assert len(hits) == 30
    assert all(str(hit.run_id).startswith("later") for hit in hits)
    assert persistence.similarity.delete() == 30


def test_vectors_that_are_too_long_are_compared_in_memory(postgres18: str) -> None:
    schema = PostgresSchema(postgres18)
    with PostgresPersistence(
        dsn=postgres18, schema=schema.name, embed=Meanings("long", extra=4_000)
    ) as persistence:
        record(persistence, 3)
        assert len(scores(persistence)) == 3
        with pytest.raises(
            UnsupportedError, match=r"at most 4,000 numbers; those of long have 4,008"
        ):
            persistence.similarity.create_index()
    schema.drop()


@pytest.mark.parametrize(
    "make", [InMemoryPersistence, lambda **options: SQLitePersistence(":memory:", **options)]
)
def test_other_backends_have_none(make: Callable[..., Persistence]) -> None:
    with (
        make(embed=Meanings()) as persistence,
        pytest.raises(UnsupportedError, match="On PostgreSQL with pgvector there is one"),
    ):
        persistence.similarity.create_index()


def test_a_backup_with_the_index_needs_the_extension_where_it_is_restored(
    persistence: Persistence, postgres18: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{find_binaries(18)}{os.pathsep}{os.environ['PATH']}")
    persistence.similarity.create_index()
    path = persistence.backup(tmp_path / "backup").path
    schema, name = persistence._store._schema_name, "without_vector"  # type: ignore[attr-defined]
    with closing(psycopg2.connect(postgres18)) as server, server.cursor() as cursor:
        server.autocommit = True
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            config = DatabaseConfig(
                db_type="postgres", dsn=f"{postgres18}&dbname={name}", db_schema=schema
            )
            with pytest.raises(ConfigurationError, match="CREATE EXTENSION vector"):
                restore_backup(path, config)
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def test_on_sqlite_vectors_are_found_by_their_rows_and_not_by_the_model_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SQLitePersistence(":memory:", embed=Meanings()) as persistence:
        record(persistence, 30)
        persistence.similarity.index_pending()
        store = persistence._store
        read, plans = store._read, list[str]()

        def explained(sql: str, params: tuple[object, ...]) -> list[tuple[object, ...]]:
            if "agent_embeddings" in sql and "row_id IN" in sql:
                plans.extend(str(line[-1]) for line in read(f"EXPLAIN QUERY PLAN {sql}", params))
            return read(sql, params)

        monkeypatch.setattr(store, "_read", explained)
        assert persistence.similar("poem", run_id="run3")
        persistence.append_event("run3", "agent", "log", message="a poem")
        persistence.similarity.index_pending()
        used = [line for line in plans if "agent_embeddings" in line]
        assert len(used) > 1
        assert all("(row_id=? AND table_name=?)" in line for line in used), used
