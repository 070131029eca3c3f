"""The columns of a table: how their values are stored and read, and the encoder of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from curio_persistence.store import codecs
from curio_persistence.store.codecs import Decoder, Encoder

Kind = Literal["name", "text", "integer", "real", "time", "money", "bytes"]
"""The content of a column. Only text may be escaped."""

_KINDS: Mapping[Encoder, Kind] = {
    codecs.encode_text: "text",
    codecs.encode_json: "text",
    codecs.encode_tags: "text",
    codecs.encode_integer: "integer",
    codecs.encode_count: "integer",
    codecs.encode_position: "integer",
    codecs.encode_latency: "integer",
    codecs.encode_mark: "integer",
    codecs.encode_nanos: "integer",
    codecs.encode_real: "real",
    codecs.encode_time: "time",
    codecs.encode_money: "money",
    codecs.encode_bytes: "bytes",
}

REQUIRED: Any = object()
"""The default of a column that every record must fill."""
_REMEMBERED = 1024


class Column(NamedTuple):
    """One column: how its values are stored and read.

    `encode` returns the stored form of one value; None is stored as `default`. An `optional` column
    is bound only when its value is not the default, because every bound column costs; the database
    fills the default in. `repeats` says that the same few values come again and again. `decode`
    reads a whole column; without it, the stored values are the values. A column for texts of
    people or models has `without_content`, which returns what remains of a stored text.
    """

    name: str
    encode: Encoder
    decode: Decoder | None = None
    default: Any = None
    optional: bool = False
    repeats: bool = False
    without_content: Callable[[str], str | None] | None = None

    @property
    def kind(self) -> Kind:
        """The content of the column."""
        return _KINDS.get(self.encode, "name")

    def encoder(self) -> Encoder:
        """Return `encode`, with a cache if values repeat, which refuses None if required."""
        encode = _refusing_none(self.encode) if self.default is REQUIRED else self.encode
        return lru_cache(_REMEMBERED)(encode) if self.repeats else encode


def _refusing_none(encode: Encoder) -> Encoder:
    def encode_given(value: Any) -> Any:
        if value is None:
            raise ValueError("is required")
        return encode(value)

    return encode_given


def compile_encoder(columns: Sequence[Column]) -> Callable[[Any], dict[str, Any]]:
    """Return a function that makes a row of a record: all columns, but optional ones only if set.

    It is compiled from source, like dataclasses: a loop takes twice as long, on the hottest path
    of all. The names are those of our own columns.
    """
    items, rest = [], []
    scope: dict[str, Any] = {}
    for column in columns:
        name, default = column.name, column.default
        scope |= {f"encode_{name}": column.encoder(), f"default_{name}": default}
        value = f"(value := record.{name})"
        if column.optional:
            is_set = "is not None" if default is None else f"not in (None, default_{name})"
            stored = f"(stored := encode_{name}(value)) is not None"
            rest.append(f" if {value} {is_set} and {stored}: row[{name!r}] = stored")
        elif default is REQUIRED:
            items.append(f"{name!r}: encode_{name}(record.{name})")
        else:
            items.append(f"{name!r}: default_{name} if {value} is None else encode_{name}(value)")
    source = ["def encode(record):", f" row = {{{', '.join(items)}}}", *rest, " return row"]
    exec("\n".join(source), scope)
    encode: Callable[[Any], dict[str, Any]] = scope["encode"]
    return encode
