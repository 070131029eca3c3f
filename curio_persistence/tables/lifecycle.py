"""The tables of retention: settings, tombstones, and totals of expired rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.columns import identifier, integer, stored_time


@dataclass
class LifecycleSetting:
    """A policy, a legal hold, or the lease of the program that expires runs."""

    kind: str
    name: str
    settings: str | None
    updated_at: datetime
    id: int | None = None


@dataclass
class Tombstone:
    """A run that was deleted, for programs that have a copy of it."""

    run_id: str
    reason: str
    archived_in: str | None
    created_at: datetime
    id: int | None = None


@dataclass
class ExpiredTotal:
    """The numbers of expired runs, model calls or tool calls of a UTC day and a group.

    `archive` is the id of the archive that has their rows, empty if there is none: a reader of the
    archive counts the rows instead.
    """

    kind: str
    day: datetime
    agent_id: str
    name: str = ""
    provider: str = ""
    status: str = ""
    archive: str = ""
    count: int = 0
    iterations: int = 0
    timed: int = 0
    duration_us: int = 0
    calls: int = 0
    priced: int = 0
    cost_usd: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    id: int | None = None


def _label(name: str) -> Column:
    """Return a column for a text that may be empty, and is part of a unique key."""
    return Column(name, codecs.encode_label, default=REQUIRED)


def _number(name: str) -> Column:
    if name == "cost_usd":
        return Column(name, codecs.encode_money, codecs.decode_moneys, default=0)
    return integer(name, default=0)


def _text(name: str) -> Column:
    return Column(name, codecs.encode_text, codecs.decode_texts)


TOTALS_KEY = ("kind", "day", "agent_id", "name", "provider", "status", "archive")
TOTALS_NUMBERS = tuple(field.name for field in fields(ExpiredTotal)[len(TOTALS_KEY) : -1])

LIFECYCLE = Table(
    "agent_lifecycle",
    LifecycleSetting,
    (
        identifier("kind"),
        identifier("name"),
        _text("settings"),
        stored_time("updated_at"),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="updated_at",
    lookups=("kind",),
    ddl="lifecycle.sql",
    unique=(("kind", "name"),),
)
TOMBSTONES = Table(
    "agent_tombstones",
    Tombstone,
    (
        identifier("run_id"),
        identifier("reason"),
        _text("archived_in"),
        stored_time("created_at"),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="created_at",
    lookups=("run_id",),
    ddl="tombstones.sql",
)
EXPIRED_TOTALS = Table(
    "agent_expired_totals",
    ExpiredTotal,
    (
        identifier("kind"),
        stored_time("day"),
        *map(_label, TOTALS_KEY[2:]),
        *map(_number, TOTALS_NUMBERS),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="day",
    lookups=("kind",),
    ddl="expired_totals.sql",
    unique=(TOTALS_KEY,),
)


def setting_row(kind: str, name: str, settings: str, updated_at: datetime) -> Row:
    """Return the row that stores a setting."""
    return LIFECYCLE.encode(LifecycleSetting(kind, name, settings, updated_at))


def tombstone_row(run_id: str, reason: str, archived_in: str | None, created_at: datetime) -> Row:
    """Return the row that tells of a deleted run."""
    return TOMBSTONES.encode(Tombstone(run_id, reason, archived_in, created_at))
