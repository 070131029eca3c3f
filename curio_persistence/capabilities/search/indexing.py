"""Index the records stored since the last time, so that writes need not.

A run stores the `updated_at` with which it was indexed. Events and model calls never change: the
index is a consumer of their change feeds. One process indexes at a time, by an advisory lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Literal, NamedTuple

from curio_persistence.capabilities.consumers import Consumer
from curio_persistence.capabilities.deletions import forget_meanings
from curio_persistence.capabilities.search.documents import NUMBERS, document_of, is_cut, text_size
from curio_persistence.capabilities.search.slots import placed_at_free_slots
from curio_persistence.errors import BusyError
from curio_persistence.progress import Progress
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import BATCH, MAX_BYTES, START
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.query import Position
from curio_persistence.store.search_index import Document
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.text.tokenizer import VERSION

Words = Mapping[int, str]
"""Ids of records, and the words with which they were indexed, empty where these are not known."""

_READ = 64
"""Rows read at a time: a row may be large."""
_PATIENCE = 30.0
"""Seconds that clearing the index waits for another process that is indexing."""
_MOMENT = 0.05
_LOCK = "search index"
_BY_ID = (Order("id"),)
_OUTDATED = (Filter("indexed_at", "differs from", "updated_at"),)


class Metadata(NamedTuple):
    """The values stored beside the index.

    `enabled` is False where this database has no index. `version` is the tokenizer's, None before
    the first document. `drift` is the most milliseconds by which a slot is later than its record.
    `cut` is True if texts were indexed of which only the first words are searched. `generation`
    counts how often the index was cleared. `forgotten` is the number of removed records whose words
    are left in it.
    """

    enabled: bool
    version: str | None
    drift: int
    cut: bool
    generation: int
    forgotten: int


class Budget:
    """The records and the time that indexing may take."""

    def __init__(self, limit: int | None, until: float | None) -> None:
        self._limit = limit
        self._until = until
        self.done = 0

    @property
    def batch(self) -> int:
        """The size of the next batch."""
        return BATCH if self._limit is None else min(BATCH, self._limit - self.done)

    @property
    def is_late(self) -> bool:
        return self._until is not None and monotonic() >= self._until

    @property
    def is_spent(self) -> bool:
        return self.is_late or self.done == self._limit


def _in_time(budget: Budget, documents: Iterator[Document]) -> Iterator[Document]:
    """Yield documents while there is time to make them, but at least one."""
    for document in documents:
        yield document
        if budget.is_late:
            return


class Step(NamedTuple):
    """The outcome of one batch: `blocked` means that another process is indexing."""

    indexed: int
    state: Literal["more", "done", "blocked"]


_BLOCKED = Step(0, "blocked")
_DONE = Step(0, "done")
_AGAIN = Step(0, "more")


class Indexing:
    """Brings the search index of a store up to date."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._consumers = {table: Consumer(store, "search", table) for table in (EVENTS, USAGE)}

    def metadata(self) -> Metadata:
        values = self._store.search_index.metadata()
        return Metadata(
            enabled=values.get("enabled") != "no",
            version=values.get("words"),
            drift=int(values.get("drift", 0)),
            cut=values.get("cut") == "yes",
            generation=int(values.get("generation", 0)),
            forgotten=int(values.get("forgotten", 0)),
        )

    def pending(self) -> int:
        """Return how many records are to be indexed."""
        return sum(map(self._waiting, NUMBERS)) if self.metadata().enabled else 0

    def _waiting(self, table: Table[Any]) -> int:
        """Return how many records of one table are to be indexed."""
        if table is RUNS:
            where: Where = _OUTDATED
        else:
            upto = self._consumers[table].watermark().upto
            # All are counted by the smallest index, but from an id on by the rows themselves.
            where = (Filter("id", ">", upto),) if upto else ()
        return self._store.count(table, where)

    def lost(self, table: Table[Any]) -> int:
        """Return how many records should be indexed, but are not."""
        unindexed = self._store.search_index.unindexed
        if table is RUNS:
            return len(unindexed(NUMBERS[table], table.name, 2**63 - 1))
        watermark = self._consumers[table].watermark()
        ids = unindexed(NUMBERS[table], table.name, watermark.upto)
        return sum(map(watermark.has_passed, ids))

    def index_pending(
        self,
        *,
        limit: int | None = None,
        until: float | None = None,
        progress: Progress | None = None,
    ) -> tuple[int, bool]:
        """Index at most `limit` records, until about the moment `until`.

        Return how many, and whether these were all. Return at once while another process indexes.
        """
        if self._store.read_only or not self.metadata().enabled:
            return 0, False
        budget = Budget(limit, until)
        total = self.pending() if progress else None
        complete = True
        for table in NUMBERS:
            state = self._index_table(table, budget, total, progress)
            if state != "done":
                complete = False
                break
        self._store.search_index.after_indexing(budget.done)
        # The runs that are left are being changed by another transaction.
        return budget.done, complete and not self._waiting(RUNS)

    def _index_table(
        self, table: Table[Any], budget: Budget, total: int | None, progress: Progress | None
    ) -> Literal["more", "done", "blocked"]:
        while not budget.is_spent:
            count, state = (
                self._index_runs(budget) if table is RUNS else self._index_new(table, budget)
            )
            budget.done += count
            if progress and count:
                progress(budget.done, total)
            if state != "more":
                return state
        return "more"

    # --- runs ---------------------------------------------------------------------------------

    def _index_runs(self, budget: Budget) -> Step:
        runs, documents = self._read_runs(budget)
        if not runs:
            return _DONE
        cut = any(map(is_cut, documents, runs))
        with self._store.transaction():
            if not self._store.try_advisory_lock(_LOCK):
                return _BLOCKED
            metadata = self.metadata()
            if not metadata.enabled:
                return _DONE
            locked = self._store.search_index.lock(RUNS.name, [run.id for run in runs])
            indexed = {run.id for run in runs if run.id in locked and self._set_indexed(run)}
            self._put([each for each in documents if each.record_id in indexed], metadata, cut)
        return Step(len(indexed), "more" if indexed else "done")

    def _read_runs(self, budget: Budget) -> tuple[list[Any], list[Document]]:
        """Read runs until the batch, its text or the time is used up."""
        kind, size = NUMBERS[RUNS], 0
        runs: list[Any] = []
        documents: list[Document] = []
        for run in self._rows(RUNS, _OUTDATED):
            runs.append(run)
            documents.append(document_of(kind, run))
            size += text_size(kind, run)
            if len(runs) >= budget.batch or size >= MAX_BYTES or budget.is_late:
                break
        return runs, documents

    def _set_indexed(self, run: Any) -> bool:
        """Store the update with which a run is indexed, unless it has changed since it was read."""
        as_read = RUNS.filter("updated_at", "=", run.updated_at)
        unchanged = (Filter("id", "=", run.id), as_read, *_OUTDATED)
        updated_at = RUNS.encode_value("updated_at", run.updated_at)
        return bool(self._store.update(RUNS, unchanged, {"indexed_at": updated_at}))

    def _rows(self, table: Table[Any], where: Where) -> Iterator[Any]:
        after: Position | None = None
        while True:
            columns = self._store.select(table, where, order=_BY_ID, after=after, limit=_READ)
            rows = table.decode(columns)
            yield from rows
            if len(rows) < _READ:
                return
            after = (rows[-1].id,)

    # --- events and model calls ---------------------------------------------------------------

    def _index_new(self, table: Table[Any], budget: Budget) -> Step:
        consumer, kind = self._consumers[table], NUMBERS[table]
        changes = consumer.read(limit=budget.batch)
        if changes.watermark == changes.since:
            return _DONE
        records = table.decode(changes.columns)
        documents = list(_in_time(budget, (document_of(kind, record) for record in records)))
        if len(documents) < len(records):  # A feed has no watermark in the middle of a batch.
            changes = consumer.read(limit=len(documents))
            read, records = records, table.decode(changes.columns)
            if records != read[: len(documents)]:
                return _AGAIN
        ids = [record.id for record in records]
        cut = any(map(is_cut, documents, records))
        with self._store.transaction():
            if not self._store.try_advisory_lock(_LOCK):
                return _BLOCKED
            metadata = self.metadata()
            if not metadata.enabled:
                return _DONE
            # The deletion of a run takes the words from its calls, and leaves them stored.
            locked = self._store.search_index.lock(table.name, ids) if table is USAGE else {*ids}
            same = (Filter("id", "in", tuple(ids)),)
            runs = dict(self._store.select_columns(table, ("id", "run_id"), same))
            if not runs.keys() <= locked:
                return _BLOCKED
            if any(runs.get(each.id, each.run_id) != each.run_id for each in records):
                return _AGAIN  # A call has lost its words since it was read.
            if not consumer.advance(changes):
                return _AGAIN  # Another process has indexed these meanwhile.
            self._put([each for each in documents if each.record_id in runs], metadata, cut)
        return Step(len(documents), "more" if changes.more else "done")

    # --- documents ----------------------------------------------------------------------------

    def _put(self, documents: list[Document], metadata: Metadata, cut: bool) -> None:
        if not documents:
            return
        index = self._store.search_index
        placed, drift = placed_at_free_slots(index, documents, metadata.drift)
        values = {}
        if metadata.version is None:
            values["words"] = VERSION
        if drift > metadata.drift:
            values["drift"] = str(drift)
        if cut and not metadata.cut:
            values["cut"] = "yes"
        index.set_metadata(**values)
        index.put(placed)

    # --- removing -----------------------------------------------------------------------------

    def words(self, table: Table[Any], columns: Columns) -> Words:
        """Return the ids of records, with the words where removing an indexed one needs these."""
        kind, ids = NUMBERS[table], columns[table.names.index("id")]
        words = dict.fromkeys(ids, "")
        if self._needs_words(table) and (known := self._store.search_index.slots(kind, ids)):
            records = (record for record in table.decode(columns) if record.id in known)
            words |= {record.id: document_of(kind, record).words for record in records}
        return words

    def _needs_words(self, table: Table[Any]) -> bool:
        return table is not RUNS and self._store.search_index.removal_needs_words

    def remove(self, table: Table[Any], words: Words) -> Mapping[int, int]:
        """Remove records that are about to be deleted or to change; return the slots they had."""
        forget_meanings(self._store, table, list(words))
        index, kind = self._store.search_index, NUMBERS[table]
        slots = index.slots(kind, list(words))
        if self._needs_words(table):  # Some may have been indexed since `words` was called.
            late = [ident for ident in slots if not words[ident]]
            words = {**words, **{d.record_id: d.words for d in self._documents(table, late)}}
        if slots:
            index.remove(kind, list(slots), words)
        return slots

    def _documents(self, table: Table[Any], ids: Sequence[int]) -> list[Document]:
        """Return documents of the records as they are stored."""
        where = (Filter("id", "in", tuple(ids)),)
        rows = self._rows(table, where) if ids else ()
        return [document_of(NUMBERS[table], record) for record in rows]

    def forget(self, table: Table[Any], ids: Sequence[int]) -> None:
        """Remove records that are about to be deleted, and leave their words in the index.

        That takes a fraction of the time. No search finds the records. `Search.remove_orphans`
        removes the words.
        """
        forget_meanings(self._store, table, ids)
        index, kind = self._store.search_index, NUMBERS[table]
        if not index.slots(kind, ids):
            return
        index.remove(kind, ids, {})
        if self._needs_words(table):
            index.set_metadata(forgotten=str(self.metadata().forgotten + len(ids)))

    def is_mostly_forgotten(self) -> bool:
        """Return whether most of the index is words of records that were removed."""
        forgotten = self.metadata().forgotten
        return forgotten > 0 and forgotten > sum(self._store.count(t) for t in self._consumers)

    def put_again(self, table: Table[Any], slots: Mapping[int, int]) -> None:
        """Index records again that were removed because they would change."""
        documents = self._documents(table, list(slots))
        if documents:
            self._store.search_index.put(
                [each._replace(slot=slots[each.record_id]) for each in documents]
            )

    def switch(self, *, on: bool) -> None:
        """Switch indexing on or off, and clear the index."""
        if on != self.metadata().enabled:
            self._clear(enabled="yes" if on else "no")

    def clear(self) -> None:
        """Remove all documents, so that everything is to be indexed again."""
        self._clear()

    def _clear(self, **values: str) -> None:
        until = monotonic() + _PATIENCE
        while not self._is_cleared(values, can_retry=monotonic() < until):
            sleep(_MOMENT)

    def _is_cleared(self, values: Mapping[str, str], *, can_retry: bool) -> bool:
        """Try to remove all documents. Return False if another attempt may succeed."""
        try:
            with self._store.transaction():
                if self._store.try_advisory_lock(_LOCK):
                    self._remove_all(**values)
                    return True
        except BusyError:  # A deletion locked documents in another order, and the database chose.
            if not can_retry:
                raise
        if not can_retry:
            raise BusyError(
                f"{self._store.location} is being indexed by another process, which has not "
                f"ended within {_PATIENCE:.0f} seconds. Try again when it has."
            )
        return False

    def _remove_all(self, **values: str) -> None:
        index = self._store.search_index
        index.clear()
        generation = str(self.metadata().generation + 1)
        index.set_metadata(
            words=VERSION, drift="0", cut="no", forgotten="0", generation=generation, **values
        )
        for consumer in self._consumers.values():
            consumer.skip_to(START)
        self._store.update(RUNS, (Filter("indexed_at", "is not null"),), {"indexed_at": None})
