"""API keys, and sessions of the console: both are stored as hashes of random secrets."""

from __future__ import annotations

import builtins
import hashlib
import hmac
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.concurrency.time_limit import call_within
from curio_persistence.errors import (
    AccessDeniedError,
    InvalidValueError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)
from curio_persistence.secret import hidden
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables.keys import (
    API_KEYS,
    CONSOLE_SESSIONS,
    ROLES,
    ApiKey,
    ConsoleSession,
    NewApiKey,
    NewConsoleSession,
    Role,
    key_row,
    session_row,
)

IDLE = timedelta(hours=12)
"""The time without a request after which a session ends."""
LONGEST = timedelta(days=7)
"""Each session is over after so long."""
_STAMPED_EVERY = timedelta(minutes=1)
"""The time of the last use is as old at most: a write for each request would be too many."""
_STAMP_SECONDS = 0.2
"""Seconds that storing it may wait, where another program holds the lock of the database."""
_SECRET = re.compile(r"curio_([0-9a-f]{16})_[0-9a-f]{64}")
_NO_HASH = "0" * 64


class Keys(Capability):
    """Make, list, revoke and verify keys, and the sessions that are begun with them.

    Neither is exported or copied. Backups, which are whole databases, have the hashes.
    """

    def create(
        self, name: str, role: Role = "read", *, expires: timedelta | datetime | str | None = None
    ) -> NewApiKey:
        """Store a new key, and return it with its secret, which is not stored.

        A key may `read`, also `write` (store records, close runs, set tags), or is an `admin`'s,
        who also deletes, and changes keys and alerts. It `expires` after a length of time
        (`"90d"`), at a datetime, or never.
        """
        now = self._clock.now()
        name, role = checked_id("name", name), _checked_role(role)
        ends = _checked_end(expires, now)
        key_id = secrets.token_hex(8)
        secret = f"curio_{key_id}_{secrets.token_hex(32)}"
        key = ApiKey(key_id, name, role, _hashed(secret), now, ends)
        row = key_row(key)
        with self._store.transaction():
            self._store.insert(API_KEYS, row)
            about = {"name": name, "role": role, "expires_at": row["expires_at"]}
            audit(self._store, self._clock, "create", key_id, "api key", None, **about)
        return NewApiKey(self._existing(key_id), hidden(secret))

    def list(self) -> builtins.list[ApiKey]:
        """Return all keys, also expired and revoked ones, in the order in which they were made."""
        return API_KEYS.decode(self._store.select(API_KEYS))

    def get(self, key_id: str) -> ApiKey | None:
        """Return a key by its id, or None."""
        where = API_KEYS.where(key_id=checked_id("key_id", key_id))
        found = API_KEYS.decode(self._store.select(API_KEYS, where, limit=1))
        return found[0] if found else None

    def revoke(self, key_id: str) -> ApiKey:
        """End a key and its sessions for good, and return it; one that is revoked stays so.

        Raise NotFoundError if there is none of this id.
        """
        checked_id("key_id", key_id)
        valid = (*API_KEYS.where(key_id=key_id), Filter("revoked_at", "is null"))
        with self._store.transaction():
            self._store.delete(CONSOLE_SESSIONS, CONSOLE_SESSIONS.where(key_id=key_id))
            now = encode_time(self._clock.now())
            if self._store.update(API_KEYS, valid, {"revoked_at": now}):
                audit(self._store, self._clock, "revoke", key_id, "api key")
            return self._existing(key_id)

    def verify(self, secret: str) -> ApiKey | None:
        """Return the key of a secret; None if there is none, or it has expired or was revoked.

        The time of its last use is stored at most once a minute, where the database can be written.
        """
        key = self._of_secret(secret)
        now = self._clock.now()
        if key is None or key.state(now) != "valid":
            return None
        self._stamp(API_KEYS, "last_used_at", key, key.last_used_at, now)
        return key

    def _of_secret(self, secret: str) -> ApiKey | None:
        parts = _SECRET.fullmatch(secret) if isinstance(secret, str) else None
        key = self.get(parts[1]) if parts else None
        stored = key.secret_hash if key else _NO_HASH
        is_right = hmac.compare_digest(_hashed(secret if parts else ""), stored)
        return key if is_right else None

    # --- sessions -----------------------------------------------------------------------------

    def log_in(self, secret: str) -> NewConsoleSession | None:
        """Begin a session with a key's secret; None if `verify` returns none.

        It is over after 7 days, 12 hours without a request, or with its key.
        """
        key = self.verify(secret)
        if key is None:
            return None
        now, token = self._clock.now(), secrets.token_hex(32)
        ends = min(filter(None, (now + LONGEST, key.expires_at)))
        session = ConsoleSession(_hashed(token), key.key_id, now, now, ends)
        with self._store.transaction():
            self._delete_dead(now)
            self._store.insert(CONSOLE_SESSIONS, session_row(session))
            audit(self._store, self._clock, "log in", key.key_id, "api key")
        return NewConsoleSession(session, hidden(token))

    def verify_session(self, token: str) -> ApiKey | None:
        """Return the key of the session that a token names; None if that is over, or was never."""
        now = self._clock.now()
        where = (*_of_token(token), *_alive(now))
        for session in CONSOLE_SESSIONS.decode(self._store.select(CONSOLE_SESSIONS, where)):
            key = self.get(session.key_id)
            if key is not None and key.state(now) == "valid":
                self._stamp(CONSOLE_SESSIONS, "last_seen_at", session, session.last_seen_at, now)
                self._stamp(API_KEYS, "last_used_at", key, key.last_used_at, now)
                return key
        return None

    def sessions(self, key_id: str | None = None) -> builtins.list[ConsoleSession]:
        """Return the sessions that are not over, of one key or of all, the oldest first."""
        of_key: Where = ()
        if key_id is not None:
            of_key = CONSOLE_SESSIONS.where(key_id=checked_id("key_id", key_id))
        now = self._clock.now()
        found = CONSOLE_SESSIONS.decode(
            self._store.select(CONSOLE_SESSIONS, (*of_key, *_alive(now)))
        )
        valid = {key.key_id for key in self.list() if key.state(now) == "valid"}
        return [session for session in found if session.key_id in valid]

    def log_out(self, token: str) -> bool:
        """End the session that a token names; False if there is none."""
        return self._end(_of_token(token), "log out")

    def end_session(self, session_id: str) -> bool:
        """End the session of an id; False if there is none."""
        where = CONSOLE_SESSIONS.where(session_id=checked_id("session_id", session_id))
        return self._end(where, "end session")

    def _end(self, where: Where, action: str) -> bool:
        with self._store.transaction():
            found = CONSOLE_SESSIONS.decode(self._store.select(CONSOLE_SESSIONS, where))
            for session in found:
                self._store.delete(CONSOLE_SESSIONS, where)
                audit(self._store, self._clock, action, session.key_id, "api key")
        return bool(found)

    def _delete_dead(self, now: datetime) -> None:
        for over in _alive(now):
            where = (Filter(over.column, "<", over.value),)
            self._store.delete(CONSOLE_SESSIONS, where)

    def _stamp(
        self,
        table: Table[Any],
        column: str,
        record: ApiKey | ConsoleSession,
        stamped: datetime | None,
        now: datetime,
    ) -> None:
        """Store the time of a use; a database that cannot be written now stops no reader."""
        if stamped is None or now - stamped >= _STAMPED_EVERY:
            with suppress(AccessDeniedError, UnavailableError, StorageFullError):
                where = (Filter("id", "=", record.id),)
                used: dict[str, Any] = {column: encode_time(now)}
                call_within(_STAMP_SECONDS, partial(self._store.update, table, where, used))

    def _existing(self, key_id: str) -> ApiKey:
        key = self.get(key_id)
        if key is None:
            raise NotFoundError(f"{self._store.location} has no API key {key_id!r}.")
        return key


