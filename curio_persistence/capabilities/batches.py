"""Write many records in one transaction, from an iterable of any length, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, TypeVar

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.table import Row

_CHUNK = 1_000

T = TypeVar("T")


def in_one_transaction(
    store: Store, records: Iterable[T], write: Callable[[list[T], int], int]
) -> int:
    """Write records in chunks, all or none, and return the sum of `write(chunk, first)`.

    `first` is the position of the chunk's first record. A single chunk needs no
    transaction besides the one of `write`.
    """
    chunks = _chunks(records)
    first = next(chunks, [])
    second = next(chunks, None)
    if second is None:
        return write(first, 0) if first else 0
    with store.transaction():
        return sum(
            write(chunk, number * _CHUNK)
            for number, chunk in enumerate(chain((first, second), chunks))
        )


def _chunks(records: Iterable[T]) -> Iterator[list[T]]:
    try:
        following = iter(records)
    except TypeError as error:
        raise InvalidValueError(
            f"A batch is an iterable of records, not one {type(records).__name__}."
        ) from error
    while chunk := list(islice(following, _CHUNK)):
        yield chunk


def encode_all(encode: Callable[[Any], Row], records: list[Any], first: int) -> list[Row]:
    """Return the rows of some records; the error for an invalid record names its position."""
    rows: list[Row] = []
    try:
        for record in records:
            rows.append(encode(record))
    except InvalidValueError as error:
        at = first + len(rows)
        raise InvalidValueError(f"Record {at} of the batch: {error}", field=error.field) from error
    return rows
