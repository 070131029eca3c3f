"""Every route of the console, of one person and of a team: who gets an answer, and what of."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

import curio_persistence.errors
from curio_persistence import (
    ConsoleOptions,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    PersistenceError,
    SchemaMismatchError,
)
from curio_persistence.console.app import app_of, make_site
from curio_persistence.console.security.doors import OF_CLIENTS
from curio_persistence.console.security.headers import POLICY
from curio_persistence.console.security.limits import KeyLimits
from tests.support.console import (
    SAME_ORIGIN,
    SECURE_HEADERS,
    TEAM_URL,
    bearer,
    client_of,
    team_client,
)

TOKEN = "a-token-that-nobody-guesses"
OPEN = {"GET /login", "HEAD /login", "POST /login", "GET /healthz", "GET /readyz"}
FOR_EACH_READER = {"POST /preferences", "POST /login", "POST /logout"}
"""What changes only the reader's own cookies and login."""
FOR_WRITERS = {
    *("POST /api/v1/runs", "PUT /api/v1/runs/{run_id}", "POST /api/v1/events"),
    *("POST /api/v1/abandon", "POST /compat/agentlens/api/events"),
}
"""What a key with the role `write` may do besides; all else that changes something is an admin's.

A route is added here on purpose, or is for admins.
"""
MAKERS = ("console/render/", "views/html/")
MADE_BY_SCRIPTS = re.compile(r"\beval\(|new Function|document\.write|srcdoc|javascript:")
UNSAFE_IN_TEMPLATES = re.compile(
    r"\|\s*safe\b|\sstyle\s*=|\son[a-z]+\s*=|\bhx-on\b|\bjs:|javascript:|<script(?![^>]*\bsrc=)"
    r"|\bautoescape\b|<iframe|<object|<embed|hx-trigger=\"[^\"]*\[",
    re.IGNORECASE,
)


class Call(NamedTuple):
    """A method and a path of a route, and a path that leads to it."""

    method: str
    route: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD", "OPTIONS")

    @property
    def leads_nowhere(self) -> bool:
        """Return whether it answers 404 to whatever has no other route."""
        return self.route.endswith("/{rest:path}")

    @property
    def is_endless(self) -> bool:
        return self.route.endswith("/stream")


def calls_of(app: Any) -> Iterator[Call]:
    while not hasattr(app, "routes"):
        app = app._app
    for route in app.routes:
        assert isinstance(route, Route), f"{route} is not covered by these tests"
        path = re.sub(r"{\w+:int}", "1", route.path)
        path = re.sub(r"{\w+(:path)?}", "x", path)
        for method in sorted(route.methods or route.endpoint._operations):
            yield Call(method, route.path, path)


@pytest.fixture(scope="module")
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as persistence:
        yield persistence


@pytest.fixture(scope="module")
def secrets(persistence: Persistence) -> dict[str, str]:
    roles: Any = ("read", "write", "admin")
    return {role: persistence.keys.create(role, role).secret for role in roles}


@pytest.fixture(scope="module")
def team(persistence: Persistence, secrets: dict[str, str]) -> Iterator[TestClient]:
    with team_client(persistence) as client:  # One event loop for all requests: much faster.
        yield client


@pytest.fixture(scope="module")
def local(persistence: Persistence) -> Iterator[TestClient]:
    """The console of one person who may change things."""
    with client_of(persistence, allow_writes=True) as client:
        yield client


@pytest.fixture(scope="module")
def calls(team: TestClient) -> list[Call]:
    return list(calls_of(team.app))


@pytest.fixture(autouse=True)
def without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyLimits, "enter", lambda *_: lambda: None)


def ask(client: TestClient, call: Call, **headers: str) -> Any:
    client.cookies.clear()
    is_json = call.route.startswith(("/api/", "/compat/"))
    kind = {"Content-Type": "application/json"} if is_json else {}
    content = b"[]" if call.route.endswith("/events") else b"{}" if kind else b""
    body = {"content": content} if call.changes else {}
    return client.request(call.method, call.path, headers={**kind, **headers}, **body)


# --- who gets an answer ---------------------------------------------------------------------------


def test_there_are_routes_of_all_kinds(calls: list[Call]) -> None:
    names = {call.name for call in calls}
    assert len(names) > 60
    assert {"GET /runs", "POST /login", "DELETE /api/v1/runs/{run_id}"} <= names
    assert names >= FOR_EACH_READER | FOR_WRITERS


@pytest.mark.slow
def test_no_route_answers_to_another_host(
    team: TestClient, local: TestClient, calls: list[Call], secrets: dict[str, str]
) -> None:
    for call in calls:
        for client in (team, local):
            host = "curio.example.com.evil.example"
            answer = ask(client, call, Host=host, **bearer(secrets["admin"]), **SAME_ORIGIN)
            assert answer.status_code == 421, call
            assert "evil" not in answer.text


@pytest.mark.slow
def test_a_team_needs_a_key_on_every_route(team: TestClient, calls: list[Call]) -> None:
    for call in calls:
        if call.name in OPEN or call.route.startswith("/static/"):
            continue
        for headers in ({}, bearer("wrong"), {"Cookie": "__Host-curio=wrong"}):
            answer = ask(team, call, **headers, **SAME_ORIGIN)
            is_led = answer.status_code == 303 and answer.headers["location"].startswith("/login")
            assert answer.status_code == 401 or is_led, (call, headers)


@pytest.mark.slow
def test_one_person_needs_the_token_on_every_route(
    persistence: Persistence, calls: list[Call]
) -> None:
    wrong = ({}, bearer("wrong"), {"Cookie": f"curio_token_80={TOKEN[:-1]}"})
    with client_of(persistence, token=TOKEN, allow_writes=True) as client:
        for call in (each for each in calls if each.route not in OF_CLIENTS):
            for headers in wrong:
                answer = ask(client, call, **headers, **SAME_ORIGIN)
                assert answer.status_code == 401, (call, headers)


