"""The table of consumers: how far each has come in the change feed of a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.columns import identifier, integer, stored_time


@dataclass
class ConsumerPosition:
    """The position of one consumer in the change feed of one table."""

    name: str
    table_name: str
    watermark: str
    updated_at: datetime
    id: int | None = None


CONSUMERS = Table(
    "agent_consumers",
    ConsumerPosition,
    (
        identifier("name"),
        identifier("table_name"),
        Column("watermark", codecs.encode_text, codecs.decode_texts, default=REQUIRED),
        stored_time("updated_at"),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="updated_at",
    lookups=("name",),
    ddl="consumers.sql",
    unique=(("name", "table_name"),),
)


def position_row(name: str, table_name: str, watermark: str, updated_at: datetime) -> Row:
    """Return the row that stores a consumer's position."""
    return CONSUMERS.encode(ConsumerPosition(name, table_name, watermark, updated_at))
