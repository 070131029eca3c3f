"""A small HTML table for notebooks: the first rows, long values cut, everything escaped."""

from __future__ import annotations

from typing import Any

from curio_persistence.store.table import Columns, Table

_ROWS = 20
_CHARACTERS = 120


def html_table(table: Table[Any], columns: Columns, heading: str) -> str:
    """Return the first rows under a heading."""
    from html import escape  # Slow to import, and seldom needed.

    shown = [column[:_ROWS] for column in columns]
    if len(columns[0]) > _ROWS:
        heading += f"; the first {_ROWS}"
    names = "".join(f"<th>{name}</th>" for name in table.names)
    with table.naming_damage(shown):
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(_cell(value))}</td>' for value in row)}</tr>"
            for row in zip(*table.decode_columns(shown), strict=True)
        )
    return (
        f"<p>{escape(heading)}</p>"
        f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    # Lone surrogates, which no page can contain, as question marks.
    text = str(value).encode(errors="replace").decode()
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"
