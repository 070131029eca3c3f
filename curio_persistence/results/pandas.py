"""Rows as pandas frames. pandas is imported on use.

The type of a stored column never depends on its values: integers are nullable `Int64`, costs are
floats. A lone surrogate becomes U+FFFD, as in Arrow tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from types import NoneType
from typing import Any

from curio_persistence.errors import ConfigurationError, InvalidValueError
from curio_persistence.store.codecs import (
    PICODOLLARS,
    decode_tags,
    decode_texts_to_unicode,
    encode_json,
    encode_tags,
    to_unicode,
)
from curio_persistence.store.column import Kind
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables.columns import object_in


def pandas() -> Any:
    """Return the module; raises ConfigurationError where it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise ConfigurationError(
            f"Data frames need pandas ({error}): pip install 'curio-persistence[pandas]'"
        ) from error
    return pandas


def data_frame(table: Table[Any], chunks: Iterable[Columns], expand: str | Iterable[str]) -> Any:
    """Return the frame of rows that were read as columns, in any number of chunks.

    `expand` names columns with JSON whose members become columns too.
    """
    objects: dict[str, list[Mapping[str, Any]]] = {name: [] for name in _names(table, expand)}
    pd, frames = pandas(), []
    for columns in chunks:
        frames.append(_frame(pd, table, columns))
        for name, found in objects.items():
            found.extend(map(object_in, columns[table.names.index(name)]))
    nothing: Columns = [()] * len(table.names)
    frame = pd.concat(frames or [_frame(pd, table, nothing)], ignore_index=True)
    members = dict(chain.from_iterable(_members(pd, *each) for each in objects.items()))
    return pd.concat([frame, pd.DataFrame(members)], axis=1) if members else frame


def _frame(pd: Any, table: Table[Any], columns: Columns) -> Any:
    tags = table.encoded_by(encode_tags)
    named = zip(table.kinds.items(), columns, strict=True)
    with table.naming_damage(columns):
        return pd.DataFrame(
            {
                name: pd.Series(decode_tags(column), dtype=object)
                if name in tags
                else _series(pd, kind, column)
                for (name, kind), column in named
            }
        )


def _series(pd: Any, kind: Kind, column: Any) -> Any:
    match kind:
        case "integer":
            return pd.Series(column, dtype="Int64")
        case "real":
            return pd.Series(column, dtype="float64")
        case "money":
            dollars = [None if cost is None else cost / PICODOLLARS for cost in column]
            return pd.Series(dollars, dtype="float64")
        case "time":
            return _times(pd, column)
        case "text":
            column = decode_texts_to_unicode(column)
    return pd.Series(column, dtype=_text_type(pd))


def _text_type(pd: Any) -> Any:
    """Return the type of text, of which pandas has one of its own from version 3 on."""
    return "str" if int(pd.__version__.partition(".")[0]) >= 3 else object


def _times(pd: Any, column: Iterable[str | None]) -> Any:
    """Return times in UTC to the microsecond; the parser of pandas 2 stops at the year 2262."""
    import numpy as np  # pandas needs it anyway.

    # NumPy has no time zones, and reads some damaged texts as times; all stored times are in UTC.
    local = [time and datetime.fromisoformat(time.rpartition("+")[0]) for time in column]
    return pd.Series(np.array(local, dtype="datetime64[us]")).dt.tz_localize("UTC")


# --- members of JSON ------------------------------------------------------------------------------


def _names(table: Table[Any], expand: Any) -> list[str]:
    """Return the names of columns to expand; raise InvalidValueError for one without JSON."""
    several = isinstance(expand, Iterable) and not isinstance(expand, str)
    names, known = list(expand) if several else [expand], table.encoded_by(encode_json)
    for name in names:
        if name not in known:
            raise InvalidValueError(
                f"expand takes columns with JSON ({', '.join(known) or 'here are none'}), "
                f"not {name!r}.",
                field="expand",
            )
    return names


def _members(pd: Any, name: str, objects: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield a column for each member of objects, in order of appearance."""
    for key in dict.fromkeys(chain.from_iterable(objects)):
        yield f"{name}.{to_unicode(key)}", _inferred(pd, [each.get(key) for each in objects])


def _inferred(pd: Any, values: list[Any]) -> Any:
    """Return a column of parsed JSON, of a type that holds all values, else of Python objects."""
    types = frozenset(map(type, values)) - {NoneType}
    if str in types:
        values = [to_unicode(value) if isinstance(value, str) else value for value in values]
    dtype = _text_type(pd) if types == {str} else _TYPES.get(types, object)
    try:
        return pd.Series(values, dtype=dtype)
    except (OverflowError, TypeError):  # An integer that is too large.
        return pd.Series(values, dtype=object)


_TYPES: Mapping[frozenset[type], str] = {
    frozenset({bool}): "boolean",
    frozenset({int}): "Int64",
    frozenset({float}): "float64",
    frozenset({int, float}): "float64",
}
