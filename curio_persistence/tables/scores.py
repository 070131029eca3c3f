"""The table of scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from curio_persistence.models import Score
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Reference, Table
from curio_persistence.tables.columns import identifier, integer, name, stored_time, text
from curio_persistence.tables.runs import RUNS

SCORE_SOURCES = ("human", "code", "model")


def _encode_source(value: object) -> str:
    source = codecs.encode_id(value)
    if source not in SCORE_SOURCES:
        raise ValueError(f"must be one of {', '.join(SCORE_SOURCES)}, not {source!r}")
    return source


def _decode_spans(column: Sequence[str | None]) -> Iterable[str | None]:
    return [span_id or None for span_id in column]


SCORES = Table(
    "agent_scores",
    Score,
    (
        identifier("run_id"),
        identifier("name"),
        Column("value", codecs.encode_real),
        Column("label", codecs.encode_optional_id),
        text("comment"),
        Column("source", _encode_source, default="human", repeats=True),
        name("author"),
        # Not NULL: SQL holds two NULLs for different, also in a unique key.
        Column("span_id", codecs.encode_name, _decode_spans, default=""),
        integer("id"),
        stored_time("created_at"),
        stored_time("updated_at"),
    ),
    order=(Order("created_at", descending=True), Order("id", descending=True)),
    ages_by="created_at",
    lookups=("run_id",),
    ddl="scores.sql",
    unique=(("run_id", "span_id", "name", "source", "author"),),
    references=Reference("run_id", RUNS),
)
