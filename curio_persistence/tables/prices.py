"""The table of own prices that are saved in the database; see `pricing.own`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from curio_persistence.models import Record
from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.columns import identifier, integer, stored_time


@dataclass(frozen=True, slots=True)
class SavedPrice(Record):
    """An entry of own prices as JSON, and its version, which names it."""

    price_version: str
    entry: str
    created_at: datetime | None = None
    id: int | None = None


PRICES = Table(
    "agent_prices",
    SavedPrice,
    (
        identifier("price_version"),
        Column("entry", codecs.encode_text, codecs.decode_texts, REQUIRED),
        stored_time("created_at"),
        integer("id"),
    ),
    order=(Order("id", descending=True),),
    ages_by="created_at",
    lookups=("price_version",),
    ddl="prices.sql",
    unique=(("price_version",),),
)


def price_row(price: SavedPrice) -> Row:
    """Return the row of a price."""
    return PRICES.encode(price)
