"""Tables as CSV for spreadsheets, in which no recorded text is a formula."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return lines of CSV with a header; None is an empty cell.

    A text that a spreadsheet would compute gets an apostrophe in front, which it does not show.
    """
    lines = StringIO()
    writer = csv.writer(lines)
    writer.writerow(heads)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return lines.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.startswith(_FORMULAS) else text
