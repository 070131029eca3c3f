"""One server has pages, API, OpenTelemetry, metrics and health on one port, each with its door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from curio_persistence import (
    AgentRun,
    ConsoleOptions,
    InMemoryPersistence,
    Persistence,
    ServerConfig,
    make_app,
)
from curio_persistence.console.http.paths import encoded_id
from tests.support.served import served

TOKEN, KEY = "a-token", "a-long-random-text"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TRACES = {"resourceSpans": []}
OF_PEOPLE = ("/runs", "/api/v1/runs", "/api/v1/openapi.json", "/static/0/console.css")


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        with opened.record_run(agent_id="guide", run_id="run-1"):
            pass
        yield opened


def client_of(persistence: Persistence, **settings: Any) -> TestClient:
    keys = settings.pop("keys", ())
    app = make_app(persistence, ServerConfig(keys=keys), ConsoleOptions(**settings))
    return TestClient(
        app,
        base_url="http://localhost:4318",
        raise_server_exceptions=False,
        follow_redirects=False,
    )


def test_pages_and_the_api_need_the_token(persistence: Persistence) -> None:
    client = client_of(persistence, token=TOKEN)
    for path in OF_PEOPLE:
        refused = client.get(path)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), path
        assert client.get(path, headers={"Authorization": "Bearer other"}).status_code == 401
    assert client.get("/api/v1/runs").headers["content-type"] == "application/problem+json"
    assert client.get("/api/v1/runs", headers=BEARER).status_code == 200
    assert client.get("/runs", headers=BEARER).status_code == 200


def test_the_token_of_the_printed_url_becomes_a_cookie(persistence: Persistence) -> None:
    client = client_of(persistence, token=TOKEN)
    opened = client.get("/runs", params={"token": TOKEN, "status": "error"})
    assert (opened.status_code, opened.headers["location"]) == (303, "/runs?status=error")
    assert client.get("/runs").status_code == 200
    assert client.get("/api/v1/runs").status_code == 200


def test_senders_and_prometheus_need_no_token_on_this_machine(persistence: Persistence) -> None:
    with client_of(persistence, token=TOKEN) as client:
        assert client.post("/v1/traces", json=TRACES).status_code == 200
        assert "curio_runs" in client.get("/metrics").text
        assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}


def test_other_names_of_this_machine_reach_its_health_only(persistence: Persistence) -> None:
    with client_of(persistence, token=TOKEN) as client:
        elsewhere = {**BEARER, "Host": "example.com"}
        for path in (*OF_PEOPLE, "/metrics"):
            assert client.get(path, headers=elsewhere).status_code == 421, path
        assert client.post("/v1/traces", json=TRACES, headers=elsewhere).status_code == 421
        assert client.get("/healthz", headers=elsewhere).status_code == 200


def test_with_keys_everything_but_health_needs_one_under_any_name(
    persistence: Persistence,
) -> None:
    with client_of(persistence, keys=("other", KEY)) as client:
        known = {"Authorization": f"Bearer {KEY}", "Host": "curio.example.com"}
        for path in ("/runs", "/api/v1/runs", "/metrics"):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers=known).status_code == 200, path
        assert client.post("/v1/traces", json=TRACES).status_code == 401
        assert client.post("/v1/traces", json=TRACES, headers=known).status_code == 200
        assert client.get("/runs", params={"token": KEY}).status_code == 303
        assert client.get("/runs").status_code == 200, "a browser has it as a cookie now"


def test_who_has_the_token_may_send_and_only_with_leave_delete(persistence: Persistence) -> None:
    event = [{"agent_id": "guide", "run_id": "run-1", "event_type": "log"}]
    sending = client_of(persistence, token=TOKEN)
    assert sending.post("/api/v1/events", json=event, headers=BEARER).json()["stored"] == 1
    assert sending.delete("/api/v1/runs/run-1", headers=BEARER).status_code == 403
    deleting = client_of(persistence, token=TOKEN, allow_writes=True)
    assert deleting.delete("/api/v1/runs/run-1", headers=BEARER).status_code == 204


def test_ids_arrive_over_a_real_socket_as_they_are(persistence: Persistence) -> None:
    idents = ("a/b", "..", ".", "100%", "a%2Fb", "é😀", "\u202e", " ", "?x=1#y", "a//b", "x" * 255)
    for ident in idents:
        persistence.create_agent_run(AgentRun("guide", ident))
    with served(persistence) as server:
        for ident in idents:
            answer = server.get(f"/api/v1/runs/{encoded_id(ident)}")
            assert answer.json()["run_id"] == ident
            assert server.get(f"/runs/{encoded_id(ident)}").status == 200


def test_a_page_of_another_site_changes_nothing(persistence: Persistence) -> None:
    client = client_of(persistence, token=TOKEN, allow_writes=True)
    client.get("/runs", params={"token": TOKEN})
    for site in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.delete("/api/v1/runs/run-1", headers=site).status_code == 403
    assert persistence.get_agent_run("run-1") is not None


def test_a_path_that_is_not_there_is_told_in_the_form_of_its_readers(
    persistence: Persistence,
) -> None:
    client = client_of(persistence)
    for path, kind in (("/nothing", "text/html"), ("/v1/nothing", "application/problem+json")):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith(kind)
