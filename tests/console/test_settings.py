"""Settings: what the console is, its keys, its logins and the audit log."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from curio_persistence import InMemoryPersistence, Persistence
from tests.support.console import SAME_ORIGIN, bearer, client_of, log_in, team_client

PAGES = ("/settings", "/settings/keys", "/settings/logins", "/settings/audit")


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as persistence:
        yield persistence


@pytest.fixture
def admin(persistence: Persistence) -> TestClient:
    """The client of an admin who has logged in."""
    client = team_client(persistence)
    log_in(client, persistence.keys.create("Ada Lovelace", "admin").secret)
    return client


def test_it_tells_what_the_console_is(admin: TestClient) -> None:
    page = admin.get("/settings").text
    for words in ("https://curio.example.com", "Ada Lovelace", "20 requests a second", "Log out"):
        assert words in page
    assert "one person" in client_of(InMemoryPersistence()).get("/settings").text


def test_a_key_is_made_shown_once_and_revoked(admin: TestClient, persistence: Persistence) -> None:
    fields = {"name": "CI <b>", "role": "write", "expires": "90d"}
    made = admin.post("/settings/keys", data=fields, headers=SAME_ORIGIN)
    assert made.status_code == 200
    [secret] = set(re.findall("curio_[0-9a-f]{16}_[0-9a-f]{64}", made.text))
    key = persistence.keys.verify(secret)
    assert key is not None
    assert (key.name, key.role) == ("CI <b>", "write")
    assert key.expires_at is not None
    assert "CI &lt;b&gt;" in made.text
    assert secret not in admin.get("/settings/keys").text
    revoke = f"/settings/keys/{key.key_id}/revoke"
    assert revoke in made.text
    assert admin.post(revoke, headers=SAME_ORIGIN).headers["location"] == "/settings/keys"
    assert persistence.keys.verify(secret) is None
    lines = persistence.audit.query(resource=key.key_id, order="oldest")
    assert [line.action for line in lines] == ["create", "revoke"]
    own = next(each for each in persistence.keys.list() if each.name == "Ada Lovelace")
    assert {line.actor_id for line in lines} == {own.key_id}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "name may not be empty"),
        ({"name": "x" * 256}, "255 characters"),
        ({"name": "a\0b"}, "NUL"),
        ({"name": "a", "role": "owner"}, "role is one of"),
        ({"name": "a", "expires": "1s"}, "Choose when"),
    ],
)
def test_a_wrong_key_is_told(admin: TestClient, fields: dict[str, str], told: str) -> None:
    answer = admin.post("/settings/keys", data=fields, headers=SAME_ORIGIN)
    assert answer.status_code == 400
    assert told in answer.text


def test_what_revoking_means_is_told(admin: TestClient) -> None:
    page = admin.get("/settings/keys").text
    assert "It is your own." in page
    assert "It is the last key of an admin." in page


def test_a_login_is_listed_and_ended(admin: TestClient, persistence: Persistence) -> None:
    other = team_client(persistence)
    log_in(other, persistence.keys.create("Bob").secret)
    assert "Bob" in admin.get("/settings/logins").text
    bobs = persistence.keys.sessions()[-1]
    end = f"/settings/logins/{bobs.session_id}/end"
    assert admin.post(end, headers=SAME_ORIGIN).headers["location"] == "/settings/logins"
    assert other.get("/runs").status_code == 303
    assert admin.post(end, headers=SAME_ORIGIN).status_code == 404


def test_the_audit_log_is_filtered_and_paged(admin: TestClient, persistence: Persistence) -> None:
    for number in range(120):
        persistence.audit.log("open report", f"report-{number}", metadata={"n": "<i>"})
    first = admin.get("/settings/audit").text
    assert first.count("<tr>") == 101
    assert "&lt;i&gt;" in first
    older = re.search(r'href="([^"]*cursor=[^"]*)"', first)
    assert older is not None
    second = admin.get(older[1].replace("&amp;", "&")).text
    assert "log in" in second
    assert "Ada Lovelace" in second
    found = admin.get("/settings/audit?action=create&resource_type=api+key").text
    assert found.count("<tr>") == 2
    assert "No such lines" in admin.get("/settings/audit?actor_id=nobody").text
    assert admin.get("/settings/audit?since=soon").status_code == 400
    assert admin.get("/settings/audit?wrong=1").status_code == 400


@pytest.mark.parametrize("role", ["read", "write"])
def test_keys_logins_and_audit_log_are_for_admins(persistence: Persistence, role: str) -> None:
    client = team_client(persistence)
    log_in(client, persistence.keys.create("Bob", role).secret)  # type: ignore[arg-type]
    statuses = [client.get(path).status_code for path in PAGES]
    assert statuses == [200, 403, 403, 403]
    assert "Audit log" not in client.get("/settings").text
    forms = ("/settings/keys", "/settings/keys/x/revoke", "/settings/logins/x/end")
    for path in forms:
        assert client.post(path, data={"name": "x"}, headers=SAME_ORIGIN).status_code == 403


def test_on_one_machine_they_are_shown_and_changed_if_allowed(persistence: Persistence) -> None:
    persistence.keys.create("Ada")
    reading, writing = client_of(persistence), client_of(persistence, allow_writes=True)
    assert [reading.get(path).status_code for path in PAGES] == [200] * 4
    assert "New key" not in reading.get("/settings/keys").text
    assert "Revoke" not in reading.get("/settings/keys").text
    assert "--allow-writes" in reading.get("/settings/keys").text
    refused = reading.post("/settings/keys", data={"name": "x"}, headers=SAME_ORIGIN)
    assert refused.status_code == 403
    assert "New key" in writing.get("/settings/keys").text


def test_without_anything_the_pages_say_so(persistence: Persistence) -> None:
    client = client_of(persistence)
    for path, words in zip(PAGES[1:], ("No keys", "Nobody logs in", "is empty"), strict=True):
        assert words in client.get(path).text


def test_the_rail_names_the_reader(admin: TestClient, persistence: Persistence) -> None:
    assert 'action="/logout"' in admin.get("/runs").text
    headers = bearer(persistence.keys.create("‮Mallory").secret)
    assert "‮" not in team_client(persistence).get("/runs", headers=headers).text
