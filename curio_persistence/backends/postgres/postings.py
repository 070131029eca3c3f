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
from itertools import accumulate, chain, filterfalse
from operator import add
from typing import Literal, NamedTuple

from curio_persistence.store.search_index import Term, Wanted

BLOCK = 1 << 16
"""So many numbers share their lists."""
Lists = dict[str, bytes]
"""Words, each with the list of the numbers that have it."""

_TIMES = 16
"""Segments are merged when the first of them is so many times smaller than all together."""
_FULL = 2_400
"""Octets after which a page ends, before it is compressed: above 2,000 PostgreSQL cuts it up."""
_Code = Literal["H", "q"]
_HALVINGS = 30
"""To find a number by halving a list takes as long as to put so many into a set."""
_HEAD = struct.Struct("<II")
_BETWEEN = "\n"
_AFTER_ALL = b"\xff"
"""No UTF-8 has it."""


class Page(NamedTuple):
    """Words in order, and the list of each."""

    words: list[str]
    lists: list[bytes]

    @classmethod
    def read(cls, content: bytes) -> Page:
        """A page as it is kept. ValueError where that is damaged."""
        try:
            octets = zlib.decompress(content)
            count, length = _HEAD.unpack_from(octets)
            middle = _HEAD.size + length
            end = middle + 2 * count
            words = octets[_HEAD.size : middle].decode().split(_BETWEEN)
            ends = list(accumulate(2 * each + 2 for each in _numbers(octets[middle:end])))
            numbers = _together(octets[end:])
        except (zlib.error, struct.error, ValueError) as error:
            raise ValueError("damaged: a page of posting lists cannot be read") from error
        if not len(words) == len(ends) == count or ends[-1] != len(numbers):
            raise ValueError("damaged: a page of posting lists is not whole")
        begins = chain((0,), ends)
        return cls(words, [numbers[begin:end] for begin, end in zip(begins, ends, strict=False)])

    @classmethod
    def kept(cls, words: Sequence[str], lists: Sequence[bytes]) -> bytes:
        """What `read` reads."""
        spelled = _BETWEEN.join(words).encode()
        counts = _octets([len(each) // 2 - 1 for each in lists])
        numbers = b"".join(lists)
        # The upper halves of numbers are much alike, so they are kept side by side.
        parts = (_HEAD.pack(len(words), len(spelled)), spelled, counts, numbers[::2], numbers[1::2])
        return zlib.compress(b"".join(parts), 1)

    def offsets(self) -> set[int]:
        """Where in their block the numbers are that it has."""
        return set(_numbers(b"".join(self.lists)))

    def is_of(self, numbers: range) -> bool:
        """Whether it is in order, and has none but these numbers of a block."""
        offsets = self.offsets()
        first, last = numbers[0] % BLOCK, numbers[-1] % BLOCK
        in_order = self.words == sorted(set(self.words))
        return in_order and first <= min(offsets) <= max(offsets) <= last

    def lists_of(self, term: Term) -> list[bytes]:
        """The lists of a word, or of all that begin with it."""
        word, is_prefix = term
        first = bisect_left(self.words, word)
        if is_prefix:
            return self.lists[first : bisect_right(self.words, word, first, key=_begin(len(word)))]
        return self.lists[first : first + (self.words[first : first + 1] == [word])]


def _begin(length: int) -> Callable[[str], str]:
    return lambda word: word[:length]


def bounds(term: Term) -> tuple[bytes, bytes]:
    """The first and the last word that a term may mean."""
    word = term.word.encode()
    return word, word + _AFTER_ALL if term.is_prefix else word


def lists_of(documents: Iterable[str], first: int) -> Lists:
    """The words of documents, with a space between two; their numbers go from `first` on."""
    lists: defaultdict[str, bytearray] = defaultdict(bytearray)
    for number, words in enumerate(documents, first % BLOCK):
        octets = number.to_bytes(2, "little")
        for word in words.split():
            lists[word] += octets
    return {word: bytes(octets) for word, octets in lists.items()}


def pages_of(some: Iterable[Lists]) -> Iterator[tuple[bytes, bytes]]:
    """Lists as they are kept: the first word of each page, and the page.

    All words of the next lists come after those of the ones before.
    """
    words: list[str] = []
    kept: list[bytes] = []
    for lists in some:
        following = sorted(lists)
        words += following
        kept += map(lists.__getitem__, following)
        done = 0
        for end in _page_ends(words, kept):
            yield _page(words[done:end], kept[done:end])
            done = end
        del words[:done], kept[:done]
    if words:
        yield _page(words, kept)


def _page(words: Sequence[str], lists: Sequence[bytes]) -> tuple[bytes, bytes]:
    return words[0].encode(), Page.kept(words, lists)


def _page_ends(words: Sequence[str], lists: Sequence[bytes]) -> Iterator[int]:
    """Where full pages end."""
    sizes = list(accumulate(map(add, map(len, words), map(len, lists))))
    before = 0
    while sizes and sizes[-1] >= before + _FULL:
        end = bisect_left(sizes, before + _FULL) + 1
        yield end
        before = sizes[end - 1]


def merged(segments: Sequence[Iterable[Page]]) -> Iterator[Lists]:
    """The lists of several segments of a block, the one with the smallest numbers first.

    No more than a page of each is looked at at a time.
    """
    cursors = [_Cursor(iter(pages)) for pages in segments]
    while pages := [cursor.page for cursor in cursors if cursor.page]:
        upto = min(page.words[-1] for page in pages)
        lists: Lists = {}
        for cursor in cursors:
            for word, numbers in cursor.take(upto):
                lists[word] = lists.get(word, b"") + numbers
        yield lists


class _Cursor:
    """How far a segment was read."""

    def __init__(self, pages: Iterator[Page]) -> None:
        self._pages = pages
        self._at = 0
        self.page = next(pages, None)

    def take(self, upto: str) -> Iterable[tuple[str, bytes]]:
        """The next words with their lists, up to a word that is none of a later page."""
        if self.page is None:
            return ()
        words, lists = self.page
        begin, end = self._at, bisect_right(words, upto, self._at)
        self._at = end
        if end == len(words):
            self.page, self._at = next(self._pages, None), 0
        return zip(words[begin:end], lists[begin:end], strict=True)


def without(lists: Lists, gone: Collection[int]) -> Lists:
    """Lists without some numbers, and without the words that then have none."""
    offsets = {number % BLOCK for number in gone}
    left = {
        word: _octets([number for number in _numbers(numbers) if number not in offsets])
        for word, numbers in lists.items()
    }
    return {word: numbers for word, numbers in left.items() if numbers}


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
    """What `pack_places` made of them. ValueError where that is damaged."""
    try:
        return _numbers(zlib.decompress(content), "q")
    except (zlib.error, ValueError) as error:
        raise ValueError("damaged: the places of documents cannot be read") from error


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
