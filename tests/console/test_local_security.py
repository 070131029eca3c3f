"""The console of one machine: hosts, the token, pages of other sites, headers, and secrets."""

from __future__ import annotations

import logging

import pytest
from starlette.testclient import TestClient

from curio_persistence import ConsoleOptions, InMemoryPersistence, Persistence, create_app
from tests.support.console import SECURE_HEADERS, AsServed, client_of

TOKEN = "a-token-that-nobody-guesses"
OWN_HOSTS = (
    "127.0.0.1",
    "127.0.0.1:7410",
    "localhost:7410",
    "LOCALHOST",
    "[::1]:7410",
    "127.9.9.9",
)
OTHER_HOSTS = (
    *("evil.example", "127.0.0.1.evil.example", "evil.example:7410", "localhost.evil.example"),
    *(
        "",
        "169.254.169.254",
        "0.0.0.0",
        "user@127.0.0.1",
        "127.0.0.1/x",
        "[::1",
        "192.168.0.2:7410",
    ),
)


@pytest.fixture(scope="module")
def locked(history: Persistence) -> TestClient:
    """The console with a token."""
    return client_of(history, token=TOKEN)


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_a_request_that_names_another_host_is_refused(console: TestClient, host: str) -> None:
    for path in ("/runs", "/static/0/theme.js", "/api/v1/runs", "/nowhere"):
        answer = console.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert SECURE_HEADERS.items() <= dict(answer.headers).items()


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_a_request_that_names_this_machine_is_answered(console: TestClient, host: str) -> None:
    assert console.get("/runs", headers={"host": host}).status_code == 200


def test_the_public_url_is_a_host_of_its_own(history: Persistence) -> None:
    client = client_of(history, public_url="https://curio.example.com")
    assert client.get("/runs", headers={"host": "curio.example.com"}).status_code == 200
    assert client.get("/runs", headers={"host": "curio.example.org"}).status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({"origin": "http://127.0.0.1"}, 303),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({}, 403),
        ({"authorization": "Bearer any"}, 303),
    ],
)
def test_forms_of_other_sites_are_refused(
    console: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = console.post("/preferences", headers=headers, follow_redirects=False)
    assert answer.status_code == status


def test_the_token_of_the_url_becomes_a_cookie_and_leaves_the_url(history: Persistence) -> None:
    client = client_of(history, token=TOKEN)
    assert client.get("/runs").status_code == 401
    answer = client.get(f"/runs?status=error&token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?status=error")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("curio_token_80=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/runs").status_code == 200


@pytest.mark.parametrize(
    ("opened", "base_path", "location"),
    [
        ("/curio/runs", "/curio", "/curio/runs"),
        ("/runs", "/curio", "/curio/runs"),
        ("/runs/a%252Fb", "", "/runs/a%252Fb"),
        ("//evil.example", "", "/"),
        ("/%2Fevil.example", "", "/"),
    ],
)
def test_without_the_token_the_url_leads_to_the_same_page(
    history: Persistence, opened: str, base_path: str, location: str
) -> None:
    app = AsServed(create_app(history, ConsoleOptions(token=TOKEN, base_path=base_path)))
    client = TestClient(app, "http://localhost", follow_redirects=False)
    answer = client.get(f"http://localhost{opened}?token={TOKEN}")
    assert answer.headers["location"] == location
    assert f"Path={base_path}/;" in answer.headers["set-cookie"]


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ünïcode"])
def test_another_token_is_refused(locked: TestClient, given: str) -> None:
    assert locked.get("/runs", params={"token": given}).status_code == 401
    bearer = {"authorization": f"Bearer {given}".encode()}
    assert locked.get("/runs", headers=bearer).status_code == 401


def test_programs_send_the_token_as_bearer(locked: TestClient) -> None:
    answer = locked.get("/runs", headers={"authorization": f"bearer {TOKEN}"})
    assert answer.status_code == 200
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "path", ["/runs", "/nowhere", "/runs?cursor=x", "/static/0/none.js", "/static/0/..%2Fbase.css"]
)
def test_every_answer_has_the_headers(console: TestClient, path: str) -> None:
    assert SECURE_HEADERS.items() <= dict(console.get(path).headers).items()
    assert console.get(path).headers["cache-control"] == "no-store"


def test_readers_change_nothing_unless_they_may(history: Persistence) -> None:
    assert "read-only" in client_of(history).get("/runs").text
    assert "read-only" not in client_of(history, allow_writes=True).get("/runs").text


class Leaking(InMemoryPersistence):
    """A persistence whose errors and words have what nobody may see."""

    def query_agent_runs(self, **_: object) -> object:  # type: ignore[override]
        raise RuntimeError("postgresql://me:s3cret@db/x SELECT 1 /home/me/agent.db")


def test_an_error_nobody_expected_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = client_of(Leaking(), token=TOKEN).get(
        "/runs", headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status_code == 500
    assert SECURE_HEADERS.items() <= dict(answer.headers).items()
    for word in ("s3cret", "SELECT", "agent.db", "/home", TOKEN, "Traceback"):
        assert word not in answer.text
        assert word not in caplog.text
    assert "RuntimeError at" in caplog.text


def test_the_way_back_stays_in_the_console(console: TestClient) -> None:
    own = {"sec-fetch-site": "same-origin"}
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"):
        form = {"back": back, "theme": "dark"}
        answer = console.post("/preferences", data=form, headers=own, follow_redirects=False)
        assert answer.headers["location"] == "/"
