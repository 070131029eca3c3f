"""The table of embeddings: what the texts of records mean, as vectors."""

from __future__ import annotations

from dataclasses import dataclass

from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Table
from curio_persistence.tables.columns import identifier, integer


@dataclass
class Embedding:
    """The vector of one text of a record, by one model.

    `table_name` and `row_id` are those of the record; its texts differ in their `kind`. `text_hash`
    is a number made of the text, by which a text is embedded once. `vector` has `dim` numbers of 16
    bits and the length 1.
    """

    table_name: str
    row_id: int
    kind: str
    model: str
    dim: int
    text_hash: int
    vector: bytes
    id: int | None = None


EMBEDDINGS = Table(
    "agent_embeddings",
    Embedding,
    (
        identifier("table_name"),
        integer("row_id", default=REQUIRED),
        identifier("kind"),
        identifier("model"),
        integer("dim", default=REQUIRED),
        integer("text_hash", default=REQUIRED),
        Column("vector", codecs.encode_bytes, codecs.decode_bytes, default=REQUIRED),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="id",
    lookups=("row_id", "text_hash"),
    ddl="embeddings.sql",
    unique=(("row_id", "table_name", "kind", "model"),),
)
