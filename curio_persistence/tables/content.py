"""The table of long texts that are stored once."""

from __future__ import annotations

from dataclasses import dataclass

from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Table
from curio_persistence.tables.columns import integer

SCOPE_LENGTH = 6
"""The characters at the begin of an address that name its scope."""


@dataclass
class ContentBlob:
    """A long text, compressed.

    `address` is its scope and its SHA-256, `size` its characters. A text that grew begins with that
    of its `parent`: `body` has only the rest of it. All texts that grew out of one have the same
    `chain`. Both are numbers of texts; see `content.markers`.
    """

    address: str
    size: int
    parent: int | None
    chain: int | None
    body: bytes
    id: int | None = None


CONTENT = Table(
    "content_blobs",
    ContentBlob,
    (
        Column("address", codecs.encode_name, default=REQUIRED),
        Column("size", codecs.encode_count, default=REQUIRED),
        integer("parent", optional=True),
        integer("chain", optional=True),
        Column("body", codecs.encode_bytes, codecs.decode_bytes, default=REQUIRED),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="id",
    lookups=("address", "chain"),
    ddl="content.sql",
    unique=(("address",),),
)
