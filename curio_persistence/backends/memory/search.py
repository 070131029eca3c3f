"""The full-text index in memory: a search scans all documents, fast enough for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from curio_persistence.store.search_index import Candidate, Clause, Document, SearchIndex

Alone = Callable[..., Any]
"""Call a function, with these arguments, while no other thread is inside the store."""
Change = Callable[[Callable[[], object], Callable[[], object]], None]
"""Apply a change, and remember how a transaction undoes it."""


class MemorySearchIndex(SearchIndex):
    """Documents in dictionaries.

    `alone` makes a call while no other thread is inside the store, and `change` a change that a
    transaction undoes.
    """

    def __init__(self, alone: Alone, change: Change) -> None:
        self._alone = alone
        self._change = change
        self._metadata: dict[str, str] = {}
        self._documents: dict[int, Document] = {}
        self._slots: dict[tuple[int, int], int] = {}

    def metadata(self) -> dict[str, str]:
        return self._alone(self._metadata.copy)  # type: ignore[no-any-return]

    def set_metadata(self, **values: str) -> None:
        before = dict(self._metadata)
        self._change(partial(self._metadata.update, values), partial(self._restore, before))

    def _restore(self, metadata: dict[str, str]) -> None:
        self._metadata = metadata

    def taken(self, slots: Sequence[int]) -> set[int]:
        return self._documents.keys() & slots

    def slots(self, kind: int, ids: Sequence[int]) -> dict[int, int]:
        known = ((ident, self._slots.get((kind, ident))) for ident in ids)
        return {ident: slot for ident, slot in known if slot is not None}

    def put(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self.remove(document.kind, [document.record_id], {})
            self._change(partial(self._put, document), partial(self._drop, document))

    def remove(self, kind: int, ids: Sequence[int], words: Mapping[int, str]) -> None:
        for slot in self.slots(kind, ids).values():
            self._remove(self._documents[slot])

    def _remove(self, document: Document) -> None:
        self._change(partial(self._drop, document), partial(self._put, document))

    def _put(self, document: Document) -> None:
        self._documents[document.slot] = document
        self._slots[document.kind, document.record_id] = document.slot

    def _drop(self, document: Document) -> None:
        self._documents.pop(document.slot, None)
        self._slots.pop((document.kind, document.record_id), None)

    def find(
        self, clauses: Sequence[Clause], *, since: int, before: int, limit: int
    ) -> list[Candidate]:
        documents: dict[int, Document] = self._alone(self._documents.copy)
        slots = sorted(slot for slot in documents if since <= slot < before)
        newest_first = (documents[slot] for slot in reversed(slots))
        found = (Candidate(*each[:4]) for each in newest_first if _matches(each, clauses))
        return list(islice(found, limit))

    def unindexed(self, kind: int, table: str, upto: int) -> list[int]:
        return []  # Other programs cannot write here.

    def orphans(self, kind: int, table: str) -> list[int]:
        return []

    def clear(self) -> None:
        for document in list(self._documents.values()):
            self._remove(document)

    def check(self) -> str:
        return ""

    def optimize(self) -> None:
        """Do nothing: removed documents leave nothing behind."""


def _matches(document: Document, clauses: Sequence[Clause]) -> bool:
    words = f" {document.words} "
    return all(
        any(f" {term.word}{'' if term.is_prefix else ' '}" in words for term in clause)
        for clause in clauses
    )
