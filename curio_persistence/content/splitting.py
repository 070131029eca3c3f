"""Find the long strings and lists in a text that may be JSON.

Objects keep their shape, so that queries find their members. A list of messages grows by its last
elements, and a prompt that is no JSON by its last lines: they are stored as these and what stands
before them, which is found by the running hash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from json import decoder
from typing import Any, NamedTuple

from curio_persistence.content.markers import address_of, kind_of_string, marker, to_bytes

LONG = 1_024
"""The characters of a text that is stored once."""
PART = 512
"""The characters of a string or list in JSON that is stored once, and of other texts of such a row.

Less saves nothing any more: a marker and what belongs to it take 200 bytes.
"""

_GROWING = 8 * PART
"""The characters of a text in lines that may have grown out of another."""

_NEXT = re.compile(r'["\[{}]')
_SPACE = re.compile(r"[ \t\n\r]*")
_string: Callable[[str, int, bool], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]
# To a float, because an integer of very many digits would be refused.
_decode: Callable[[str, int], tuple[Any, int]] = decoder.JSONDecoder(parse_int=float).raw_decode


class _String(NamedTuple):
    """A long string: where it is written, and its value."""

    begin: int
    end: int
    value: str


class _Elements(NamedTuple):
    """Where a long list begins, and where each of its elements ends."""

    begin: int
    ends: list[int]


@dataclass(frozen=True)
class GrownText:
    """A long text that may begin with a stored one, and all the places where that one may end.

    These are the ends of elements of a list, whose last bracket is left out, or of lines.
    """

    scope: str
    text: str
    ends: list[int]
    is_list: bool

    @property
    def stops(self) -> tuple[int, ...]:
        """The places up to which it is stored: more lines may follow its last full piece."""
        last = len(self.ends) - 1
        return (last,) if self.is_list else (last - 1, last)

    @cached_property
    def addresses(self) -> list[str]:
        """The addresses of the texts up to each place."""
        hasher, begin, found = sha256(), 0, []
        for end in self.ends:
            hasher.update(to_bytes(self.text[begin:end]))
            found.append(address_of(self.scope, hasher))
            begin = end
        return found

    def between(self, place: int | None, stop: int) -> Split:
        """Return the text from one place, or the begin, up to another."""
        rest = self.text[0 if place is None else self.ends[place] : self.ends[stop]]
        return _marked(self.scope, rest, strings_in(rest)) if self.is_list else Split(rest)


@dataclass(frozen=True)
class Split:
    """A text with markers in place of its long parts, and these."""

    shape: str
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts by their addresses."""
    grown: tuple[GrownText, ...] = ()


def split(scope: str, text: str) -> Split | None:
    """Return a long text in parts; None for an object without long parts, which stays as it is."""
    try:
        strings, lists = _long_parts(text)
    except (ValueError, IndexError, RecursionError):  # It is not JSON.
        return _whole(scope, text)
    return _marked(scope, text, strings, lists) if strings or lists else None


def _whole(scope: str, text: str) -> Split:
    """Return a text that is no JSON."""
    ends = _ends_of_lines(text) if len(text) >= _GROWING else []
    if ends:
        grown = GrownText(scope, text, [*ends, len(text)], is_list=False)
        return Split(marker("t", grown.addresses[-1]), {}, (grown,))
    address = address_of(scope, text)
    return Split(marker("t", address), {address: text})


def _ends_of_lines(text: str) -> list[int]:
    """Return where pieces of whole lines end, each as short as it may be, before the text ends."""
    ends, position = list[int](), 0
    while (position := text.find("\n", position + PART) + 1) and position < len(text):
        ends.append(position)
    return ends


def _long_parts(text: str) -> tuple[list[_String], list[_Elements]]:
    """Return the long lists that are in no other list, and the long strings that are in none."""
    strings, lists, position, depth = list[_String](), list[_Elements](), 0, 0
    if text[0] not in "{[":
        raise ValueError("This is neither an object nor a list.")
    while found := _NEXT.search(text, position):
        begin, position = found.span()
        if text[begin] == '"':
            value, position = _string(text, position, False)
            if len(value) >= PART and text[_behind_space(text, position)] != ":":  # It is no key.
                strings.append(_String(begin, position, value))
        elif text[begin] == "[":
            ends, end = _elements(text, position)
            if end - begin >= PART:
                if text[ends[-1]] == "]":
                    lists.append(_Elements(begin, ends))
                else:  # A list over several lines: it does not grow by what stands at its end.
                    strings += strings_in(text, begin, end)
            position = end + 1
        else:
            depth += 1 if text[begin] == "{" else -1
        if depth == 0 and _SPACE.fullmatch(text, position):
            return strings, lists
    raise ValueError("This object has no end.")


def _elements(text: str, position: int) -> tuple[list[int], int]:
    """Return where each element of a list ends, and the position of its last bracket."""
    ends = list[int]()
    position = _behind_space(text, position)
    while text[position] != "]":
        _, end = _decode(text, position)
        ends.append(end)
        position = _behind_space(text, end)
        if text[position] == ",":
            position = _behind_space(text, position + 1)
        elif text[position] != "]":
            raise ValueError("This list has no end.")
    return ends, position


def _behind_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def strings_in(text: str, position: int = 0, end: int | None = None) -> Iterator[_String]:
    """Yield the long strings in a part of JSON that begins and ends outside of a string."""
    while (begin := text.find('"', position, end)) >= 0:
        value, position = _string(text, begin + 1, False)
        if len(value) >= PART:
            yield _String(begin, position, value)


def _marked(
    scope: str, text: str, strings: Iterable[_String], lists: Iterable[_Elements] = ()
) -> Split:
    """Return a text with markers in place of its long parts."""
    texts, grown, marks = dict[str, str](), list[GrownText](), list[tuple[int, int, str]]()
    for begin, end, value in strings:
        kind = kind_of_string(text[begin:end], value)
        stored = text[begin:end] if kind == "r" else value
        address = address_of(scope, stored)
        texts[address] = stored
        marks.append((begin, end, marker(kind, address)))
    for begin, ends in lists:
        last = ends[-1]
        grown.append(
            GrownText(scope, text[begin:last], [end - begin for end in ends], is_list=True)
        )
        marks.append((begin, last + 1, marker("l", grown[-1].addresses[-1])))
    return Split(_replaced(text, sorted(marks)), texts, tuple(grown))


def _replaced(text: str, marks: Iterable[tuple[int, int, str]]) -> str:
    pieces, done = list[str](), 0
    for begin, end, mark in marks:
        pieces += (text[done:begin], mark)
        done = end
    return "".join((*pieces, text[done:]))
