"""The forms in which one table's records are written to a file.

Text is written as it is kept: what no text file could hold (NUL, lone surrogates) stands as U+FDD0
and four hexadecimal digits. So everything can be read back as it was.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, BinaryIO

from curio_persistence.results.arrow import arrow_schema, arrow_table, pyarrow
from curio_persistence.store.codecs import decode_moneys, decode_tags, encode_tags
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import (
    AGENTS,
    APPROVALS,
    EVENTS,
    RUNS_AND_STUBS,
    SCORES,
    SESSIONS,
    SNAPSHOTS,
    SOURCES,
    SPANS,
    USAGE,
)

VERSION = 1
"""The version of all formats together; a file of a later one is refused."""

KIND_OF: Mapping[Table[Any], str] = {
    RUNS_AND_STUBS: "run",
    EVENTS: "event",
    USAGE: "usage",
    SCORES: "score",
    APPROVALS: "approval",
    SNAPSHOTS: "snapshot",
    SPANS: "span",
    SOURCES: "source",
    AGENTS: "agent",
    SESSIONS: "session",
}
"""The kind of a record on its line of JSON."""

OWN_KIND = "span_kind"
"""The name on a line of JSON for a field that is called `kind` itself."""

_GROUP_BYTES = 16 << 20
"""Bytes in memory of what is written to a Parquet or Arrow file at a time."""

_GROUP_ROWS = 20_000
"""About how many rows such a group has."""

_EMPTY = "\0"
"""Stands for an empty text until it is written, because `csv` would write it like None. No stored
text contains it."""

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Write = Callable[[BinaryIO, Table[Any], Iterable[Columns]], None]


def json_line(value: Any) -> bytes:
    """A value on a line of its own."""
    return f"{_write(value)}\n".encode()


def write_jsonl(file: BinaryIO, table: Table[Any], pieces: Iterable[Columns]) -> None:
    """A line for each record: an object of its fields, without those that are None."""
    kind = KIND_OF[table]
    names = [OWN_KIND if name == "kind" else name for name in table.names]
    for columns in pieces:
        rows = zip(*_readable(table, columns, tags=decode_tags), strict=True)
        lines = [
            _write(
                {"kind": kind}
                | {name: value for name, value in zip(names, row, strict=True) if value is not None}
            )
            for row in rows
        ]
        file.write("\n".join((*lines, "")).encode())


def write_csv(file: BinaryIO, table: Table[Any], pieces: Iterable[Columns]) -> None:
    """Write a header and a line for each record; None is an empty field, empty text is `""`."""
    file.write(f"{','.join(table.names)}\r\n".encode())
    for columns in pieces:
        cells = [
            _marked(column) if kind in ("name", "text") else column
            for kind, column in zip(table.kinds.values(), _readable(table, columns), strict=True)
        ]
        text = StringIO()
        # With "\n" alone, Python 3.11 and 3.12 would leave a text with a lone CR unquoted.
        csv.writer(text, lineterminator="\r\n").writerows(zip(*cells, strict=True))
        file.write(text.getvalue().replace(_EMPTY, '""').encode())


def write_parquet(
    file: BinaryIO,
    table: Table[Any],
    pieces: Iterable[Columns],
    *,
    blooms: Collection[str] = (),
) -> None:
    """Compressed with zstd, in groups of rows that fit into memory; `blooms` as below."""
    write_parquet_groups(file, table, _groups(table, pieces), blooms=blooms)


def write_parquet_groups(
    file: BinaryIO, table: Table[Any], groups: Iterable[Any], *, blooms: Collection[str] = ()
) -> None:
    """Write Arrow tables, each as a group of rows.

    The columns `blooms` get a Bloom filter, by which a reader skips groups without a value.
    """
    schema = arrow_schema(table)  # Which says what to install where pyarrow is missing.
    from pyarrow.parquet import ParquetWriter

    filters = {name: {"ndv": _GROUP_ROWS, "fpp": 0.01} for name in blooms if name in table.names}
    options: dict[str, Any] = {"bloom_filter_options": filters} if filters else {}
    with ParquetWriter(file, schema, compression="zstd", **options) as writer:
        for group in groups:
            writer.write_table(group)


def write_arrow(file: BinaryIO, table: Table[Any], pieces: Iterable[Columns]) -> None:
    """Arrow's IPC file format, also known as Feather."""
    with pyarrow().ipc.new_file(file, arrow_schema(table)) as writer:
        for group in _groups(table, pieces):
            writer.write_table(group)


FORMATS: Mapping[str, Write] = {
    "jsonl": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
    "arrow": write_arrow,
}


def _groups(table: Table[Any], pieces: Iterable[Columns]) -> Iterator[Any]:
    """Many pieces as one Arrow table, for as long as they take little room."""
    return gathered(arrow_table(table, columns, escaped=True) for columns in pieces)


def gathered(tables: Iterable[Any]) -> Iterator[Any]:
    """Yield Arrow tables that take little room, made of many small ones or parts of large ones."""
    pa, parts, size, rows = pyarrow(), [], 0, 0
    for part in (part for table in tables for part in _parts(table)):
        parts.append(part)
        size += part.nbytes
        rows += len(part)
        if size >= _GROUP_BYTES or rows >= _GROUP_ROWS:
            yield pa.concat_tables(parts).combine_chunks()
            parts, size, rows = [], 0, 0
    if parts:
        yield pa.concat_tables(parts).combine_chunks()


def _parts(rows: Any) -> Iterator[Any]:
    """Yield an Arrow table in slices that take little room, as far as single rows do."""
    count = max(min(len(rows) * _GROUP_BYTES // max(rows.nbytes, 1), _GROUP_ROWS), 1)
    for first in range(0, len(rows), count):
        yield rows.slice(first, count)


def _readable(
    table: Table[Any], columns: Columns, *, tags: Callable[[Sequence[Any]], Iterable[Any]] = iter
) -> list[Iterable[Any]]:
    """Stored columns with costs in US dollars."""
    readable: list[Iterable[Any]] = list(columns)
    for at, (name, kind) in enumerate(table.kinds.items()):
        if kind == "money":
            costs = decode_moneys(columns[at])
            readable[at] = [None if cost is None else str(cost) for cost in costs]
        elif name in table.encoded_by(encode_tags):
            readable[at] = tags(columns[at])
    return readable


def _marked(column: Iterable[str | None]) -> Iterable[str | None]:
    return [_EMPTY if text == "" else text for text in column]
