"""Posting lists in tables of PostgreSQL: written a segment at a time; a search reads some pages.

A segment has the documents of some numbers in a row. Its words stand in pages, each in a row under
its first word. The places of the numbers stand in rows of their own, 4,096 to a row.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, groupby, islice
from math import inf
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeVar

from curio_persistence.backends.postgres.postings import (
    BLOCK,
    Lists,
    Page,
    bounds,
    first_to_merge,
    lists_of,
    merged,
    offsets_with,
    pack_places,
    pages_of,
    read_places,
    without,
)
from curio_persistence.errors import CorruptDatabaseError
from curio_persistence.store.search_index import Wanted

Rows = list[tuple[Any, ...]]

_T = TypeVar("_T")

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


class _Hits(NamedTuple):
    """Offsets in a block that are all of one row of places, and the last place that it has."""

    last_place: int
    row: int
    offsets: Sequence[int]


class MergedError(Exception):
    """Segments were put together, or left out, by somebody while they were read."""


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
        self.written_anew = 0
        """So many documents left their pages for others, which is room for the next."""

    # --- writing ------------------------------------------------------------------------------

    def add(self, places: Sequence[int], words: Sequence[str]) -> range:
        """Take up documents at places that ascend; their numbers."""
        segments = self._last_block()
        begin = first = segments[-1].numbers.stop if segments else 0
        while places:
            room = BLOCK - first % BLOCK
            segment = Segment(first, len(places[:room]), places[0], places[:room][-1])
            self._add_places(first, places[:room])
            self._put(segment, [lists_of(words[:room], first)])
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
            row, before = divmod(first, _IN_A_ROW)
            known = self._kept_places([row]).get(row, ())[:before] if before else ()
            some = places[: _IN_A_ROW - before]
            whole = [*known, *some]
            self._write(
                f"INSERT INTO {self._places} (number, first_place, last_place, places) "
                "VALUES (%s, %s, %s, %s) ON CONFLICT (number) DO UPDATE SET first_place = "
                "excluded.first_place, last_place = excluded.last_place, places = excluded.places",
                (row, min(whole), max(whole), pack_places(whole)),
            )
            first, places = first + len(some), places[len(some) :]

    def _put(self, segment: Segment, lists: Iterable[Lists], *, forgotten: int = 0) -> None:
        self._write(
            f"INSERT INTO {self._segments} ({_SEGMENT}, forgotten) VALUES (%s, %s, %s, %s, %s)",
            (*segment, forgotten),
        )
        sql = (
            f"INSERT INTO {self._postings} (segment, word, page) "
            "SELECT %s, * FROM unnest(%s::bytea[], %s::bytea[])"
        )
        pages = pages_of(lists)
        while some := list(islice(pages, _AT_ONCE)):
            self._write(sql, (segment.first, *map(list, zip(*some, strict=True))))

    def _merge(self, segments: list[Segment]) -> list[Segment]:
        """The segments of a block, put together as far as there are too many."""
        at = first_to_merge([segment.size for segment in segments])
        if at is None:
            return segments
        old = segments[at:]
        # Between two of them all documents may be gone, and their segment with them.
        between = old[-1].numbers.stop - old[0].first - sum(segment.size for segment in old)
        whole = Segment(
            old[0].first,
            old[-1].numbers.stop - old[0].first,
            min(segment.first_place for segment in old),
            max(segment.last_place for segment in old),
        )
        self.written_anew += whole.size
        lists, forgotten = self._take_out(old)
        self._put(whole, lists, forgotten=forgotten + between)
        return [*segments[:at], whole]

    def _take_out(self, segments: Sequence[Segment]) -> tuple[Iterator[Lists], int]:
        """The lists of segments that are in the tables no more, and how many were forgotten."""
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
            raise self.damage(str(error)) from error

    def damage(self, how: str) -> CorruptDatabaseError:
        """The error of who finds it damaged."""
        return CorruptDatabaseError(
            f"The search index in {self._place} is {how}. "
            "Make it anew: curio-persistence index --rebuild"
        )

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
            gone = set(segment.numbers) - living(self._places_of(segment))
            lists, _ = self._take_out([segment])
            if len(gone) < segment.size:
                self._put(segment, (without(some, gone) for some in lists))
        self._write(
            f"DELETE FROM {self._places} p WHERE NOT EXISTS (SELECT FROM {self._segments} s "
            f"WHERE s.first < (p.number + 1) * {_IN_A_ROW} "
            f"AND s.first + s.size > p.number * {_IN_A_ROW})",
            (),
        )

    def clear(self) -> None:
        """Leave nothing at all."""
        for table in (self._segments, self._postings, self._places):
            self._write(f"DELETE FROM {table}", ())

    # --- finding ------------------------------------------------------------------------------

    def find(self, wanted: Wanted, since: int, before: int) -> Iterator[list[int]]:
        """Places from `since` to `before` where who is meant may be, some at a time, the last one
        first.

        MergedError where it has to begin anew.
        """
        # All three ascend. How far segments and hits may reach is known, so they are only looked
        # into when nothing else comes before.
        segments = self._segments_where("last_place >= %s AND first_place < %s", (since, before))
        segments.sort(key=attrgetter("last_place"))
        hits: list[_Hits] = []
        found: list[int] = []
        segments_at_once = hits_at_once = 1
        while segments or hits or found:
            next_segment = segments[-1].last_place if segments else -inf
            next_hits = hits[-1].last_place if hits else -inf
            sure = bisect_right(found, max(next_segment, next_hits))
            if sure < len(found):
                yield found[sure:][::-1]
                del found[sure:]
            elif next_segment >= next_hits:
                hits += self._hits(wanted, _popped(segments, segments_at_once), since, before)
                hits.sort(key=attrgetter("last_place"))
                segments_at_once *= 2
            else:
                places = self._places_with(_popped(hits, hits_at_once))
                # A run that has changed was at its place before, under another number.
                found = sorted({*found, *(each for each in places if since <= each < before)})
                hits_at_once *= 2

    def _hits(
        self, wanted: Wanted, segments: Sequence[Segment], since: int, before: int
    ) -> list[_Hits]:
        """What some segments have, by rows of places, as far as these reach into the window."""
        pages = self._pages_with(wanted, segments)
        hits: list[tuple[int, Sequence[int]]] = []
        for segment in segments:
            base = segment.first - segment.first % BLOCK
            offsets = offsets_with(wanted, pages[segment.first])
            for begin in range(0, BLOCK, _IN_A_ROW):
                first = bisect_left(offsets, begin)
                some = offsets[first : bisect_left(offsets, begin + _IN_A_ROW, first)]
                if some:
                    hits.append(((base + begin) // _IN_A_ROW, some))
        rows = self._rows_of_places("first_place, last_place", (row for row, _ in hits))
        with _all_there():
            reach = [(*rows[row], row, some) for row, some in hits]
        return [
            _Hits(last, row, some)
            for first, last, row, some in reach
            if first < before and last >= since
        ]

    def _places_with(self, hits: Sequence[_Hits]) -> list[int]:
        places = self._kept_places(each.row for each in hits)
        with _all_there():
            return [
                places[row][offset % _IN_A_ROW] for _, row, offsets in hits for offset in offsets
            ]

    def _pages_with(self, wanted: Wanted, segments: Sequence[Segment]) -> dict[int, list[Page]]:
        """Of each segment the pages that may have what is looked for."""
        low, high = zip(*(bounds(t) for g in (*wanted.groups, wanted.none) for t in g), strict=True)
        # Without OFFSET the server takes the steps in one, and looks at all pages.
        rows = self._read(
            f"SELECT s.first, s.size, p.page FROM {self._segments} s LEFT JOIN LATERAL ("
            "SELECT DISTINCT ON (p.word) p.page "
            "FROM unnest(%s::bytea[], %s::bytea[]) t (low, high), "
            f"LATERAL (SELECT coalesce((SELECT word FROM {self._postings} WHERE segment = s.first "
            "AND word <= t.low ORDER BY word DESC LIMIT 1), '') AS word OFFSET 0) begin, "
            f"LATERAL (SELECT word, page FROM {self._postings} WHERE segment = s.first "
            "AND word BETWEEN begin.word AND t.high OFFSET 0) p) p ON true "
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

    def _places_of(self, segment: Segment) -> list[int]:
        first, last = segment.numbers[0], segment.numbers[-1]
        rows = range(first // _IN_A_ROW, last // _IN_A_ROW + 1)
        kept = self._kept_places(rows)
        places = list(chain.from_iterable(kept.get(row, ()) for row in rows))
        return places[first % _IN_A_ROW :][: segment.size]

    def _kept_places(self, rows: Iterable[int]) -> dict[int, Sequence[int]]:
        kept = self._rows_of_places("places", rows)
        try:
            return {row: read_places(content) for row, (content,) in kept.items()}
        except ValueError as error:
            raise self.damage(str(error)) from error

    def _rows_of_places(self, columns: str, rows: Iterable[int]) -> dict[int, tuple[Any, ...]]:
        """Some columns of rows of places, by their numbers."""
        sql = f"SELECT number, {columns} FROM {self._places} WHERE number = ANY(%s::bigint[])"
        return {row[0]: row[1:] for row in self._read(sql, (array_text(rows),))}

    # --- looking for damage -------------------------------------------------------------------

    def check(self) -> str:
        """What is wrong with segments, in words; nothing where nothing is."""
        for segment in self._segments_where("true ORDER BY first", ()):
            try:
                self._check(segment)
            except ValueError as error:
                # Unless it was merged meanwhile.
                if segment in self._segments_where("first = %s", (segment.first,)):
                    return str(error)
        return ""

    def _check(self, segment: Segment) -> None:
        sql = f"SELECT word, page FROM {self._postings} WHERE segment = %s ORDER BY word"
        last = ""
        offsets: set[int] = set()
        for word, content in self._read(sql, (segment.first,)):
            page = Page.read(content)
            if not last < page.words[0] == str(word, "utf-8") or not page.is_of(segment.numbers):
                raise ValueError("damaged: a page of posting lists is at the wrong place")
            last = page.words[-1]
            offsets |= page.offsets()
        self._check_places(segment.first - segment.first % BLOCK, offsets)

    def _check_places(self, base: int, offsets: Iterable[int]) -> None:
        """Whether the documents of a block that have words have places."""
        ends = {(base + offset) // _IN_A_ROW: offset % _IN_A_ROW for offset in sorted(offsets)}
        kept = self._rows_of_places("places", ends)
        places = {row: read_places(content) for row, (content,) in kept.items()}
        if any(len(places.get(row, ())) <= end for row, end in ends.items()):
            raise ValueError("damaged: places of documents are missing")


@contextmanager
def _all_there() -> Iterator[None]:
    """Where a row of places is missing, its documents were forgotten meanwhile."""
    try:
        yield
    except LookupError as error:
        raise MergedError from error


def _popped(some: list[_T], count: int) -> list[_T]:
    """Take away so many at the end."""
    taken = some[-count:]
    del some[-count:]
    return taken


def array_text(numbers: Iterable[int]) -> str:
    """An array of integers, as the server reads it fastest: a list of psycopg2 is an expression."""
    return f"{{{','.join(map(str, numbers))}}}"
