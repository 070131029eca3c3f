"""Rows as Arrow tables, built without a Python object for each value. pyarrow is imported on use.

A column's type never depends on its values. A lone surrogate, which Arrow cannot hold, becomes
U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from curio_persistence.concurrency.prefetch import prefetch_map
from curio_persistence.errors import ConfigurationError, CorruptDatabaseError
from curio_persistence.results.csv import csv_columns
from curio_persistence.store.codecs import ESCAPE, decode_texts_to_unicode, encode_time
from curio_persistence.store.column import Kind
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Columns, Table

_ESCAPE = ESCAPE.encode()


def pyarrow() -> Any:
    """Return the module; raises ConfigurationError where it is not installed."""
    try:
        import pyarrow.csv
    except ImportError as error:
        raise ConfigurationError(
            f"Arrow tables need pyarrow ({error}): pip install 'curio-persistence[arrow]'"
        ) from error
    return pyarrow


def arrow_schema(table: Table[Any]) -> Any:
    """Return a table's Arrow schema: text, 64-bit integers, UTC times in µs, exact US dollars."""
    pa = pyarrow()
    return pa.schema(_types(table, money=pa.decimal128(20, 12)))


def _types(table: Table[Any], *, money: Any) -> dict[str, Any]:
    pa = pyarrow()
    types: dict[Kind, Any] = {
        "name": pa.string(),
        "text": pa.string(),
        "integer": pa.int64(),
        "real": pa.float64(),
        "time": pa.timestamp("us", "UTC"),
        "money": money,
    }
    return {name: types[kind] for name, kind in table.kinds.items()}


def arrow_table(table: Table[Any], columns: Columns, *, escaped: bool = False) -> Any:
    """Return the Arrow table of columns; `escaped` keeps texts in stored form."""
    pa, schema = pyarrow(), arrow_schema(table)
    with table.naming_damage(columns):
        arrays = [
            _array(pa, "name" if escaped and kind == "text" else kind, field.type, column)
            for kind, field, column in zip(table.kinds.values(), schema, columns, strict=True)
        ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(pa: Any, kind: Kind, arrow_type: Any, column: Any) -> Any:
    match kind:
        case "text":
            return pa.array(decode_texts_to_unicode(column), arrow_type)
        case "time":
            return pa.array(column, pa.string()).cast(arrow_type)
        case "money":
            return _dollars(pa, pa.array(column, pa.int64()))
    return pa.array(column, arrow_type)


def _dollars(pa: Any, picodollars: Any) -> Any:
    """Shift the decimal point by reinterpreting the digits."""
    return picodollars.cast(pa.decimal128(20, 0)).view(pa.decimal128(20, 12))


def stored_columns(table: Table[Any], rows: Any) -> Columns:
    """Return the columns, in stored form, of an Arrow table whose texts are in stored form."""
    with_kinds = zip(table.kinds.items(), rows.select(table.names).columns, strict=True)
    return [_stored(kind, column.combine_chunks()) for (_, kind), column in with_kinds]


def _stored(kind: Kind, column: Any) -> list[Any]:
    match kind:
        case "time":
            return [each and encode_time(each) for each in column.to_pylist()]
        case "money":
            pa = pyarrow()
            return column.view(pa.decimal128(20, 0)).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


# --- from CSV -------------------------------------------------------------------------------------


def arrow_tables_of_csv(
    table: Table[Any], order: tuple[Order, ...], texts: Iterable[bytes], *, escaped: bool = False
) -> Iterator[Any]:
    """Yield an Arrow table for each chunk of CSV; `escaped` keeps texts in stored form."""
    return prefetch_map(lambda text: _table_of_csv(table, order, text, escaped), texts)


def _table_of_csv(
    table: Table[Any], order: tuple[Order, ...], text: bytes, keep_escaped: bool
) -> Any:
    pa = pyarrow()
    try:
        read = pa.csv.read_csv(pa.py_buffer(text), **_csv_options(pa, table, order, len(text)))
    except pa.ArrowInvalid as error:
        raise CorruptDatabaseError(f"{table.name} holds what cannot be read: {error}") from error
    # Searching for one byte is much faster than for three.
    escaped = not keep_escaped and _ESCAPE[:1] in text and _ESCAPE in text
    columns = [
        _from_csv(pa, kind, read[name], escaped=escaped) for name, kind in table.kinds.items()
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema(table))


def _from_csv(pa: Any, kind: Kind, column: Any, *, escaped: bool) -> Any:
    if kind == "money":
        return _dollars(pa, column.combine_chunks())
    if kind == "text" and escaped:
        return pa.array(decode_texts_to_unicode(column.to_pylist()), pa.string())
    return column


def _csv_options(pa: Any, table: Table[Any], order: tuple[Order, ...], size: int) -> dict[str, Any]:
    return {
        "read_options": pa.csv.ReadOptions(
            use_threads=False,
            column_names=csv_columns(table, order),
            block_size=size + 1,  # pyarrow refuses a row longer than a block.
        ),
        "parse_options": pa.csv.ParseOptions(quote_char="'", newlines_in_values=True),
        "convert_options": pa.csv.ConvertOptions(
            column_types=_types(table, money=pa.int64()),
            null_values=["", "NULL"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    }
