"""The server: where it listens, whom it answers, and whether it is well."""

from __future__ import annotations

import socket

import pytest

from curio_persistence import ConfigurationError, Persistence, ServerConfig, serve
from tests.support.served import served

KEY = "a-long-random-text"


def test_the_server_says_that_it_runs_and_that_its_database_answers(
    persistence: Persistence,
) -> None:
    with served(persistence) as server:
        assert server.get("/healthz").json() == {"status": "ok"}
        assert server.get("/readyz").json() == {"status": "ok"}


def test_the_server_is_not_ready_when_its_database_is_closed(persistence: Persistence) -> None:
    with served(persistence) as server:
        persistence.close()
        answer = server.get("/readyz")
        assert (answer.status, answer.json()["reason"]) == (503, "ClosedError")
        assert answer.headers["Retry-After"] == "1"
        assert server.get("/healthz").status == 200


def test_with_keys_each_request_needs_one_except_those_about_health(
    persistence: Persistence,
) -> None:
    with served(persistence, keys=("other", KEY)) as server:
        for wrong in (
            "",
            "Bearer",
            "Bearer wrong",
            f"Basic {KEY}",
            f"Bearer {KEY}x",
            "Bearer \xe9",
        ):
            answer = server.get("/nothing", Authorization=wrong)
            assert answer.status == 401, wrong
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for right in (f"Bearer {KEY}", f"bearer  {KEY}"):
            assert server.get("/nothing", Authorization=right).status == 404
        assert server.get("/healthz").status == server.get("/readyz").status == 200


def test_without_keys_only_requests_to_this_machine_are_answered(persistence: Persistence) -> None:
    with served(persistence) as server:
        for name in ("localhost", "localhost:4318", "127.0.0.1", "[::1]:4318", "x.localhost"):
            assert server.get("/nothing", Host=name).status == 404, name
        for name in ("example.com", "127.0.0.1.example.com", "192.168.0.1:4318", ""):
            assert server.get("/nothing", Host=name).status == 421, name


@pytest.mark.before_io
def test_a_host_that_others_reach_needs_keys(persistence: Persistence) -> None:
    for host in ("0.0.0.0", "::", "192.168.0.1", "example.com", ""):
        with pytest.raises(ConfigurationError, match="CURIO_SERVER_KEYS"):
            serve(persistence, ServerConfig(host=host))


@pytest.mark.before_io
def test_a_port_that_is_in_use_is_told(persistence: Persistence) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port} of 127.0.0.1 is in use"):
            serve(persistence, ServerConfig(port=port))


@pytest.mark.before_io
def test_settings_that_cannot_be_used_are_refused() -> None:
    for settings in ({"port": -1}, {"port": 65_536}, {"port": "4318"}, {"max_body_bytes": 0}):
        with pytest.raises(ConfigurationError):
            ServerConfig(**settings)  # type: ignore[arg-type]
    for key in ("", "two words", "a,b", "clé", "line\nbreak"):
        with pytest.raises(ConfigurationError, match="key"):
            ServerConfig(keys=(key,))


@pytest.mark.before_io
def test_keys_come_from_the_environment_and_are_in_no_repr() -> None:
    config = ServerConfig.from_env({"CURIO_SERVER_KEYS": f" {KEY} , other,"})
    assert config.keys == (KEY, "other")
    assert KEY not in repr(config)
    assert KEY not in repr(config.keys)
    assert ServerConfig.from_env({}) == ServerConfig()
