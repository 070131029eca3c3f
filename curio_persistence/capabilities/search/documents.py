"""Turn records into documents: their texts, the words of these, and marks of their columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple
from zlib import crc32

from curio_persistence.store.search_index import MARK, Document
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.text.tokenizer import MOST_WORDS, split_camel_case, tokenize

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Numbers as they are written.
_JSON = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_BETWEEN = ""
_SHORT = MOST_WORDS // 4
"""Characters that never make more than `MOST_WORDS` words: one makes four at most."""


class Kind(NamedTuple):
    """A kind of record: its table, the columns of texts, of filters and of its time."""

    name: str
    table: Table[Any]
    texts: tuple[str, ...]
    marked: tuple[str, ...]
    time: str


KINDS = (
    Kind(
        "run",
        RUNS,
        ("objective", "final_synthesis_output", "error_message"),
        ("agent_id", "run_id", "session_id"),
        "created_at",
    ),
    Kind(
        "event",
        EVENTS,
        ("message", "data"),
        ("agent_id", "run_id", "session_id", "event_type", "level"),
        "timestamp",
    ),
    Kind(
        "usage",
        USAGE,
        ("prompt", "response_content", "error_message"),
        ("agent_id", "run_id", "model"),
        "created_at",
    ),
)
"""Their positions are the numbers by which the index knows them."""
NUMBERS: Mapping[Table[Any], int] = {kind.table: number for number, kind in enumerate(KINDS)}
_MARKED: Sequence[Callable[[Any], tuple[str | None, ...]]] = [
    attrgetter(*kind.marked) for kind in KINDS
]


def texts_of(kind: int, record: Any) -> Iterator[tuple[str, str]]:
    """Yield the searched fields of a record, as people read them."""
    for field in KINDS[kind].texts:
        if text := getattr(record, field):
            yield field, readable(text)


def text_size(kind: int, record: Any) -> int:
    """Return how many characters a record's texts have."""
    return sum(len(getattr(record, field) or "") for field in KINDS[kind].texts)


def tokenize_record(kind: int, record: Any) -> list[str]:
    """Return the searched words of a record, of each text the first `MOST_WORDS`.

    They are in order; parts of CamelCase words come at the end.
    """
    texts = []
    for field in KINDS[kind].texts:
        if text := getattr(record, field):
            # Between words JSON has only separators, unless it has escapes.
            texts.append("\n".join(_pieces(text)) if "\\" in text else text)
    if sum(map(len, texts)) <= _SHORT:  # One call takes less time than one for each text.
        texts = ["\n".join(texts)]
    words = list(chain.from_iterable(map(tokenize, texts)))
    for split in filter(None, map(split_camel_case, texts)):
        words += (_BETWEEN, *tokenize(split))
    return words


def tokenize_apart(kind: int, record: Any) -> list[str]:
    """Return the same words with "" between two texts, so that no phrase spans both."""
    words: list[str] = []
    for field in KINDS[kind].texts:
        room = MOST_WORDS
        if text := getattr(record, field):
            for piece in _pieces(text):
                found = tokenize(piece)[:room]
                room -= len(found)
                words += (*found, _BETWEEN)
                if split := split_camel_case(piece):
                    words += (*tokenize(split), _BETWEEN)
    return words


def is_cut(document: Document, record: Any) -> bool:
    """Return whether a text of a record has more words than are searched."""
    if document.length < MOST_WORDS:
        return False
    texts = (getattr(record, field) or "" for field in KINDS[document.kind].texts)
    return any(len(tokenize(text)) >= MOST_WORDS for text in texts)


def document_of(kind: int, record: Any) -> Document:
    """Return the document of a record, at the slot that it has if this one is free."""
    words = tokenize_record(kind, record)
    distinct = {*words, *marks_of(kind, record)}
    distinct.discard(_BETWEEN)
    slot = slot_at(getattr(record, KINDS[kind].time))
    return Document(slot, kind, record.id, len(words), " ".join(distinct))


def marks_of(kind: int, record: Any) -> tuple[str, ...]:
    """Return the marks of a record, which the index has among its words."""
    return _marks(kind, _MARKED[kind](record))


@lru_cache(10_000)
def _marks(kind: int, values: tuple[str | None, ...]) -> tuple[str, ...]:
    columns = KINDS[kind].marked
    pairs = zip(columns, values, strict=True)
    return tuple(mark(column, value) for column, value in pairs if value is not None)


@lru_cache(10_000)
def mark(column: str, value: str) -> str:
    """Return a short name for a column's value; a few values may share one."""
    return f"{MARK}{crc32(bytes(f'{column} {value}', 'utf-8')):08x}"


def slot_at(moment: datetime) -> int:
    """Return the first slot of a moment: its milliseconds."""
    return (moment - _EPOCH) // _MILLISECOND


def _pieces(text: str) -> Iterator[str]:
    """Yield the keys and values of a payload, or all of it where it is not JSON."""
    value = parsed(text)
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


def readable(text: str) -> str:
    """Return a payload without brackets and quotation marks."""
    value = parsed(text)
    try:
        return text if value is None else _shown(value)
    except RecursionError:  # It is nested so deep that it could just be parsed.
        return text


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return value if isinstance(value, str) else json.dumps(value)


def parsed(text: str) -> Any:
    """Return the value of a payload that is JSON, numbers as their text; else None."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None  # A number is a word, and so are NaN and Infinity.
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError):
        return None
