"""The tables of the trail: the audit log, and the heads of hash chains."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from curio_persistence.models import AuditEntry
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.columns import (
    identifier,
    integer,
    json_text,
    links,
    name,
    optional_identifier,
    stored_time,
)


@dataclass
class ChainHead:
    """The end of a hash chain, and its anchor: the last of the links that retention deleted.

    `kind` is `events`, and `name` a run's id; or both are `audit`.
    """

    kind: str
    name: str
    position: int
    hash: str
    anchor_position: int
    anchor_hash: str
    signature: str | None
    updated_at: datetime
    id: int | None = None


AUDIT_LOG = Table(
    "agent_audit_log",
    AuditEntry,
    (
        identifier("action"),
        Column("resource", codecs.encode_label, default=""),
        name("resource_type"),
        name("actor_type"),
        name("actor_id"),
        optional_identifier("agent_id"),
        optional_identifier("run_id"),
        json_text("metadata", optional=True),
        stored_time("timestamp"),
        stored_time("created_at"),
        integer("id"),
        *links(),
    ),
    order=(Order("timestamp", descending=True), Order("id", descending=True)),
    ages_by="timestamp",
    lookups=("run_id", "agent_id"),
    ddl="audit_log.sql",
    unique=(("chain_position",),),
)
CHAIN_HEADS = Table(
    "agent_chain_heads",
    ChainHead,
    (
        identifier("kind"),
        identifier("name"),
        integer("position"),
        name("hash"),
        integer("anchor_position"),
        name("anchor_hash"),
        Column("signature", codecs.encode_optional_id),
        stored_time("updated_at"),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="updated_at",
    lookups=("kind",),
    ddl="chain_heads.sql",
    unique=(("kind", "name"),),
)


def head_row(head: ChainHead) -> Row:
    """Return the row of a head."""
    return CHAIN_HEADS.encode(head)


def audit_row(entry: AuditEntry) -> Row:
    """Return the row of a line that the library writes itself, which has no words of people."""
    return AUDIT_LOG.encode(entry)
