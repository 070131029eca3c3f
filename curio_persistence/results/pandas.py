"""Rows as pandas frames. pandas is imported on use.

A column's type never depends on its values: integers are nullable `Int64`, costs are floats. A lone
surrogate becomes U+FFFD, as in Arrow tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from curio_persistence.errors import ConfigurationError
from curio_persistence.store.codecs import PICODOLLARS, decode_texts_to_unicode
from curio_persistence.store.table import Columns, Kind, Table


def pandas() -> Any:
    """Return the module; raises ConfigurationError where it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise ConfigurationError(
            f"Data frames need pandas ({error}): pip install 'curio-persistence[pandas]'"
        ) from error
    return pandas


def data_frame(table: Table[Any], chunks: Iterable[Columns]) -> Any:
    """Return the frame of rows that were read as columns, in any number of chunks."""
    pd = pandas()
    frames = [_frame(pd, table, columns) for columns in chunks]
    nothing: Columns = [()] * len(table.names)
    return pd.concat(frames or [_frame(pd, table, nothing)], ignore_index=True)


def _frame(pd: Any, table: Table[Any], columns: Columns) -> Any:
    named = zip(table.kinds.items(), columns, strict=True)
    with table.naming_damage(columns):
        return pd.DataFrame({name: _series(pd, kind, column) for (name, kind), column in named})


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
    # pandas has a text type of its own from version 3 on.
    has_text = int(pd.__version__.partition(".")[0]) >= 3
    return pd.Series(column, dtype="str" if has_text else object)


def _times(pd: Any, column: Iterable[str | None]) -> Any:
    """Return times in UTC to the microsecond; the parser of pandas 2 stops at the year 2262."""
    import numpy as np  # pandas needs it anyway.

    # NumPy has no time zones, and reads some damaged texts as times; all stored times are in UTC.
    local = [time and datetime.fromisoformat(time.rpartition("+")[0]) for time in column]
    return pd.Series(np.array(local, dtype="datetime64[us]")).dt.tz_localize("UTC")