@pytest.mark.slow
def test_pages_of_other_sites_change_nothing(
    persistence: Persistence,
    team: TestClient,
    local: TestClient,
    calls: list[Call],
    secrets: dict[str, str],
) -> None:
    token = persistence.keys.log_in(secrets["admin"])
    assert token is not None
    before = persistence.audit.count()
    cookie = {"Cookie": f"__Host-curio={token.token}"}
    for call in calls:
        if not call.changes:
            continue
        for headers in (
            {},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": TEAM_URL},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
        ):
            for client in (team, local):
                answer = ask(client, call, **cookie, **headers)
                assert answer.status_code == 403, (call, headers)
    assert persistence.audit.count() == before


@pytest.mark.slow
def test_each_role_may_do_what_it_is_for(
    team: TestClient, calls: list[Call], secrets: dict[str, str]
) -> None:
    for call in calls:
        if call.is_endless or call.leads_nowhere or call.name == "POST /logout":
            continue
        may = [
            ask(team, call, **bearer(secrets[role])).status_code != 403
            for role in ("read", "write", "admin")
        ]
        if call.name in FOR_EACH_READER:
            expected = [True, True, True]
        elif call.changes:
            expected = [False, call.name in FOR_WRITERS, True]
        else:
            expected = [not is_for_admins(call)] * 2 + [True]
        assert may == expected, call


def is_for_admins(call: Call) -> bool:
    is_asked = call.method != "OPTIONS"
    return is_asked and call.route.startswith(("/settings/", "/api/v1/audit", "/api/v1/keys"))


def test_one_person_changes_nothing_without_being_allowed_to(
    persistence: Persistence, calls: list[Call]
) -> None:
    client = client_of(persistence)
    for call in calls:
        if call.changes and call.name not in FOR_EACH_READER and not call.leads_nowhere:
            answer = ask(client, call, **SAME_ORIGIN)
            assert answer.status_code in (403, 404, 405), call


# --- what is answered -----------------------------------------------------------------------------


@pytest.mark.slow
def test_every_answer_has_the_headers(
    local: TestClient, team: TestClient, calls: list[Call], secrets: dict[str, str]
) -> None:
    """Also one that refuses, is not found, or is an error."""
    nowhere = Call("GET", "/nowhere", "/nowhere")
    wrong = Call("PATCH", "/runs", "/runs")
    for call in (*calls, nowhere, wrong):
        if call.is_endless:
            continue
        answers = [
            ask(local, call),
            ask(team, call),
            ask(team, call, Host="evil.example"),
            ask(team, call, **bearer(secrets["read"])),
        ]
        for answer in answers:
            told = {name: answer.headers.get(name) for name in SECURE_HEADERS}
            if "sandbox" in str(told["content-security-policy"]):
                told["content-security-policy"] = POLICY
            assert told == SECURE_HEADERS, (call, answer.status_code)
            is_kept = call.route.startswith("/static/") and answer.status_code == 200
            assert is_kept or "no-store" in answer.headers["cache-control"], call
        for answer in answers[1:]:
            assert answer.headers["strict-transport-security"] == "max-age=31536000", call


MARKERS = ("hunter2", "/home/ada/private.db", "SELECT secret", "the-token", "db.internal")
TOLD = f"SELECT secret FROM t: postgresql://u:{MARKERS[0]}@db.internal/x {MARKERS[1]} the-token"
FAILURES = [
    error
    for error in vars(curio_persistence.errors).values()
    if isinstance(error, type)
    and issubclass(error, PersistenceError)
    and not issubclass(error, InvalidValueError | SchemaMismatchError)
]


@pytest.mark.slow
@pytest.mark.parametrize("failure", [*FAILURES, RuntimeError, KeyError])
def test_errors_tell_no_path_no_sql_and_no_secret(
    failure: type[Exception], calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    def source() -> Any:
        raise failure(TOLD)

    app = app_of(make_site(source, ConsoleOptions(allow_writes=True)))
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    some = [call for call in calls if call.method == "GET" and not call.is_endless]
    with caplog.at_level(logging.DEBUG):
        for call in some[::4]:
            answer = client.get(call.path)
            assert not [marker for marker in MARKERS if marker in answer.text], call
            assert not [m for m in MARKERS if m in str(answer.headers)], call
    assert not [marker for marker in MARKERS if marker in caplog.text]


def test_templates_have_nothing_that_the_policy_forbids() -> None:
    folder = files("curio_persistence.console") / "templates"
    templates = [*folder.iterdir(), *(folder / "parts").iterdir()]
    found = {
        f"{template.name}: {match[0]}"
        for template in templates
        if template.is_file()
        for match in UNSAFE_IN_TEMPLATES.finditer(template.read_text())
    }
    assert found == set()


def test_our_scripts_make_no_code_of_text() -> None:
    scripts = (files("curio_persistence.console") / "static").iterdir()
    found = {
        f"{script.name}: {match[0]}"
        for script in scripts
        if script.name.endswith(".js")
        for match in MADE_BY_SCRIPTS.finditer(script.read_text())
    }
    assert found == set()


def test_markup_is_made_in_few_places() -> None:
    root = files("curio_persistence")
    makers = {
        str(path.relative_to(root))  # type: ignore[attr-defined]
        for path in root.rglob("*.py")  # type: ignore[attr-defined]
        if re.search(r"\b(Markup|format_html)\(", path.read_text())
    }
    assert {maker for maker in makers if not maker.startswith(MAKERS)} == set()
