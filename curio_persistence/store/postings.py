"""Posting lists: the numbers of the records that have a word, in pages that a database just keeps.

Records are numbered in the order in which they are taken up, and 65,536 numbers are a block. Of a
number a list keeps its place in the block, in two octets; so lists of one block are joined by being
put one behind the other. What was written of a block at a time is a segment: its words in order,
each with its list, in pages of some kilobytes. When there are many small segments they are merged
into a large one.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, filterfalse
from typing import Literal, NamedTuple

from curio_persistence.store.word_index import Term, Wanted

BLOCK = 1 << 16
"""So many numbers share their lists."""
Posting = tuple[bytes, bytes]
"""A word, and the list of the numbers that have it."""

_TIMES = 16
"""Segments are merged when the first of them is so many times smaller than all together."""
_FULL = 6_000
"""Octets after which a page ends, before it is compressed."""
_Code = Literal["H", "q"]
_HALVINGS = 30
"""To find a number by halving a list takes as long as to put so many into a set."""
_HEAD = struct.Struct("<II")
_BETWEEN = b"\n"
_LAST = b"\xff"
"""Comes after all that UTF-8 may have."""


class Page(NamedTuple):
    """Words in order, where the list of each ends, and all lists, one behind the other."""

    words: list[bytes]
    ends: list[int]
    lists: bytes

    @classmethod
    def read(cls, content: bytes) -> Page:
        """A page as it is kept. ValueError where that is damaged."""
        try:
            octets = zlib.decompress(content)
            count, length = _HEAD.unpack_from(octets)
            middle = _HEAD.size + length
            end = middle + 2 * count
            words = octets[_HEAD.size : middle].split(_BETWEEN)
            ends = list(accumulate(2 * each + 2 for each in _numbers(octets[middle:end])))
            page = cls(words, ends, _together(octets[end:]))
        except (zlib.error, struct.error, ValueError) as error:
            raise ValueError("damaged: a page of posting lists cannot be read") from error
        if not len(words) == len(ends) == count or ends[-1] != len(page.lists):
            raise ValueError("damaged: a page of posting lists is not whole")
        return page

    def postings(self, first: int = 0, end: int | None = None) -> Iterator[Posting]:
        """The words from one to before another, each with its list."""
        ends = self.ends[first:end]
        begin = self.ends[first - 1] if first else 0
        for word, stop in zip(self.words[first:end], ends, strict=True):
            yield word, self.lists[begin:stop]
            begin = stop

    def is_of(self, numbers: range) -> bool:
        """Whether it is in order, and has none but these numbers of a block."""
        places = _numbers(self.lists)
        first, last = numbers[0] % BLOCK, numbers[-1] % BLOCK
        return self.words == sorted(set(self.words)) and first <= min(places) <= max(places) <= last

    def lists_of(self, term: Term) -> Iterator[bytes]:
        """The lists of a word, or of all that begin with it."""
        low, high = bounds(term)
        found = self.postings(bisect_left(self.words, low), bisect_right(self.words, high))
        return (numbers for _, numbers in found)


def bounds(term: Term) -> tuple[bytes, bytes]:
    """The first and the last word that a term may mean."""
    word = term.word.encode()
    return word, word + _LAST if term.is_prefix else word


def postings_of(documents: Iterable[Iterable[str]], first: int) -> Iterator[Posting]:
    """The words of documents, in order; the documents have the numbers from `first` on."""
    lists: defaultdict[str, bytes] = defaultdict(bytes)
    for number, words in enumerate(documents, first % BLOCK):
        octets = number.to_bytes(2, "little")
        for word in words:
            lists[word] += octets
    for word in sorted(lists):  # As UTF-8 they have the same order.
        yield word.encode(), lists[word]


def pages_of(postings: Iterable[Posting], *, small: bool) -> Iterator[Posting]:
    """Postings as they are kept: the first word of each page, and the page.

    `small` ones take less room, and longer to make.
    """
    words: list[bytes] = []
    lists: list[bytes] = []
    size = 0
    for word, numbers in postings:
        words.append(word)
        lists.append(numbers)
        size += len(word) + len(numbers)
        if size >= _FULL:
            yield words[0], _content(words, lists, small)
            words, lists, size = [], [], 0
    if words:
        yield words[0], _content(words, lists, small)


def _content(words: list[bytes], lists: list[bytes], small: bool) -> bytes:
    spelled = _BETWEEN.join(words)
    counts = _octets([len(each) // 2 - 1 for each in lists])
    numbers = b"".join(lists)
    # The upper halves of numbers are much alike, so they are kept side by side.
    parts = (_HEAD.pack(len(words), len(spelled)), spelled, counts, numbers[::2], numbers[1::2])
    return zlib.compress(b"".join(parts), 1 if small else 0)


def merged(segments: Sequence[Iterable[Page]]) -> Iterator[Posting]:
    """The postings of several segments of a block, the one with the smallest numbers first.

    No more than a page of each is looked at at a time.
    """
    cursors = [_Cursor(iter(pages)) for pages in segments]
    while cursors := [cursor for cursor in cursors if cursor.page]:
        upto = min(cursor.page.words[-1] for cursor in cursors if cursor.page)
        lists: dict[bytes, bytes] = {}
        for cursor in cursors:
            for word, numbers in cursor.take(upto):
                lists[word] = lists.get(word, b"") + numbers
        for word in sorted(lists):
            yield word, lists[word]


class _Cursor:
    """How far a segment was read."""

    def __init__(self, pages: Iterator[Page]) -> None:
        self._pages = pages
        self._at = 0
        self.page = next(pages, None)

    def take(self, upto: bytes) -> Iterator[Posting]:
        """The next postings up to a word, which is none of a later page."""
        page, first = self.page, self._at
        if page is None:
            return iter(())
        self._at = bisect_right(page.words, upto)
        found = page.postings(first, self._at)
        if self._at == len(page.words):
            self.page, self._at = next(self._pages, None), 0
        return found


def without(postings: Iterable[Posting], gone: Collection[int]) -> Iterator[Posting]:
    """Postings without some numbers, and without the words that then have none."""
    places = {number % BLOCK for number in gone}
    for word, numbers in postings:
        left = [number for number in _numbers(numbers) if number not in places]
        if left:
            yield word, _octets(left)


def first_to_merge(sizes: Sequence[int]) -> int | None:
    """From which segment of a block on all are to be merged; None where they may stay."""
    after = sum(sizes)
    for number, size in enumerate(sizes[:-1]):
        if after >= min(size * _TIMES, BLOCK):
            return number
        after -= size
    return None


def offsets_with(wanted: Wanted, pages: Sequence[Page]) -> Sequence[int]:
    """Where in its block a segment has what may be meant, in order; `pages` has all words of it."""
    # The shortest first: the others are only asked for what it has.
    first, *others = sorted((_either(group, pages) for group in wanted.groups), key=len)
    found: Sequence[int] = first if isinstance(first, array) else sorted(first)
    for each in others:
        found = list(filter(_tester(each, len(found)), found))
    none = _either(wanted.none, pages)
    return list(filterfalse(_tester(none, len(found)), found)) if none else found


def _either(terms: Iterable[Term], pages: Sequence[Page]) -> array[int] | set[int]:
    """The numbers of all lists of some terms: an array, which is in order, if it is but one."""
    lists = [each for term in terms for page in pages for each in page.lists_of(term)]
    numbers = _numbers(b"".join(lists))
    return set(numbers) if len(lists) > 1 else numbers


def _tester(numbers: array[int] | set[int], times: int) -> Callable[[int], bool]:
    """Tells of a number whether it is one of these, fastest if it is asked so many times."""
    if isinstance(numbers, array) and times * _HALVINGS < len(numbers):
        return partial(_is_in, numbers)
    return set(numbers).__contains__


def _is_in(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number


def pack_places(places: Sequence[int]) -> bytes:
    """Places as they are kept."""
    return zlib.compress(_octets(places, "q"), 1)


def read_places(content: bytes) -> Sequence[int]:
    """What `pack_places` made of them."""
    return _numbers(zlib.decompress(content), "q")


def _numbers(octets: bytes, code: _Code = "H") -> array[int]:
    """Numbers of two octets each, or of eight, the lowest octet first."""
    numbers = array(code, octets)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _octets(numbers: Sequence[int], code: _Code = "H") -> bytes:
    kept = array(code, numbers)
    if sys.byteorder == "big":
        kept.byteswap()
    return kept.tobytes()


def _together(halves: bytes) -> bytes:
    """Numbers of which all lower octets stand before all upper ones."""
    count = len(halves) // 2
    numbers = bytearray(2 * count)
    numbers[::2], numbers[1::2] = halves[:count], halves[count:]
    return bytes(numbers)