def _hashed(secret: str) -> str:
    """Return the SHA-256 of a secret: of 32 random bytes, nothing slower is needed."""
    return hashlib.sha256(bytes(secret, "utf-8", "surrogatepass")).hexdigest()


def _of_token(token: Any) -> Where:
    return CONSOLE_SESSIONS.where(session_id=_hashed(token if isinstance(token, str) else ""))


def _alive(now: datetime) -> tuple[Filter, Filter]:
    """Return the filters of the sessions that are not over."""
    return (
        Filter("expires_at", ">", encode_time(now)),
        Filter("last_seen_at", ">", encode_time(now - IDLE)),
    )


def _checked_role(role: Any) -> Role:
    if role not in ROLES:
        raise InvalidValueError(f"role is one of {', '.join(ROLES)}, not {role!r}.", field="role")
    return cast(Role, role)


def _checked_end(expires: Any, now: datetime) -> datetime | None:
    """Return the time at which a new key expires, which is to come."""
    if expires is None:
        return None
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise InvalidValueError("expires needs a time zone.", field="expires")
        end = expires.astimezone(UTC)
    else:
        try:
            end = now + checked_length("expires", expires)
        except OverflowError:
            raise InvalidValueError("expires is too far away.", field="expires") from None
    if end <= now:
        raise InvalidValueError(
            "expires is in the past: the key would open nothing.", field="expires"
        )
    return end
