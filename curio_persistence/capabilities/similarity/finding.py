"""Find the records whose texts are most similar to a question, among those that pass filters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from curio_persistence.capabilities.similarity.hits import SimilarHit
from curio_persistence.capabilities.similarity.matrix import LABELS, Matrix, Scores
from curio_persistence.capabilities.similarity.models import numpy
from curio_persistence.capabilities.similarity.texts import FIELDS, Text, TextKind, text_of
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EMBEDDINGS, RUNS

_FEW = 20_000
"""Records that pass filters of which all are compared; of more, the most similar are looked at
until enough of them pass."""
_VERY_FEW = 2_000
"""The number of records up to which only their own vectors are read, even if all fit in memory."""
_AT_LEAST = 20
_FARTHER = 20
"""An index of vectors is asked again for so many times as many, before all are compared."""
_AT_ONCE = 1_000
_SHOWN = 160


Ranked = Iterator[tuple[int, float]]
"""Ids of embeddings with their scores, the best first."""


class Question(NamedTuple):
    """A vector, the kind of the texts that are compared with it, and the filters of their records.

    Tables without such texts, or whose records do not have all that is asked for, are left out.
    """

    vector: Any
    kind: TextKind | None
    where: Mapping[Table[Any], Where]
    is_filtered: bool


class Finder:
    """Finds what is similar to one question."""

    def __init__(self, store: Store, model: str, matrix: Matrix, question: Question) -> None:
        self._store = store
        self._model = model
        self._matrix = matrix
        self._question = question

    def find(self, top: int) -> list[SimilarHit]:
        """Return the `top` most similar texts; of equally similar ones the last stored first."""
        hits: list[SimilarHit] = []
        if not top:
            return hits
        for some in _chunks(self._ranked(max(2 * top, _AT_LEAST)), max(top, _AT_LEAST)):
            hits += self._hits(some)
            if len(hits) >= top:
                break
        return hits[:top]

    # --- candidates ---------------------------------------------------------------------------

    def _ranked(self, size: int) -> Ranked:
        """Yield the embeddings of the texts in question, the most similar first."""
        vector, kind, _, is_filtered = self._question
        chosen = self._chosen() if is_filtered else None
        nearest = self._store.vector_index(self._model)
        near: list[int] = []
        if chosen is not None and (nearest is not None or len(chosen) <= _VERY_FEW):
            scores = self._matrix.compare_some(vector, chosen)
        elif nearest is None:
            scores = self._matrix.compare(vector)
        else:
            for limit in (size, size * _FARTHER):
                new = {*nearest(vector, kind, limit)}.difference(near)
                near += new
                yield from self._in_order(self._matrix.compare_some(vector, new), None, size)
            # Few of the nearest pass the filters: all are compared.
            scores = self._matrix.compare(vector)
        yield from self._in_order(scores, chosen, size, without=near)

    def _in_order(
        self,
        scores: Scores,
        chosen: Collection[int] | None,
        size: int,
        without: Collection[int] = (),
    ) -> Ranked:
        """Yield those of the wanted kind that were chosen."""
        np = numpy()
        wanted = np.isin(scores.ids, [*without], invert=True)
        if len(labels := self._labels()) < len(LABELS):
            wanted &= np.isin(scores.labels, labels)
        if chosen is not None:
            wanted &= np.isin(scores.ids, [*chosen])
        return _in_order(scores.ids[wanted], scores.scores[wanted], size)

    def _labels(self) -> list[int]:
        """Return the numbers of the labels of the texts in question."""
        tables = {table.name for table in self._question.where}
        kind = self._question.kind
        return [n for n, (name, k) in enumerate(LABELS) if name in tables and kind in (None, k)]

    def _chosen(self) -> list[int] | None:
        """Return the embeddings of the records that pass the filters; None if these are many."""
        of_tables: dict[Table[Any], list[int]] = {}
        left = _FEW
        for table, where in self._question.where.items():
            rows = self._store.select_columns(table, ("id",), where, left + 1)
            left -= len(rows)
            if left < 0:
                return None
            of_tables[table] = [ident for (ident,) in rows]
        return [
            ident
            for table, ids in of_tables.items()
            for at in range(0, len(ids), _AT_ONCE)
            for ident in self._embeddings_of(table, ids[at : at + _AT_ONCE])
        ]

    def _embeddings_of(self, table: Table[Any], ids: Sequence[int]) -> list[int]:
        # SQLite would find those of the model, which are all, and not those of the rows.
        where = (Filter("row_id", "in", tuple(ids)), Filter("table_name", "=", table.name))
        rows = self._store.select_columns(EMBEDDINGS, ("id", "model"), where)
        return [ident for ident, model in rows if model == self._model]

    # --- records ------------------------------------------------------------------------------

    def _hits(self, ranked: Sequence[tuple[int, float]]) -> Iterator[SimilarHit]:
        """Yield the hits among these: the records decide, which may have changed meanwhile."""
        columns = ("id", "table_name", "row_id", "kind", "text_hash")
        ids = (Filter("id", "in", tuple(ident for ident, _ in ranked)),)
        rows = {row[0]: row[1:] for row in self._store.select_columns(EMBEDDINGS, columns, ids)}
        records = self._records({(name, row_id) for name, row_id, *_ in rows.values()})
        for ident, score in ranked:
            if ident in rows:  # Else the record was deleted.
                name, row_id, kind, text_hash = rows[ident]
                table, record = records.get((name, row_id), (RUNS, None))
                if record is not None:
                    text = Text(row_id, record.run_id, kind, text_of(table, record, kind))
                    if text.hash == text_hash:
                        yield _hit(table, record, text, score)

    def _records(self, names: Collection[tuple[str, int]]) -> dict[tuple[str, int], Any]:
        """Return the records that pass the filters, with their tables."""
        found: dict[tuple[str, int], Any] = {}
        for table, where in self._question.where.items():
            ids = tuple(sorted(row_id for name, row_id in names if name == table.name))
            if ids:
                columns = self._store.select(table, (Filter("id", "in", ids), *where))
                found |= {(table.name, r.id): (table, r) for r in table.decode(columns)}
        return found


def _in_order(ids: Any, scores: Any, size: int) -> Ranked:
    """Yield ids and scores, the best first; the best `size` are sorted first, then more."""
    np = numpy()
    while len(ids):
        least = np.partition(scores, -size)[-size] if size < len(ids) else scores.min()
        now = scores >= least
        order = np.lexsort((-ids[now], -scores[now]))
        yield from zip(ids[now][order].tolist(), scores[now][order].tolist(), strict=True)
        ids, scores, size = ids[~now], scores[~now], size * 4


def _chunks(ranked: Ranked, size: int) -> Iterator[list[tuple[int, float]]]:
    while some := list(islice(ranked, size)):
        yield some


def _hit(table: Table[Any], record: Any, text: Text, score: float) -> SimilarHit:
    return SimilarHit(
        text.kind,
        record.run_id,
        record.agent_id,
        getattr(record, table.ages_by),
        FIELDS[table][text.kind],
        _line(text.text),
        round(score, 3),
        record,
    )


def _line(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: _SHOWN * 2].split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
