"""The table form of results that are computed, so that they become frames as stored records do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from curio_persistence.store import codecs
from curio_persistence.store.codecs import Decoder, Encoder
from curio_persistence.store.column import Column
from curio_persistence.store.table import Record, Table

M = TypeVar("M", bound=Record)

_CODECS: Mapping[str, tuple[Encoder, Decoder | None]] = {
    "str": (codecs.encode_text, codecs.decode_texts),
    "Any": (codecs.encode_json, codecs.decode_texts),
    "list[str]": (codecs.encode_tags, codecs.decode_tags),
    "int": (codecs.encode_integer, None),
    "float": (codecs.encode_real, None),
    "Decimal": (codecs.encode_money, codecs.decode_moneys),
    "datetime": (codecs.encode_time, codecs.decode_times),
}


def computed_table(name: str, model: type[M]) -> Table[M]:
    """Return a table, which no database stores, with the fields of a dataclass by their types."""
    types = {field.name: str(field.type).removesuffix(" | None") for field in fields(model)}
    columns = tuple(Column(name, *_CODECS[type_]) for name, type_ in types.items())
    return Table(name, model, columns, order=(), ages_by="", lookups=(), ddl="")
