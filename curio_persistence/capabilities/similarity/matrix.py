"""The vectors of one model in memory: one multiplication compares a question with all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from curio_persistence.capabilities.similarity.models import numpy
from curio_persistence.capabilities.similarity.texts import FIELDS
from curio_persistence.concurrency import forking
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.table import Columns
from curio_persistence.tables import EMBEDDINGS

LABELS = [(table.name, kind) for table, kinds in FIELDS.items() for kind in kinds]
"""The kinds of texts by table; the position of one is its number."""
_NUMBERS = {label: number for number, label in enumerate(LABELS)}
_ROWS = 16_384
"""Vectors that are read at a time."""
_LARGEST = 131_072
_FULL_PRECISION = 256 << 20
_MOST = 1 << 30
"""Bytes of vectors that are kept with 32 bits a number, and all that are kept. Those behind are
read for each question."""
_LOOK_EVERY = 60.0
"""Seconds between two looks for vectors that were deleted meanwhile."""
_PART = EMBEDDINGS.part("id", "table_name", "kind", "text_hash", "vector")
_BY_ID = (Order("id"),)


class Scores(NamedTuple):
    """For each text its embedding's id, the number of its label, and how similar it is."""

    ids: Any
    labels: Any
    scores: Any


class Block(NamedTuple):
    """Some vectors, each once: `which` are their positions, for each text."""

    ids: Any
    labels: Any
    hashes: Any
    which: Any
    vectors: Any

    def compare(self, question: Any) -> Scores:
        np = numpy()
        found = self.vectors.astype(np.float32, copy=False) @ question
        # The last digits depend on the position in a block.
        return Scores(self.ids, self.labels, found.round(6)[self.which])


def _joined(parts: Sequence[Scores]) -> Scores:
    np = numpy()
    if not parts:
        return Scores(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.float32))
    return Scores(*map(np.concatenate, zip(*parts, strict=True)))


class Matrix(forking.Forkable):
    """The vectors of a model, read once and then only those that are new."""

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._model = Filter("model", "=", model)
        self._blocks: tuple[Block, ...] = ()
        self._looked = monotonic()
        self._lock = Lock()
        forking.follow(self)

    def start_again(self) -> None:
        self._lock = Lock()

    def compare(self, question: Any) -> Scores:
        """Compare all texts with a question."""
        with self._lock:
            self._blocks, rest = self._updated(self._blocks)
        found = [block.compare(question) for block in self._blocks]
        found += [block.compare(question) for block in rest]
        return _joined(found)

    def compare_some(self, question: Any, ids: Collection[int]) -> Scores:
        """Compare some texts with a question, by the ids of their embeddings."""
        found = []
        for some in _in_parts(sorted(ids)):
            where = (Filter("id", "in", some),)
            if (columns := self._store.select(_PART, where, order=_BY_ID))[0]:
                found.append(_block(columns).compare(question))
        return _joined(found)

    def _updated(self, blocks: tuple[Block, ...]) -> tuple[tuple[Block, ...], Iterator[Block]]:
        """Return the blocks with new vectors, and a reader of those that do not fit in memory."""
        if blocks and not self._is_stored(blocks[-1]):
            blocks = ()  # The newest row was deleted, and its id may be that of another one.
        elif blocks and monotonic() >= self._looked + _LOOK_EVERY:
            blocks = self._without_deleted(blocks)
            self._looked = monotonic()
        kept = list(blocks)
        new = self._read(int(kept[-1].ids[-1]) if kept else 0)
        for block in new:
            if sum(each.vectors.nbytes for each in kept) + block.vectors.nbytes > _MOST:
                return tuple(kept), self._read(int(block.ids[0]) - 1)
            kept.append(_compressed(block, kept))
            _merge_last(kept)
        return tuple(kept), iter(())

    def _is_stored(self, block: Block) -> bool:
        last = (self._model, Filter("id", "=", int(block.ids[-1])))
        stored = self._store.select_columns(EMBEDDINGS, ("text_hash",), last)
        return stored == [(int(block.hashes[-1]),)]

    def _without_deleted(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """Return the blocks without the vectors of texts that were deleted."""
        upto = Filter("id", "<", int(blocks[-1].ids[-1]) + 1)
        if self._store.count(EMBEDDINGS, (self._model, upto)) == sum(len(b.ids) for b in blocks):
            return blocks
        np = numpy()
        rows = self._store.select_columns(EMBEDDINGS, ("id",), (self._model, upto))
        stored = np.fromiter((ident for (ident,) in rows), np.int64, len(rows))
        left = (_chosen(block, np.isin(block.ids, stored)) for block in blocks)
        return tuple(block for block in left if len(block.ids))

    def _read(self, after: int) -> Iterator[Block]:
        """Yield the vectors behind an id."""
        while True:
            where = (self._model, Filter("id", ">", after))
            columns = self._store.select(_PART, where, order=_BY_ID, limit=_ROWS)
            if not columns[0]:
                return
            yield _block(columns)
            if len(columns[0]) < _ROWS:
                return
            after = columns[0][-1]


def _in_parts(ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for at in range(0, len(ids), _ROWS):
        yield tuple(ids[at : at + _ROWS])


def _block(columns: Columns) -> Block:
    np = numpy()
    ids, tables, kinds, hashes, vectors = columns
    labels = [_NUMBERS[label] for label in zip(tables, kinds, strict=True)]
    distinct, which = _distinct(np.array(hashes, np.int64))
    stored = b"".join(map(bytes, (vectors[at] for at in distinct)))
    matrix = np.frombuffer(stored, "<f2").reshape(len(distinct), -1).astype(np.float32)
    numbers = np.array(ids, np.int64), np.array(labels, np.uint8), np.array(hashes, np.int64)
    return Block(*numbers, which, matrix)


def _distinct(hashes: Any) -> Any:
    """Return the positions of the first of each text, and for each text which one it is."""
    np = numpy()
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    return first, which.astype(np.int32)


def _chosen(block: Block, wanted: Any) -> Block:
    """Return the wanted ones of a block's texts, with their vectors only."""
    np = numpy()
    if wanted.all():
        return block
    vectors, which = np.unique(block.which[wanted], return_inverse=True)
    ids, labels, hashes = (each[wanted] for each in block[:3])
    return Block(ids, labels, hashes, which.astype(np.int32), block.vectors[vectors])


def _compressed(block: Block, kept: Sequence[Block]) -> Block:
    """Return a block with 16 bits a number if there are many vectors: comparing takes longer."""
    np = numpy()
    if sum(each.vectors.nbytes for each in kept) + block.vectors.nbytes <= _FULL_PRECISION:
        return block
    return block._replace(vectors=block.vectors.astype(np.float16))


def _merge_last(blocks: list[Block]) -> None:
    """Merge the last blocks while they are small, so that there are few."""
    while len(blocks) > 1:
        before, last = blocks[-2:]
        if len(before.ids) > 2 * len(last.ids) or len(before.ids) + len(last.ids) > _LARGEST:
            return
        blocks[-2:] = [_merged(before, last)]


def _merged(before: Block, last: Block) -> Block:
    np = numpy()
    ids, labels, hashes = (np.concatenate(pair) for pair in zip(before[:3], last[:3], strict=True))
    distinct, which = _distinct(hashes)
    positions = np.concatenate((before.which, last.which + len(before.vectors)))[distinct]
    vectors = np.concatenate((before.vectors, last.vectors))[positions]
    return Block(ids, labels, hashes, which, vectors)
