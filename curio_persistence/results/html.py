"""A small HTML table for notebooks: the first rows, long values cut, everything escaped."""

from __future__ import annotations

from typing import Any

from curio_persistence.store.table import Columns, Table

_ROWS = 20
_CHARACTERS = 120
_FIRST = (
    *("created_at", "timestamp", "started_at", "run_id", "agent_id", "status", "level"),
    *("event_type", "model", "error_message", "objective", "message", "data"),
)
"""Columns that readers look for first; the order of the table has them far to the right."""


def html_table(table: Table[Any], columns: Columns, heading: str) -> str:
    """Return the first rows under a heading, without the columns that are empty in all of them."""
    from html import escape  # Slow to import, and seldom needed.

    shown = [column[:_ROWS] for column in columns]
    if len(columns[0]) > _ROWS:
        heading += f"; the first {_ROWS}"
    with table.naming_damage(shown):
        cells = [[escape(_cell(value)) for value in each] for each in table.decode_columns(shown)]
    filled = {name: each for name, each in zip(table.names, cells, strict=True) if any(each)}
    in_order = sorted(filled, key=_position)
    names = "".join(f"<th>{name}</th>" for name in in_order)
    rows = "".join(
        f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>"
        for row in zip(*(filled[name] for name in in_order), strict=True)
    )
    return (
        f"<p>{escape(heading)}</p>"
        f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _position(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    # Lone surrogates, which no page can contain, as question marks.
    text = str(value).encode(errors="replace").decode()
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"
