"""Serving a team: the key of an admin, the port, and the command."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from starlette.testclient import TestClient

from curio_persistence import (
    AgentRun,
    ConfigurationError,
    ConsoleOptions,
    DatabaseConfig,
    InMemoryPersistence,
    NotFoundError,
    Persistence,
    ServerConfig,
    SQLitePersistence,
    make_app,
    serve,
    serve_console,
)
from tests.cli.program import Program
from tests.support.console import TEAM_URL, bearer, served_console

OPTIONS = ConsoleOptions(team=True, public_url=TEAM_URL)


def test_a_team_needs_the_key_of_an_admin(tmp_path: Path) -> None:
    config = DatabaseConfig(db_path=str(tmp_path / "x.db"))
    with pytest.raises(NotFoundError):
        serve_console(config, OPTIONS, port=0)
    with SQLitePersistence(tmp_path / "x.db") as persistence:
        persistence.keys.create("Bob", "write")
        revoked = persistence.keys.create("Ada", "admin").key
        persistence.keys.revoke(revoked.key_id)
    with pytest.raises(ConfigurationError, match="keys create --role admin"):
        serve_console(config, OPTIONS, port=0)


def test_other_machines_may_reach_a_team_alone(tmp_path: Path) -> None:
    config = DatabaseConfig(db_path=str(tmp_path / "x.db"))
    with pytest.raises(ConfigurationError, match="Other machines"):
        serve_console(config, ConsoleOptions(), host="0.0.0.0", port=0)
    with pytest.raises(NotFoundError):
        serve_console(config, OPTIONS, host="0.0.0.0", port=0)


@pytest.mark.slow
def test_the_command_serves_a_team(tmp_path: Path) -> None:
    program, path = Program(tmp_path), tmp_path / "x.db"
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("agent", "first", objective="Greet"))
    made = program("keys", "create", "--name", "ada", "--role", "admin", "--db-path", str(path))
    secret = made.json()["secret"]
    port = 17_410
    arguments = ("--team", "--public-url", TEAM_URL, "--db-path", str(path), "--audit-reads")
    with program.start("console", "--port", str(port), "--json", *arguments) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"] == f"{TEAM_URL}/"
        url = f"http://127.0.0.1:{port}/api/v1/runs/first"
        with urlopen(Request(url, headers=bearer(secret))) as answer:
            assert json.load(answer)["objective"] == "Greet"
        with pytest.raises(HTTPError, match="401"):
            urlopen(url)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "Stopped.\n")
    opened: Any = program("audit", "--action", "open", "--json", "--db-path", str(path)).json()
    assert [line["run_id"] for line in opened] == ["first"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--team",), "needs its public_url"),
        (("--team", "--public-url", "http://x.example"), "begins with https"),
        (("--team", "--public-url", TEAM_URL, "--allow-writes"), "no allow_writes"),
        (("--trusted-proxy", "caddy"), "trusted_proxy is an address"),
        (("--allow-origin", "*"), "allow_origin is an origin"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = Program(tmp_path)("console", *arguments)
    assert ended.code == 2
    assert told in ended.said


# --- with what programs send ----------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[tuple[TestClient, Persistence]]:
    """The whole server of a team: OpenTelemetry, metrics and the console."""
    with InMemoryPersistence() as persistence:
        app = make_app(persistence, console=OPTIONS)
        with TestClient(app, base_url=TEAM_URL, follow_redirects=False) as client:
            yield client, persistence


def test_programs_send_with_a_key_that_may_write(server: tuple[TestClient, Persistence]) -> None:
    client, persistence = server
    json_body = {"Content-Type": "application/json"}
    roles: Any = {"read": 403, "write": 200, "admin": 200}
    assert client.post("/v1/traces", content=b"{}", headers=json_body).status_code == 401
    for role, status in roles.items():
        headers = bearer(persistence.keys.create(role, role).secret) | json_body
        assert client.post("/v1/traces", content=b"{}", headers=headers).status_code == status
        assert client.get("/metrics", headers=headers).status_code == 200
        assert client.get("/runs", headers=headers).status_code == 200


def test_health_needs_no_key_and_metrics_do(server: tuple[TestClient, Persistence]) -> None:
    client, _ = server
    assert client.get("/healthz", headers={"Host": "10.0.0.7:4318"}).status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/metrics").status_code in (303, 401)
    assert client.get("/runs").headers["location"] == "/login?next=%2Fruns"


def test_a_team_has_no_keys_besides_those_of_the_database() -> None:
    with InMemoryPersistence() as persistence:
        with pytest.raises(ConfigurationError, match="no key of an admin"):
            serve(persistence, ServerConfig(port=0), console=OPTIONS)
        persistence.keys.create("Ada", "admin")
        with pytest.raises(ConfigurationError, match="leave CURIO_SERVER_KEYS"):
            serve(persistence, ServerConfig(port=0, keys=("k",)), console=OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--team",), "needs its public_url"),
        (("--public-url", TEAM_URL), "--public-url needs --team"),
        (("--audit-reads",), "--audit-reads needs --team"),
        (("--team", "--public-url", TEAM_URL, "--allow-writes"), "no allow_writes"),
        (("--team", "--public-url", TEAM_URL), "no key of an admin"),
    ],
)
def test_serve_tells_wrong_options_of_a_team(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    ended = Program(tmp_path)("serve", "--port", "0", *arguments)
    assert ended.code == 2
    assert told in ended.said


@pytest.mark.slow
def test_a_stream_ends_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curio_persistence.console.security.streams.LOOKED_UP_EVERY", 0.05)
    with InMemoryPersistence() as persistence:
        kept, revoked = (persistence.keys.create(name) for name in ("Ada", "Bob"))
        with served_console(persistence, team=True, public_url=TEAM_URL) as url:
            streams = [
                urlopen(Request(f"{url}/api/v1/stream", headers=bearer(made.secret)), timeout=10)
                for made in (kept, revoked)
            ]
            persistence.keys.revoke(revoked.key.key_id)
            assert b"first" not in streams[1].read()
            persistence.create_agent_run(AgentRun("agent", "first"))
            assert any(b"first" in line for line in streams[0])
            with pytest.raises(HTTPError, match="401"):
                urlopen(Request(f"{url}/api/v1/stream", headers=bearer(revoked.secret)))
