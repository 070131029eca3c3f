"""Checks of what others send: a wrong record is rejected, and the rest of its body is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.otel.spans import Source

_HEX = re.compile("[0-9a-fA-F]+").fullmatch
DELTA = 1
"""The number of a temporality: values since the last ones."""
DISTRIBUTIONS = frozenset({"histogram", "exponential_histogram", "summary"})
"""The types of metrics whose data points tell of several values."""
_TOLD = 3
"""The number of different problems that the answer names."""
_MOST = 100_000
"""The records of a body, and the events and links of a span, that are read. No sender batches
nearly as many, and empty ones are two bytes each: a body has room for millions."""

Raw = TypeVar("Raw")
Record = TypeVar("Record")


class BadRecordError(ValueError):
    """A record that cannot be stored, with the reason."""


class Rejections:
    """The records of one body that were rejected: how many, and why."""

    def __init__(self, noun: str) -> None:
        self.count = 0
        self._noun = noun
        self._reasons: dict[str, None] = {}

    def add(self, reason: str) -> None:
        self.count += 1
        if len(self._reasons) < _TOLD:
            self._reasons[reason] = None

    @property
    def message(self) -> str:
        """Return the answer to the sender; empty if nothing was rejected."""
        if not self.count:
            return ""
        noun = self._noun if self.count == 1 else f"{self._noun}s"
        return f"{self.count} {noun} rejected: {'; '.join(self._reasons)}"


def accepted(
    groups: Iterable[tuple[Source, Iterable[Raw]]],
    convert: Callable[[Raw, Source], Record],
    rejections: Rejections,
) -> Iterator[Record]:
    """Yield the converted records of a body, except those that are wrong or too many."""
    read = 0
    for number, (source, records) in enumerate(groups):
        if number == _MOST:
            raise InvalidValueError(f"The body has more than {_MOST:,} scopes.", field="body")
        for record in records:
            if read == _MOST:
                rejections.add(f"a body has {_MOST:,} records at most")
                continue
            read += 1
            try:
                yield convert(record, source)
            except BadRecordError as error:
                rejections.add(str(error))
            except (AttributeError, KeyError, TypeError):
                rejections.add("a member has another type than OTLP gives it")


def not_too_many(parts: Sized, name: str) -> None:
    """Raise BadRecordError for a span with more events or links than are read."""
    if len(parts) > _MOST:
        raise BadRecordError(f"a span has {_MOST:,} {name} at most")


def required_id(text: object, name: str, digits: int) -> str:
    """Return an id in lower case; raises BadRecordError unless it is hex and not all 0."""
    found = optional_id(text, name, digits)
    if found is None:
        raise BadRecordError(f"{name} is missing or all 0")
    return found


def optional_id(text: object, name: str, digits: int) -> str | None:
    """Return an id in lower case, None for an empty one or zeros."""
    if not text:
        return None
    if not isinstance(text, str) or not _HEX(text):
        raise BadRecordError(f"{name} must be text of hex digits")
    if len(text) != digits:
        raise BadRecordError(f"{name} has {len(text)} hex digits instead of {digits}")
    return text.lower() if text.strip("0") else None


def link_id(text: object, name: str) -> str:
    """Return the id of a link in lower case: hex of any length, as it is not looked up."""
    found = "" if text is None else text
    if not isinstance(found, str) or len(found) % 2 or not (found == "" or _HEX(found)):
        raise BadRecordError(f"{name} of a link must be text of hex digits")
    return found.lower()


def other_than(span_id: str, parent: str | None) -> str | None:
    """Return a parent's id, None for a span that names itself: such a span has no parent."""
    return None if parent == span_id else parent


def end_of(start_ns: int, end_ns: int) -> int:
    """Return an end that is not before its start, 0 for none: clocks are set back."""
    return max(start_ns, end_ns) if end_ns else 0
