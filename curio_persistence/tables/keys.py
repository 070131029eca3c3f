"""The tables of access: API keys, and the sessions of people who logged in with one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple

from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.columns import identifier, integer, stored_time, time

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = ("read", "write", "admin")
"""The roles of keys. Each may do what those before it may."""


@dataclass
class ApiKey:
    """A key for the console and the API, without its secret, of which only a hash is stored."""

    key_id: str
    name: str
    role: Role
    secret_hash: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    id: int | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Return whether the key opens anything at this time, or why it does not."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "valid"

    def may(self, role: Role) -> bool:
        """Return whether the key's role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them, without the hash."""
        return _plain(self, but=("secret_hash", "id"))


@dataclass
class ConsoleSession:
    """A login at the console. Its id is the hash of the token, which only the browser has."""

    session_id: str
    key_id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    id: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return _plain(self, but=("id",))


class NewApiKey(NamedTuple):
    """A key that was just made, and its secret, which cannot be had again."""

    key: ApiKey
    secret: str


class NewConsoleSession(NamedTuple):
    """A session that has just begun, and its token, which cannot be had again."""

    session: ConsoleSession
    token: str


def _plain(record: ApiKey | ConsoleSession, *, but: tuple[str, ...]) -> dict[str, Any]:
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in but}
    return {n: v.isoformat() if isinstance(v, datetime) else v for n, v in values.items()}


API_KEYS = Table(
    "agent_api_keys",
    ApiKey,
    (
        identifier("key_id"),
        identifier("name"),
        identifier("role"),
        Column("secret_hash", codecs.encode_id, default=REQUIRED),
        stored_time("created_at"),
        time("expires_at"),
        time("revoked_at"),
        time("last_used_at"),
        integer("id"),
    ),
    order=(Order("created_at"), Order("id")),
    ages_by="created_at",
    lookups=("key_id",),
    ddl="api_keys.sql",
    unique=(("key_id",),),
)
CONSOLE_SESSIONS = Table(
    "agent_console_sessions",
    ConsoleSession,
    (
        Column("session_id", codecs.encode_id, default=REQUIRED),
        identifier("key_id"),
        stored_time("created_at"),
        stored_time("last_seen_at"),
        stored_time("expires_at"),
        integer("id"),
    ),
    order=(Order("created_at"), Order("id")),
    ages_by="created_at",
    lookups=("session_id",),
    ddl="console_sessions.sql",
    unique=(("session_id",),),
)


def key_row(key: ApiKey) -> Row:
    """Return the row of a key."""
    return API_KEYS.encode(key)


def session_row(session: ConsoleSession) -> Row:
    """Return the row of a session."""
    return CONSOLE_SESSIONS.encode(session)
