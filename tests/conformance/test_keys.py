"""Keys of the console, and the sessions that people begin with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest

from curio_persistence import (
    AccessDeniedError,
    ApiKey,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    copy_records,
    export_records,
)
from curio_persistence.tables import ALL_TABLES, CONSOLE_SESSIONS
from tests.support.hands import Hands

before_io = pytest.mark.before_io


def logged_in(persistence: Persistence, secret: str) -> str:
    begun = persistence.keys.log_in(secret)
    assert begun is not None
    return begun.token


# --- keys -----------------------------------------------------------------------------------------


def test_the_secret_of_a_new_key_opens_it(persistence: Persistence) -> None:
    key, secret = persistence.keys.create("Ada", "admin")
    assert (key.name, key.role, key.expires_at, key.last_used_at) == ("Ada", "admin", None, None)
    assert secret.startswith(f"curio_{key.key_id}_")
    assert len(secret) == len("curio_") + 16 + 1 + 64
    found = persistence.keys.verify(secret)
    assert found is not None
    assert found.key_id == key.key_id
    assert persistence.keys.get(key.key_id) == persistence.keys.list()[0]


def test_keys_are_listed_as_they_were_made(persistence: Persistence) -> None:
    made = [persistence.keys.create(f"k{n}").key for n in range(3)]
    assert persistence.keys.list() == made
    assert {key.role for key in made} == {"read"}
    assert persistence.keys.get("0" * 16) is None


def test_no_table_has_a_secret(persistence: Persistence) -> None:
    key, secret = persistence.keys.create("Ada")
    token = logged_in(persistence, secret)
    stored = repr([persistence._store.select(table) for table in ALL_TABLES])
    assert key.secret_hash in stored
    for hidden in (secret, secret.rpartition("_")[2], token):
        assert str.__str__(hidden) not in stored


def test_a_secret_is_in_no_repr_and_no_json(persistence: Persistence) -> None:
    made = persistence.keys.create("Ada")
    assert made.secret[-64:] not in repr(made)
    assert made.key.secret_hash not in repr(made) + json.dumps(made.key.to_dict())
    begun = persistence.keys.log_in(made.secret)
    assert begun is not None
    assert begun.token not in repr(begun)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "curio_",
        "curio_0000000000000000_" + "0" * 64,
        "Bearer x",
        "ü" * 87,
        "\ud800",
        "a\0b",
        "x" * 100_000,
        None,
        7,
        b"curio_",
    ],
)
def test_what_is_no_secret_opens_nothing(persistence: Persistence, wrong: Any) -> None:
    persistence.keys.create("Ada")
    assert persistence.keys.verify(wrong) is None
    assert persistence.keys.log_in(wrong) is None
    assert persistence.keys.verify_session(wrong) is None
    assert not persistence.keys.log_out(wrong)


def test_a_secret_that_differs_in_one_character_opens_nothing(persistence: Persistence) -> None:
    _, secret = persistence.keys.create("Ada")
    last = "0" if secret[-1] != "0" else "1"
    for wrong in (secret[:-1] + last, secret.upper(), secret + "0", f" {secret}", f"{secret}\n"):
        assert persistence.keys.verify(wrong) is None


def test_a_key_expires(persistence: Persistence, clock: Hands) -> None:
    clock.move()
    key, secret = persistence.keys.create("Ada", expires="2h")
    assert key.expires_at == key.created_at + timedelta(hours=2)
    clock.move(hours=1, minutes=59)
    assert persistence.keys.verify(secret)
    clock.move(minutes=1)
    assert persistence.keys.verify(secret) is None
    assert key.state(persistence.clock.now()) == "expired"


def test_a_key_may_expire_at_a_moment(persistence: Persistence) -> None:
    end = datetime(2999, 1, 1, tzinfo=UTC)
    assert persistence.keys.create("Ada", expires=end).key.expires_at == end


def test_a_revoked_key_opens_nothing_and_stays_listed(persistence: Persistence) -> None:
    key, secret = persistence.keys.create("Ada")
    token = logged_in(persistence, secret)
    revoked = persistence.keys.revoke(key.key_id)
    assert revoked.state(persistence.clock.now()) == "revoked"
    assert persistence.keys.verify(secret) is None
    assert persistence.keys.verify_session(token) is None
    assert persistence.keys.sessions() == []
    assert persistence.keys.list() == [revoked]
    assert persistence.keys.revoke(key.key_id) == revoked
    assert persistence.audit.count(action="revoke") == 1


def test_an_unknown_key_cannot_be_revoked(persistence: Persistence) -> None:
    with pytest.raises(NotFoundError, match="no API key 'a/b'"):
        persistence.keys.revoke("a/b")


def test_the_last_use_is_stored_once_a_minute(persistence: Persistence, clock: Hands) -> None:
    key, secret = persistence.keys.create("Ada")
    used = []
    for _ in range(3):
        clock.move(seconds=40)
        persistence.keys.verify(secret)
        stored = persistence.keys.get(key.key_id)
        assert stored is not None
        used.append(stored.last_used_at)
    assert used[0] == used[1] is not None
    assert used[2] == used[0] + timedelta(seconds=80)


def test_a_role_includes_those_below(persistence: Persistence) -> None:
    may = {
        role: [wanted for wanted in ("read", "write", "admin") if key.may(wanted)]
        for role in ("read", "write", "admin")
        for key in [persistence.keys.create(role, role).key]  # type: ignore[arg-type]
    }
    assert may == {
        "read": ["read"],
        "write": ["read", "write"],
        "admin": ["read", "write", "admin"],
    }


@before_io
@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a\0b"}),
        ("name", {"name": "x" * 256}),
        ("name", {"name": None}),
        ("role", {"role": "owner"}),
        ("role", {"role": None}),
        ("expires", {"expires": "0s"}),
        ("expires", {"expires": "soon"}),
        ("expires", {"expires": 90}),
        ("expires", {"expires": timedelta(seconds=-1)}),
        ("expires", {"expires": timedelta.max}),
        ("expires", {"expires": datetime(2999, 1, 1)}),
        ("expires", {"expires": datetime(2020, 1, 1, tzinfo=UTC)}),
    ],
)
def test_a_wrong_key_is_refused(
    persistence: Persistence, field: str, given: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        persistence.keys.create(**{"name": "Ada", **given})
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["x" * 255, "a/b", "..", "100 %", "‮evil", "🔑", "<script>"])
def test_a_key_may_have_any_name(persistence: Persistence, name: str) -> None:
    assert persistence.keys.create(name).key.name == name


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_stands_for_its_key(persistence: Persistence) -> None:
    key, secret = persistence.keys.create("Ada", "write")
    found = persistence.keys.verify_session(logged_in(persistence, secret))
    assert found is not None
    assert (found.key_id, found.role) == (key.key_id, "write")
    [session] = persistence.keys.sessions()
    assert session.key_id == key.key_id
    assert session.expires_at == session.created_at + timedelta(days=7)
    assert [*session.to_dict()] == [
        *("session_id", "key_id", "created_at", "last_seen_at", "expires_at")
    ]


def test_a_session_is_over_after_twelve_idle_hours(persistence: Persistence, clock: Hands) -> None:
    clock.move()
    token = logged_in(persistence, persistence.keys.create("Ada").secret)
    clock.move(hours=11, minutes=59)
    assert persistence.keys.verify_session(token)
    clock.move(hours=11, minutes=59)
    assert persistence.keys.verify_session(token)
    clock.move(hours=12)
    assert persistence.keys.verify_session(token) is None
    assert persistence.keys.sessions() == []


def test_a_session_is_over_after_seven_days(persistence: Persistence, clock: Hands) -> None:
    clock.move()
    token = logged_in(persistence, persistence.keys.create("Ada").secret)
    for _ in range(27):
        clock.move(hours=6)
        assert persistence.keys.verify_session(token)
    clock.move(hours=6)
    assert persistence.keys.verify_session(token) is None


def test_a_session_ends_with_its_key(persistence: Persistence, clock: Hands) -> None:
    clock.move()
    token = logged_in(persistence, persistence.keys.create("Ada", expires="1h").secret)
    assert persistence.keys.sessions()[0].expires_at == persistence.keys.list()[0].expires_at
    clock.move(hours=1)
    assert persistence.keys.verify_session(token) is None


def test_a_session_is_ended_by_its_browser_or_by_its_id(persistence: Persistence) -> None:
    _, secret = persistence.keys.create("Ada")
    token, other = logged_in(persistence, secret), logged_in(persistence, secret)
    assert persistence.keys.log_out(token)
    assert not persistence.keys.log_out(token)
    assert persistence.keys.verify_session(token) is None
    [left] = persistence.keys.sessions(key_id=persistence.keys.list()[0].key_id)
    assert persistence.keys.end_session(left.session_id)
    assert not persistence.keys.end_session(left.session_id)
    assert persistence.keys.verify_session(other) is None
    assert persistence.keys.sessions(key_id="another") == []


def test_sessions_that_are_over_are_deleted_at_the_next_login(
    persistence: Persistence, clock: Hands
) -> None:
    _, secret = persistence.keys.create("Ada")
    logged_in(persistence, secret)
    clock.move(days=1)
    logged_in(persistence, secret)
    assert persistence._store.count(CONSOLE_SESSIONS) == 1


# --- elsewhere ------------------------------------------------------------------------------------


def test_what_happens_to_keys_stands_in_the_audit_log(persistence: Persistence) -> None:
    with persistence.audit.acting_as("ada"):
        key, secret = persistence.keys.create("CI", "write", expires="1d")
    token = logged_in(persistence, secret)
    persistence.keys.log_out(token)
    persistence.keys.revoke(key.key_id)
    lines = list(persistence.audit.query(resource_type="api key", order="oldest"))
    assert [line.action for line in lines] == ["create", "log in", "log out", "revoke"]
    assert {line.resource for line in lines} == {key.key_id}
    assert lines[0].actor_id == "ada"
    about = lines[0].get_metadata_dict()
    assert (about["name"], about["role"]) == ("CI", "write")
    assert secret[-64:] not in repr(lines)


def test_keys_are_neither_exported_nor_copied(persistence: Persistence) -> None:
    key, secret = persistence.keys.create("Ada")
    logged_in(persistence, secret)
    file = BytesIO()
    export_records(persistence, file, format="jsonl")
    assert key.secret_hash.encode() not in file.getvalue()
    assert key.key_id.encode() not in file.getvalue()
    with InMemoryPersistence() as copy:
        copy_records(persistence, copy)
        assert copy.keys.list() == []


def test_reading_only_verifies_and_makes_no_key(persistence: Persistence, open_again: Any) -> None:
    if "memory" in persistence.location:
        pytest.skip("memory is not opened again")
    _, secret = persistence.keys.create("Ada")
    reading = open_again(read_only=True)
    found = reading.keys.verify(secret)
    assert isinstance(found, ApiKey)
    with pytest.raises(AccessDeniedError):
        reading.keys.create("Bob")
