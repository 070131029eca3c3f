"""What of a record is searched: its texts, their words, and the marks by which it is picked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple
from zlib import crc32

from curio_persistence.store.search_index import Document
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.text.tokenizer import MOST_WORDS, words_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Numbers as they stand there.
_JSON = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_BETWEEN = ""


class Sort(NamedTuple):
    """One sort of record: its table, where its words are, what it is picked by, and when it was."""

    name: str
    table: Table[Any]
    texts: tuple[str, ...]
    marked: tuple[str, ...]
    time: str


SORTS = (
    Sort(
        "run",
        RUNS,
        ("objective", "final_synthesis_output", "error_message"),
        ("agent_id", "run_id", "session_id"),
        "created_at",
    ),
    Sort(
        "event",
        EVENTS,
        ("message", "data"),
        ("agent_id", "run_id", "session_id", "event_type", "level"),
        "timestamp",
    ),
    Sort(
        "usage",
        USAGE,
        ("prompt", "response_content", "error_message"),
        ("agent_id", "run_id", "model"),
        "created_at",
    ),
)
"""Each at the number by which the index knows it."""
KINDS: Mapping[Table[Any], int] = {sort.table: kind for kind, sort in enumerate(SORTS)}
_MARKED: Sequence[Callable[[Any], tuple[str | None, ...]]] = [
    attrgetter(*sort.marked) for sort in SORTS
]


def texts_of(kind: int, record: Any) -> Iterator[tuple[str, str]]:
    """The fields of a record that are searched, as people read them."""
    for field in SORTS[kind].texts:
        if text := getattr(record, field):
            yield field, _readable(text) if field == "data" else text


def words_in(kind: int, record: Any) -> list[str]:
    """The words of a record, in order, as many as are searched."""
    texts = []
    for field in SORTS[kind].texts:
        if text := getattr(record, field):
            # Between words JSON has nothing but what parts them, unless it has escapes.
            is_plain = field != "data" or "\\" not in text
            texts.append(text if is_plain else "\n".join(_pieces(text)))
    return words_of("\n".join(texts))


def words_apart_in(kind: int, record: Any) -> list[str]:
    """The same words, with "" between two texts: no phrase goes from one into the other."""
    words: list[str] = []
    room = MOST_WORDS
    for field in SORTS[kind].texts:
        if text := getattr(record, field):
            for piece in _pieces(text) if field == "data" else (text,):
                found = words_of(piece)[:room]
                room -= len(found)
                words += (*found, _BETWEEN)
    return words


def document_of(kind: int, record: Any, place: int) -> Document:
    """What the index keeps of a record."""
    words = words_in(kind, record)
    distinct = " ".join({*words, *marks_of(kind, record)})
    return Document(place, kind, record.id, len(words), distinct)


def marks_of(kind: int, record: Any) -> tuple[str, ...]:
    """The marks of a record, which stand among its words."""
    return _marks(kind, _MARKED[kind](record))


@lru_cache(10_000)
def _marks(kind: int, values: tuple[str | None, ...]) -> tuple[str, ...]:
    sort = SORTS[kind]
    pairs = zip(sort.marked, values, strict=True)
    marks = (mark(column, value) for column, value in pairs if value is not None)
    return (mark("kind", sort.name), *marks)


@lru_cache(10_000)
def mark(column: str, value: str) -> str:
    """A short name for a column's value; no word begins as it does. Two values may share one."""
    return f"§{crc32(bytes(f'{column} {value}', 'utf-8')):08x}"


def place_of(kind: int, record: Any) -> int:
    """The place that a record would have if it was free."""
    return place_at(getattr(record, SORTS[kind].time))


def place_at(moment: datetime) -> int:
    """The first place of a moment, in milliseconds."""
    return (moment - _EPOCH) // _MILLISECOND


def _pieces(text: str) -> Iterator[str]:
    """The keys and values of a payload, or all of it where it is no JSON."""
    value = _parsed(text)
    if value is None:
        yield text
        return
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            for key, each in reversed(value.items()):
                rest += (each, key)
        elif isinstance(value, list):
            rest += reversed(value)
        else:
            yield value if isinstance(value, str) else json.dumps(value)


def _readable(text: str) -> str:
    """A payload without brackets and quotation marks."""
    value = _parsed(text)
    try:
        return text if value is None else _shown(value)
    except RecursionError:  # So deep that it could just be read.
        return text


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(text: str) -> Any:
    """What a payload holds where it is JSON, numbers as their text; else None."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None  # A number is a word, and so is what looks like nothing.
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError):
        return None
