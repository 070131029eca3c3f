"""What breaks under the console: locks, files that are replaced or deleted, bodies that end."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from curio_persistence import (
    AgentRun,
    ConsoleOptions,
    DatabaseConfig,
    InMemoryPersistence,
    SQLitePersistence,
)
from curio_persistence.console import site
from curio_persistence.console.app import app_of, make_site
from curio_persistence.console.running.opening import Opening
from curio_persistence.console.site import MOST_FORM_BYTES
from tests.support.console import SAME_ORIGIN, bearer, client_of, log_in, team_client


@pytest.mark.slow
def test_a_lock_of_another_program_stops_no_reader_and_no_writer_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "_LONGEST", 0.5)
    with SQLitePersistence(tmp_path / "a.db") as persistence:
        secret = persistence.keys.create("Ada", "admin").secret
        client = team_client(persistence)
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begin = time.monotonic()
            assert client.get("/runs", headers=bearer(secret)).status_code == 200
            assert log_in(client, secret).status_code == 503
            gone = client.delete("/api/v1/runs/r", headers=bearer(secret))
            assert (gone.status_code, gone.json()["title"]) == (503, "The database is busy")
            assert time.monotonic() - begin < 5


def test_a_file_that_is_replaced_or_deleted_is_not_shown_for_ever(tmp_path: Path) -> None:
    path, later = tmp_path / "a.db", tmp_path / "b.db"
    for file, run_id in ((path, "before"), (later, "after")):
        with SQLitePersistence(file) as persistence:
            persistence.create_agent_run(AgentRun("agent", run_id))
    with closing(Opening(DatabaseConfig(db_path=str(path)), read_only=True)) as opening:
        client = TestClient(app_of(make_site(opening, ConsoleOptions())), "http://localhost")
        assert client.get("/api/v1/runs").json()["items"][0]["run_id"] == "before"
        later.replace(path)
        assert client.get("/api/v1/runs").json()["items"][0]["run_id"] == "after"
        path.unlink()
        for page in ("/runs", "/health"):
            assert "no database yet" in client.get(page).text


def test_a_file_that_is_gone_is_told_by_the_health_of_a_server(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "a.db") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        (tmp_path / "a.db").unlink()
        assert client_of(persistence).get("/health").status_code in (200, 503)


def test_a_body_that_is_too_large_has_its_own_status() -> None:
    with InMemoryPersistence() as persistence:
        client = client_of(persistence, allow_writes=True)
        too_large = b"theme=" + b"x" * MOST_FORM_BYTES
        assert (
            client.post("/preferences", content=too_large, headers=SAME_ORIGIN).status_code == 413
        )
