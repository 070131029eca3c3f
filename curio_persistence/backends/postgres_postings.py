"""Posting lists in tables of PostgreSQL: written a segment at a time; a search reads some pages.

A segment has the documents of some numbers in a row. Its words stand in pages, each in a row under
its first word. The places of the numbers stand in rows of their own, 4,096 to a row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from math import inf
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from curio_persistence.errors import CorruptDatabaseError
from curio_persistence.store.postings import (
    BLOCK,
    Page,
    Posting,
    bounds,
    first_to_merge,
    merged,
    numbers_with,
    pack_places,
    pages_of,
    postings_of,
    read_places,
    without,
)
from curio_persistence.store.word_index import Wanted, Words

Rows = list[tuple[Any, ...]]
Candidate = tuple[int, int]
"""A place, and the number of the document that may be there."""

_IN_A_ROW = 4_096
"""The places of so many numbers stand in one row."""
_AT_ONCE = 200
"""So many pages are written at a time."""


class Segment(NamedTuple):
    """Documents of so many numbers in a row, and between which places they are."""

    first: int
    size: int
    first_place: int
    last_place: int

    @property
    def numbers(self) -> range:
        """Those of its documents."""
        return range(self.first, self.first + self.size)


class MergedError(Exception):
    """Segments were put together by somebody while they were read."""


_SEGMENT = ", ".join(Segment._fields)


class PostgresPostings:
    """The segments of one schema. `place` is where they are, in words."""

    def __init__(
        self,
        read: Callable[[str, tuple[Any, ...]], Rows],
        write: Callable[[str, tuple[Any, ...]], tuple[Rows, int]],
        qualified: Callable[[str], str],
        place: str,
    ) -> None:
        self._read = read
        self._write = write
        self._segments = qualified("agent_search_segments")
        self._postings = qualified("agent_search_postings")
        self._places = qualified("agent_search_places")
        self._place = place

    # --- writing ------------------------------------------------------------------------------

    def add(self, places: Sequence[int], words: Sequence[Words]) -> range:
        """Take up documents at places that ascend; their numbers."""
        segments = self._last_block()
        begin = first = segments[-1].numbers.stop if segments else 0
        while places:
            room = BLOCK - first % BLOCK
            segment = Segment(first, len(places[:room]), places[0], places[:room][-1])
            self._add_places(first, places[:room])
            self._put(segment, postings_of(words[:room], first), small=False)
            segments = self._merge([*segments, segment] if room < BLOCK else [segment])
            first, places, words = segment.numbers.stop, places[room:], words[room:]
        return range(begin, first)

    def _last_block(self) -> list[Segment]:
        """The segments of the block that the last number is of."""
        newest = f"SELECT max(first) / {BLOCK} * {BLOCK} FROM {self._segments}"
        return self._segments_where(f"first >= ({newest}) ORDER BY first", ())

    def _segments_where(self, condition: str, params: tuple[Any, ...]) -> list[Segment]:
        sql = f"SELECT {_SEGMENT} FROM {self._segments} WHERE {condition}"
        return list(map(Segment._make, self._read(sql, params)))

    def _add_places(self, first: int, places: Sequence[int]) -> None:
        while places:
            before = first % _IN_A_ROW
            row = first - before
            known = self._rows_of_places([row]).get(row, ())[:before]
            some = places[: _IN_A_ROW - before]
            self._write(
                f"INSERT INTO {self._places} (first, places) VALUES (%s, %s) "
                "ON CONFLICT (first) DO UPDATE SET places = excluded.places",
                (row, pack_places([*known, *some])),
            )
            first, places = first + len(some), places[len(some) :]

    def _put(
        self, segment: Segment, postings: Iterable[Posting], *, small: bool, forgotten: int = 0
    ) -> None:
        self._write(
            f"INSERT INTO {self._segments} ({_SEGMENT}, forgotten) VALUES (%s, %s, %s, %s, %s)",
            (*segment, forgotten),
        )
        sql = (
            f"INSERT INTO {self._postings} (segment, word, page) "
            "SELECT %s, * FROM unnest(%s::bytea[], %s::bytea[])"
        )
        pages = pages_of(postings, small=small)
        while some := list(islice(pages, _AT_ONCE)):
            self._write(sql, (segment.first, *map(list, zip(*some, strict=True))))

    def _merge(self, segments: list[Segment]) -> list[Segment]:
        """The segments of a block, put together as far as there are too many."""
        at = first_to_merge([segment.size for segment in segments])
        if at is None:
            return segments
        old = segments[at:]
        whole = Segment(
            old[0].first,
            sum(segment.size for segment in old),
            min(segment.first_place for segment in old),
            max(segment.last_place for segment in old),
        )
        postings, forgotten = self._take_out(old)
        self._put(whole, postings, small=True, forgotten=forgotten)
        return [*segments[:at], whole]

    def _take_out(self, segments: Sequence[Segment]) -> tuple[Iterator[Posting], int]:
        """The postings of segments that are in the tables no more, and how many were forgotten."""
        firsts = [segment.first for segment in segments]
        counts, _ = self._write(
            f"DELETE FROM {self._segments} WHERE first = ANY(%s::bigint[]) RETURNING forgotten",
            (array_text(firsts),),
        )
        rows, _ = self._write(
            f"DELETE FROM {self._postings} WHERE segment = ANY(%s::bigint[]) "
            "RETURNING segment, word, page",
            (array_text(firsts),),
        )
        rows.sort(key=lambda row: (row[0], bytes(row[1])))
        pages = [self._pages(list(group)) for _, group in groupby(rows, itemgetter(0))]
        return merged(pages), sum(count for (count,) in counts)

    def _pages(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Page]:
        try:
            for *_, page in rows:
                yield Page.read(page)
        except ValueError as error:
            raise CorruptDatabaseError(
                f"The search index in {self._place} is {error}. "
                "Make it anew: curio-persistence index --rebuild"
            ) from error

    # --- forgetting ---------------------------------------------------------------------------

    def forget(self, numbers: Sequence[int]) -> None:
        """Documents of these numbers are gone. Their words go with the last one of a segment."""
        self._write(
            f"UPDATE {self._segments} s SET forgotten = forgotten + gone.count "
            f"FROM (SELECT first, count(*) FROM {self._segments}, unnest(%s::bigint[]) number "
            "WHERE number >= first AND number < first + size GROUP BY first) gone "
            "WHERE s.first = gone.first",
            (array_text(numbers),),
        )
        self._write(
            f"WITH empty AS (DELETE FROM {self._segments} WHERE forgotten >= size RETURNING first) "
            f"DELETE FROM {self._postings} WHERE segment IN (SELECT first FROM empty)",
            (),
        )

    def write_anew(self, living: Callable[[Sequence[int]], set[int]]) -> None:
        """Leave nothing of what was forgotten. `living` tells of places which numbers have them."""
        for segment in self._segments_where("forgotten > 0", ()):
            there = living(list(self.places_of(segment.numbers).values()))
            gone = set(segment.numbers) - there
            postings, _ = self._take_out([segment])
            self._put(segment, without(postings, gone), small=True)
        self._write(
            f"DELETE FROM {self._places} p WHERE NOT EXISTS (SELECT FROM {self._segments} s "
            f"WHERE s.first < p.first + {_IN_A_ROW} AND s.first + s.size > p.first)",
            (),
        )

    def clear(self) -> None:
        """Leave nothing at all."""
        for table in (self._segments, self._postings, self._places):
            self._write(f"DELETE FROM {table}", ())

    # --- finding ------------------------------------------------------------------------------

    def find(self, wanted: Wanted, since: int, before: int) -> Iterator[list[Candidate]]:
        """Who may be meant at places from `since` to `before`, some at a time, the last one first.

        MergedError where it has to begin anew.
        """
        segments = self._segments_where("last_place >= %s AND first_place < %s", (since, before))
        segments.sort(key=attrgetter("last_place"))
        waiting: list[Candidate] = []
        size = BLOCK
        while segments:
            some = _last_ones(segments, size)
            found = self._candidates(wanted, some)
            waiting = sorted([*waiting, *(each for each in found if since <= each[0] < before)])
            # Segments may lie across each other: those before the next one's last place wait.
            sure = bisect_right(waiting, (segments[-1].last_place, inf)) if segments else 0
            yield waiting[sure:][::-1]
            del waiting[sure:]
            size *= 2

    def _candidates(self, wanted: Wanted, segments: Sequence[Segment]) -> list[Candidate]:
        pages = self._pages_with(wanted, segments)
        numbers = [
            number
            for segment in segments
            for number in numbers_with(wanted, pages[segment.first], segment.numbers)
        ]
        places = self.places_of(numbers)
        return [(places[number], number) for number in numbers if number in places]

    def _pages_with(self, wanted: Wanted, segments: Sequence[Segment]) -> dict[int, list[Page]]:
        """Of each segment the pages that may have what is looked for."""
        low, high = zip(*(bounds(t) for g in (*wanted.groups, wanted.none) for t in g), strict=True)
        rows = self._read(
            f"SELECT s.first, s.size, p.page FROM {self._segments} s LEFT JOIN LATERAL ("
            f"SELECT p.page FROM unnest(%s::bytea[], %s::bytea[]) t (low, high) "
            f"JOIN {self._postings} p ON p.segment = s.first AND p.word <= t.high "
            f"AND p.word >= coalesce((SELECT q.word FROM {self._postings} q WHERE "
            "q.segment = s.first AND q.word <= t.low ORDER BY q.word DESC LIMIT 1), '')) p ON true "
            "WHERE s.first = ANY(%s::bigint[])",
            (list(low), list(high), array_text(segment.first for segment in segments)),
        )
        if {row[:2] for row in rows} != {segment[:2] for segment in segments}:
            raise MergedError
        pages: dict[int, list[Page]] = {segment.first: [] for segment in segments}
        for row in rows:
            if row[2] is not None:
                pages[row[0]] += self._pages([row])
        return pages

    def places_of(self, numbers: Iterable[int]) -> dict[int, int]:
        """The place of each number, as far as anybody has it."""
        rows = self._rows_of_places({number - number % _IN_A_ROW for number in numbers})
        return {
            number: row[number % _IN_A_ROW]
            for number in numbers
            if (row := rows.get(number - number % _IN_A_ROW))
        }

    def _rows_of_places(self, firsts: Iterable[int]) -> dict[int, Sequence[int]]:
        sql = f"SELECT first, places FROM {self._places} WHERE first = ANY(%s::bigint[])"
        return {
            first: read_places(places) for first, places in self._read(sql, (array_text(firsts),))
        }

    # --- looking for damage -------------------------------------------------------------------

    def check(self) -> str:
        """What is wrong with the pages, in words; nothing where nothing is."""
        sql = f"SELECT segment, word, page FROM {self._postings} WHERE segment = %s ORDER BY word"
        for segment in self._segments_where("true ORDER BY first", ()):
            last = b""
            try:
                for _, word, content in self._read(sql, (segment.first,)):
                    page = Page.read(content)
                    if not (last < page.words[0] == bytes(word) and page.is_of(segment.numbers)):
                        raise ValueError("damaged: a page of posting lists is at the wrong place")
                    last = page.words[-1]
            except ValueError as error:
                return str(error)
        return ""


def _last_ones(segments: list[Segment], size: int) -> list[Segment]:
    """Take so many away at the end that they have `size` documents, if there are so many."""
    some: list[Segment] = []
    while segments and sum(segment.size for segment in some) < size:
        some.append(segments.pop())
    return some


def array_text(numbers: Iterable[int]) -> str:
    """An array of integers, as the server reads it fastest: a list of psycopg2 is an expression."""
    return f"{{{','.join(map(str, numbers))}}}"
