"""Takes up what was stored since the last time, so that writes need not.

Runs say themselves whether the index has them as they are. Of events and model calls, which never
change, it is noted up to which id they were taken up. Where several transactions write at a time a
smaller id may be seen after a larger one: ids that were missing are looked for again until all
transactions have ended that ran while they were (see `store/change_feed.py`).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from operator import sub
from time import monotonic, sleep
from typing import Any, NamedTuple

from curio_persistence.capabilities.search.documents import KINDS, document_of, place_of
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Filter, Order, Where
from curio_persistence.store.search_index import Document
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.text.tokenizer import VERSION

Progress = Callable[[int, int | None], object]
Range = tuple[int, int]
"""Ids from the first up to the second."""

_BATCH = 1_000
_FARTHEST = 16
"""A place is looked for in steps of so many times as many places as are needed."""
_MOMENT = 0.005
"""Seconds after which it is tried again where another one holds the index."""
_BY_ID = (Order("id"),)
_APPENDED = (EVENTS, USAGE)
_NOT_INDEXED = (Filter("indexed", "is null"),)


class Missing(NamedTuple):
    """Ids that no row had, and the transactions that might still store one."""

    ranges: tuple[Range, ...] = ()
    running: frozenset[str] = frozenset()


class Mark(NamedTuple):
    """How far a table was taken up: to which id, and what was missing by then.

    What is found missing goes to `later`, and when those have ended of whom `missing` might come,
    `later` takes its place: each waits for those who ran at its time, and not for all that follow.
    """

    upto: int = 0
    missing: Missing = Missing()
    later: Missing = Missing()

    @classmethod
    def read(cls, text: str | None) -> Mark:
        """The mark that was noted."""
        if text is None:
            return cls()
        upto, *both = json.loads(text)
        return cls(upto, *(Missing(tuple(map(tuple, r)), frozenset(names)) for r, names in both))

    def text(self) -> str:
        """The mark as it is noted."""
        both = [(ranges, sorted(names)) for ranges, names in self[1:]]
        return json.dumps((self.upto, *both), separators=(",", ":"))

    @property
    def ranges(self) -> tuple[Range, ...]:
        """All ids that are still to be looked at, but for those that come."""
        return (*self.missing.ranges, *self.later.ranges)

    def without(self, ids: Sequence[int]) -> Mark:
        """The mark when some rows that were missing have come."""
        return self._replace(missing=_without(self.missing, ids), later=_without(self.later, ids))

    def after(
        self,
        ids: Sequence[int],
        upto: int,
        before: frozenset[str],
        running: Callable[[], frozenset[str]],
    ) -> Mark:
        """The mark when all rows were read that had an id in `ranges`, or the next up to `upto`.

        `before` are the transactions that ran before the reading, `running` tells who still does.
        """
        _, missing, later = self.without([ident for ident in ids if ident <= self.upto])
        if not missing.running & before:
            missing, later = later, Missing()  # Whatever was missing there never comes.
        holes = _holes(self.upto + 1, upto + 1, ids)
        if holes:
            later = Missing((*later.ranges, *holes), later.running | running())
        return Mark(upto, missing, later)


def _without(missing: Missing, ids: Sequence[int]) -> Missing:
    ranges = tuple(hole for first, end in missing.ranges for hole in _holes(first, end, ids))
    return Missing(ranges, missing.running if ranges else frozenset())


def _neighbours(ranges: Iterable[Range]) -> list[list[Range]]:
    """Ranges in groups that one question is asked for each."""
    groups: list[list[Range]] = []
    for each in ranges:
        if groups and each[0] - groups[-1][-1][1] < _BATCH:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _holes(first: int, end: int, ids: Iterable[int]) -> list[Range]:
    """The ranges of a range that have none of the ids."""
    holes = []
    for ident in sorted(ident for ident in ids if first <= ident < end):
        if ident > first:
            holes.append((first, ident))
        first = ident + 1
    if first < end:
        holes.append((first, end))
    return holes


class Notes:
    """What is noted beside the index: whether there is one, and how far it has come."""

    def __init__(self, noted: Mapping[str, str]) -> None:
        self._noted = noted

    @property
    def enabled(self) -> bool:
        """Whether records are taken up at all."""
        return self._noted.get("enabled") != "no"

    @property
    def version(self) -> str | None:
        """How the words were parted; None where there are none yet."""
        return self._noted.get("words")

    @property
    def drift(self) -> int:
        """By how many milliseconds a place may be later than its record."""
        return int(self._noted.get("drift", 0))

    def mark(self, table: Table[Any]) -> Mark:
        """How far a table was taken up."""
        return Mark.read(self._noted.get(table.name))


class Indexing:
    """What a store's word index lacks, and how it gets it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def notes(self) -> Notes:
        """What is noted now."""
        return Notes(self._store.words.notes())

    def pending(self) -> int:
        """How many records wait to be taken up."""
        notes = self.notes()
        return sum(self.waiting(table, notes) for table in KINDS) if notes.enabled else 0

    def waiting(self, table: Table[Any], notes: Notes) -> int:
        """How many of one table do."""
        where = _NOT_INDEXED if table is RUNS else (_after(notes.mark(table).upto),)
        [(count,)] = self._store.aggregate(table, (COUNT,), where)
        return int(count)

    def index_pending(
        self, *, limit: int | None = None, until: float | None = None, progress: Progress | None
    ) -> tuple[int, bool]:
        """Take up what waits: at most `limit` records, and no batch after the moment `until`.

        How many it were, and whether that was all.
        """
        notes = self.notes()
        if not notes.enabled or self._store.read_only:
            return 0, False
        return self._take_up_all(notes, limit, until, progress)

    def _take_up_all(
        self, notes: Notes, limit: int | None, until: float | None, progress: Progress | None
    ) -> tuple[int, bool]:
        total = self.pending() if progress else None
        done, is_all = 0, True
        for table in KINDS:
            mark: Mark | None = notes.mark(table)
            while True:
                if _is_over(until) or done == limit:
                    return done, False
                size = self._store.words.batch
                size = size if limit is None else min(size, limit - done)
                count, more = (
                    self._take_up_runs(min(size, _BATCH))
                    if table is RUNS
                    else self._take_up(table, mark, size)
                )
                done += count
                self._store.words.after_batch()
                if progress and count:
                    progress(done, total)
                if not more:
                    # Of runs those are left that somebody is changing just now.
                    is_all = is_all and (table is not RUNS or not self.waiting(RUNS, notes))
                    break
                if not count:
                    sleep(_MOMENT)  # Somebody else is at it.
                mark = None  # It has changed.
        return done, is_all

    # --- runs ---------------------------------------------------------------------------------

    def _take_up_runs(self, size: int) -> tuple[int, bool]:
        """Take up so many runs: how many it were, and whether there may be more."""
        runs = self._rows(RUNS, _NOT_INDEXED, size)
        if not runs:
            return 0, False
        documents = {run.id: _document(RUNS, run) for run in runs}
        words = self._store.words
        with self._store.transaction():
            if not words.try_to_lock():
                return 0, True
            notes = self.notes()
            if not notes.enabled:
                return 0, False
            # Who changes a run now may take long; it will wait again when he has done so.
            free = words.claim_runs([run.id for run in runs])
            unchanged = [run.id for run in runs if run.id in free and self._note_indexed(run)]
            words.remove(KINDS[RUNS], unchanged, dict)
            self._add([documents[ident] for ident in unchanged], notes)
        return len(unchanged), bool(unchanged)

    def _note_indexed(self, run: Any) -> bool:
        """Note that the index has a run, if it is still as it was."""
        return bool(self._store.update(RUNS, _as_it_was(run), {"indexed": 1}))

    # --- events and model calls ---------------------------------------------------------------

    def _take_up(self, table: Table[Any], mark: Mark | None, size: int) -> tuple[int, bool]:
        """Take up so many rows: how many it were, and whether there may be more."""
        mark = self.notes().mark(table) if mark is None else mark
        # First: who has ended has committed what will be read.
        before = self._store.running() if mark.ranges else frozenset()
        rows = self._late(table, mark, size)
        if len(rows) == size:  # And there may be more of them.
            return self._take_over(table, mark, mark.without([row.id for row in rows]), rows)
        new = self._rows(table, (_after(mark.upto),), size - len(rows))
        rows += new
        upto = new[-1].id if new else mark.upto
        seen = mark.after([row.id for row in rows], upto, before, self._store.running)
        if seen == mark:
            return 0, False
        count, more = self._take_over(table, mark, seen, rows)
        return count, more and (len(rows) == size or not count)

    def _take_over(
        self, table: Table[Any], mark: Mark, seen: Mark, rows: list[Any]
    ) -> tuple[int, bool]:
        """Take up rows and note another mark, unless somebody else did meanwhile."""
        documents = [_document(table, row) for row in rows]
        with self._store.transaction():
            if not self._store.words.try_to_lock():
                return 0, True
            notes = self.notes()
            if notes.mark(table) != mark or not notes.enabled:
                return 0, notes.enabled
            there = self._still_there(table, rows, documents)
            if len(there) < len(rows) and self._store.ids_come_back:
                return 0, True  # The mark must not pass ids that others get.
            self._add(there, notes)
            self._store.words.note(**{table.name: seen.text()})
        return len(rows), bool(rows)

    def _late(self, table: Table[Any], mark: Mark, size: int) -> list[Any]:
        """Rows that were missing, and have come."""
        ids: list[int] = []
        for ranges in _neighbours(sorted(mark.ranges)):
            ids += self._ids_in(table, ranges)
            if len(ids) >= size:
                break
        where = (Filter("id", "in", tuple(ids[:size])),)
        return self._rows(table, where, size) if ids else []

    def _ids_in(self, table: Table[Any], ranges: Sequence[Range]) -> list[int]:
        """The ids there are in ranges near each other."""
        where = (Filter("id", ">=", ranges[0][0]), Filter("id", "<", ranges[-1][1]))
        ids = (ident for (ident,) in self._store.select_columns(table, ("id",), where))
        firsts = [first for first, _ in ranges]
        return [ident for ident in ids if ident < ranges[bisect_right(firsts, ident) - 1][1]]

    def _rows(self, table: Table[Any], where: Where, limit: int) -> list[Any]:
        return table.decode(self._store.select(table, where, order=_BY_ID, limit=limit))

    def _still_there(
        self, table: Table[Any], rows: list[Any], documents: list[Document]
    ) -> list[Document]:
        """The documents of those that were not deleted, or replaced, since they were read."""
        ids = tuple(row.id for row in rows)
        if not ids:
            return []
        key = ("id", "created_at") if self._store.ids_come_back else ("id",)
        there = set(self._store.select_columns(table, key, _with_ids(ids)))
        keys = [(row.id, encode_time(row.created_at))[: len(key)] for row in rows]
        return [each for each, found in zip(documents, keys, strict=True) if found in there]

    def _add(self, documents: list[Document], notes: Notes) -> None:
        if not documents:
            return
        if notes.version is None:
            self._store.words.note(words=VERSION)
        placed, drift = self._placed(documents)
        if drift > notes.drift:
            self._store.words.note(drift=str(drift))
        self._store.words.add(placed)

    def _placed(self, documents: list[Document]) -> tuple[list[Document], int]:
        """The documents in their order, each at a place that is free: its own, or a later one.

        Also by how much at most. Where many are of the same moment the steps grow, so that few
        questions find the end.
        """
        documents = sorted(documents, key=lambda document: document[:3])
        places = [document.place for document in documents]
        step = 1
        while True:
            places = list(accumulate(places, lambda before, wished: max(before + 1, wished)))
            taken = self._store.words.taken(places)
            if not taken:
                break
            places = [place + step if place in taken else place for place in places]
            # No further, or each batch would double how far the last one went.
            step = min(2 * step, _FARTHEST * len(places))
        placed = [
            document if document.place == place else document._replace(place=place)
            for document, place in zip(documents, places, strict=True)
        ]
        drift = max(map(sub, places, (document.place for document in documents)))
        return placed, drift

    # --- leaving out --------------------------------------------------------------------------

    def forget(self, table: Table[Any], where: Where) -> list[int]:
        """Leave records out that are about to be deleted or to lose their words; whom it had."""
        had: list[int] = []
        kind, words = KINDS[table], self._store.words
        words.lock()
        if not self.notes().enabled:
            return had
        for columns in self._store.stream(table, where, size=_BATCH):
            records = table.decode(columns)
            known = words.known(kind, [record.id for record in records])
            had += known
            words.remove(kind, sorted(known), _indexed_with(table, records))
        return had

    def take_up_again(self, table: Table[Any], ids: Sequence[int]) -> None:
        """Take up records that have changed, and had been left out for that."""
        for begin in range(0, len(ids), _BATCH):
            where = (Filter("id", "in", tuple(ids[begin : begin + _BATCH])),)
            rows = self._rows(table, where, _BATCH)
            self._add([_document(table, row) for row in rows], self.notes())

    def go_back(self, table: Table[Any]) -> None:
        """After rows were deleted: where their ids come back, what gets them is to be taken up."""
        if not self._store.ids_come_back:
            return
        mark = self.notes().mark(table)
        newest = self._store.select(table, order=(Order("id", descending=True),), limit=1)
        last = next(iter(newest[table.names.index("id")]), 0)
        if last < mark.upto:
            # Where ids come back they come in order: what is missing up to there never does.
            self._store.words.note(**{table.name: Mark(last).text()})

    def switch(self, *, on: bool) -> None:
        """Begin or cease to take up records; what was taken up is forgotten then."""
        if on == self.notes().enabled:
            return
        with self._store.transaction():
            self._store.words.lock()
            self._forget_all()
            self._store.words.note(enabled="yes" if on else "no")

    def clear(self) -> None:
        """Make everything wait again."""
        with self._store.transaction():
            self._store.words.lock()
            self._forget_all()

    def _forget_all(self) -> None:
        words = self._store.words
        words.clear()
        words.note(words=VERSION, drift="0", **{table.name: Mark().text() for table in _APPENDED})
        self._store.update(RUNS, (Filter("indexed", "is not null"),), {"indexed": None})


def _indexed_with(table: Table[Any], records: list[Any]) -> Callable[[], Mapping[int, str]]:
    """The words with which records were taken up, worked out when somebody asks."""
    return lambda: {record.id: _document(table, record).words for record in records}


def _document(table: Table[Any], record: Any) -> Document:
    kind = KINDS[table]
    return document_of(kind, record, place_of(kind, record))


def _after(ident: int) -> Filter:
    return Filter("id", ">", ident)


def _with_ids(ids: tuple[int, ...]) -> Where:
    """Rows of these ids, and perhaps some between them: a range is found faster than a list."""
    first, end = min(ids), max(ids) + 1
    if end - first > 2 * len(ids) or end == 2**63:
        return (Filter("id", "in", ids),)
    return (Filter("id", ">=", first), Filter("id", "<", end))


def _as_it_was(run: Any) -> Where:
    return (
        Filter("id", "=", run.id),
        RUNS.filter("updated_at", "=", run.updated_at),
        *_NOT_INDEXED,
    )


def _is_over(until: float | None) -> bool:
    return until is not None and monotonic() >= until
