"""Embed the texts stored since the last time, so that writes need not.

Events and model calls never change: their change feeds are consumed. Runs are read by their feed,
and again when the feed of changes names them. A batch is embedded outside of any transaction, and
then stored with the watermark behind it, by one process at a time, as far as its texts are still
the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from curio_persistence.capabilities.consumers import Consumer
from curio_persistence.capabilities.deletions import EMBEDDING_LOCK
from curio_persistence.capabilities.search.indexing import Budget, Step
from curio_persistence.capabilities.similarity.models import Model
from curio_persistence.capabilities.similarity.texts import PARTS, Text, TextKind, texts_of
from curio_persistence.errors import InvalidValueError
from curio_persistence.progress import Progress
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import START, Changes, Watermark, watermark_now
from curio_persistence.store.filters import Filter, Measure, Where
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import CHANGES, CONSUMERS, EMBEDDINGS, EVENTS, RUNS, USAGE

if TYPE_CHECKING:
    from curio_persistence.capabilities.similarity.models import Vectors

_BATCH = 256
_REMEMBERED = 10_000
"""Vectors of texts that are kept, because agents say the same again and again."""
_BLOCKED, _DONE, _AGAIN = Step(0, "blocked"), Step(0, "done"), Step(0, "more")


class Indexing:
    """Brings the embeddings of a store up to date, by one model."""

    def __init__(self, store: Store, model: Model) -> None:
        self._store = store
        self._model = model
        self._known: OrderedDict[int, bytes] = OrderedDict()
        name = _consumer(model.name)
        self._feeds = {
            table: Consumer(store, name, PARTS[table]) for table in (RUNS, USAGE, EVENTS)
        }
        self._changes = Consumer(store, name, CHANGES)

    def pending(self) -> int:
        """Return how many records wait to be embedded, or to be looked at for texts."""
        feeds = [*self._feeds.items(), (CHANGES, self._changes)]
        return sum(self._waiting(table, consumer) for table, consumer in feeds)

    def _waiting(self, table: Table[Any], consumer: Consumer[Any]) -> int:
        upto = consumer.watermark().upto
        where: Where = (Filter("id", ">", upto),) if upto else ()
        if table is CHANGES:
            where = (*where, Filter("table_name", "=", RUNS.name))
        return self._store.count(table, where)

    def _is_complete(self) -> bool:
        """Return whether nothing waits; as most questions ask this, it takes few queries."""
        where = CONSUMERS.where(name=_consumer(self._model.name))
        stored = self._store.select_columns(CONSUMERS, ("table_name", "watermark"), where)
        marks = {table: Watermark.parse(text) for table, text in stored}
        for each in (*self._feeds, CHANGES):
            [(newest,)] = self._store.aggregate(each, (Measure("max", "id"),))
            mark = marks.get(each.name, START)
            if mark.gaps or (newest or 0) > mark.upto:
                return False
        return True

    def index_pending(
        self, *, limit: int | None, until: float | None, progress: Progress | None
    ) -> tuple[int, bool]:
        """Embed at most `limit` records, until about the moment `until`.

        Return how many, and whether these were all. Return at once while another process does it.
        """
        if self._is_complete():
            return 0, True
        if self._store.read_only:
            return 0, False
        budget = Budget(limit, until)
        total = self.pending() if progress else None
        self._begin_again_if_changes_are_unknown()
        for table in (*self._feeds, CHANGES):
            if self._index(table, budget, total, progress) != "done":
                return budget.done, False
        return budget.done, True

    def _index(
        self, table: Table[Any], budget: Budget, total: int | None, progress: Progress | None
    ) -> str:
        while not budget.is_spent:
            step = self._next(table, min(budget.batch, _BATCH))
            budget.done += step.indexed
            if progress and step.indexed:
                progress(budget.done, total)
            if step.state != "more":
                return step.state
        return "more"

    def _begin_again_if_changes_are_unknown(self) -> None:
        """Read all runs once more if changes of some may have been deleted; only these are kept."""
        [(oldest,)] = self._store.aggregate(CHANGES, (Measure("min", "id"),))
        if oldest is not None and oldest > self._changes.watermark().upto + 1:
            now = watermark_now(self._store, CHANGES)
            with self._store.transaction():
                self._changes.skip_to(now)
                self._feeds[RUNS].skip_to(START)

    # --- a batch ------------------------------------------------------------------------------

    def _next(self, table: Table[Any], limit: int) -> Step:
        consumer = self._changes if table is CHANGES else self._feeds[table]
        changes = consumer.read(limit=limit)
        if changes.watermark == changes.since:
            return _DONE
        table, texts, ids = self._read(table, changes)
        vectors = self._vectors(texts)
        with self._store.transaction():
            if not self._store.try_advisory_lock(EMBEDDING_LOCK):
                return _BLOCKED
            if not consumer.advance(changes):
                return _AGAIN  # Another process has embedded these meanwhile.
            self._put(table, ids, texts, vectors)
        self._remember(vectors)
        return Step(len(changes), "more" if changes.more else "done")

    def _read(
        self, table: Table[Any], changes: Changes
    ) -> tuple[Table[Any], list[Text], Collection[int]]:
        """Return the table of the records, their texts, and the ids of those that had others."""
        if table is not CHANGES:
            records = PARTS[table].decode(changes.columns)
            return table, list(texts_of(table, records)), ()
        lines = CHANGES.decode(changes.columns)
        ids = sorted({each.row_id for each in lines if each.table_name == RUNS.name})
        return RUNS, self._texts(RUNS, ids), ids

    def _texts(self, table: Table[Any], ids: Sequence[int]) -> list[Text]:
        """Return the texts of records as they are stored."""
        part = PARTS[table]
        columns = self._store.select(part, (Filter("id", "in", tuple(ids)),)) if ids else []
        return list(texts_of(table, part.decode(columns))) if ids else []

    def _put(
        self,
        table: Table[Any],
        ids: Collection[int],
        texts: Sequence[Text],
        vectors: dict[int, bytes],
    ) -> None:
        """Store the vectors of texts that are still the same, inside a transaction."""
        if not texts and not ids:
            return
        self._lock_runs(texts)
        concerned = sorted({*ids, *(each.row_id for each in texts)})
        now = {(each.row_id, each.kind): each.hash for each in self._texts(table, concerned)}
        stored = self._stored_of(table, concerned)
        outdated = {key[0] for key, (_, h) in stored.items() if now.get(key) != h}
        if outdated:
            ids = tuple(ident for (row_id, _), (ident, _) in stored.items() if row_id in outdated)
            self._store.delete(EMBEDDINGS, (Filter("id", "in", ids),))
        rows = [
            self._row(table, each, vectors[each.hash])
            for each in texts
            if each.hash in vectors
            and now.get((each.row_id, each.kind)) == each.hash
            and (each.row_id in outdated or (each.row_id, each.kind) not in stored)
        ]
        self._store.insert_many(EMBEDDINGS, rows)

    def _lock_runs(self, texts: Sequence[Text]) -> None:
        """Wait for deletions of the runs of these texts, and keep others from beginning."""
        names = tuple({each.run_id for each in texts if each.run_id is not None})
        runs = self._store.select_columns(RUNS, ("id",), (Filter("run_id", "in", names),))
        self._store.lock_rows(RUNS, [ident for (ident,) in runs], shared=True)

    def _stored_of(
        self, table: Table[Any], ids: Sequence[int]
    ) -> dict[tuple[int, TextKind], tuple[int, int]]:
        """Return the id and the hash of each embedding of some rows, by the row and the kind."""
        # SQLite would find those of the model, which are all, and not those of the rows.
        where = (Filter("row_id", "in", tuple(ids)), Filter("table_name", "=", table.name))
        columns = ("model", "row_id", "kind", "id", "text_hash")
        rows = self._store.select_columns(EMBEDDINGS, columns, where)
        of_model = (row[1:] for row in rows if row[0] == self._model.name)
        return {(row_id, kind): (ident, h) for row_id, kind, ident, h in of_model}

    def _row(self, table: Table[Any], text: Text, vector: bytes) -> Row:
        return {
            "table_name": table.name,
            "row_id": text.row_id,
            "kind": text.kind,
            "model": self._model.name,
            "dim": len(vector) // 2,
            "text_hash": text.hash,
            "vector": vector,  # type: ignore[dict-item]  # Bytes are stored as they are.
        }

    # --- vectors ------------------------------------------------------------------------------

    def _vectors(self, texts: Iterable[Text]) -> dict[int, bytes]:
        """Return the vectors of texts by their hashes; a text without meaning has none."""
        by_hash = {each.hash: each.text for each in texts}
        found = {key: self._known[key] for key in by_hash if key in self._known}
        found |= self._stored(by_hash.keys() - found.keys())
        new = [key for key in by_hash if key not in found]
        vectors = self._model.vectors([by_hash[key] for key in new])
        self._check_dimension(vectors)
        return found | {
            key: packed(vector) for key, vector in zip(new, vectors, strict=True) if vector.any()
        }

    def _stored(self, hashes: Collection[int]) -> dict[int, bytes]:
        """Return the vectors that some texts have already."""
        where = (
            Filter("text_hash", "in", tuple(hashes)),
            Filter("model", "=", self._model.name),
        )
        newest = (Measure("max", "id"),)
        groups = self._store.aggregate(EMBEDDINGS, newest, where, group_by=("text_hash",))
        ids = tuple(ident for _, ident in groups)
        columns = ("text_hash", "vector")
        rows = self._store.select_columns(EMBEDDINGS, columns, (Filter("id", "in", ids),))
        return {text_hash: bytes(vector) for text_hash, vector in rows}

    def _remember(self, vectors: dict[int, bytes]) -> None:
        self._known.update(vectors)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _check_dimension(self, vectors: Vectors) -> None:
        if len(vectors) and (dim := self.dimension()) not in (None, vectors.shape[1]):
            raise other_dimension(self._model.name, dim, vectors.shape[1])

    def dimension(self) -> int | None:
        """Return how many numbers the stored vectors have; None where there are none yet."""
        where = (Filter("model", "=", self._model.name),)
        rows = self._store.select_columns(EMBEDDINGS, ("dim",), where, 1)
        return rows[0][0] if rows else None


def other_dimension(model: str, stored: int | None, given: int) -> InvalidValueError:
    """Return the error for a vector that cannot be compared with the stored ones."""
    return InvalidValueError(
        f"The vectors of {model} have {stored} numbers in this database, and this one has {given}. "
        "Vectors of two models are never compared: give another model another name.",
        field="to",
    )


def packed(vector: Any) -> bytes:
    """Return a vector as it is stored."""
    stored: bytes = vector.astype("<f2").tobytes()
    return stored


def delete_all(store: Store, model: str) -> int:
    """Delete the vectors of a model, and where it has come in the feeds; return how many."""
    where = (EMBEDDINGS.filter("model", "=", model),)
    with store.transaction():
        store.advisory_lock(EMBEDDING_LOCK)
        store.delete(CONSUMERS, CONSUMERS.where(name=_consumer(model)))
        return store.delete(EMBEDDINGS, where)


def _consumer(model: str) -> str:
    return f"similar {model}"
