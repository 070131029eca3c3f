"""The words of records in memory: looked through, which is fast enough for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from threading import RLock

from curio_persistence.store.search_index import Document, Found, Term, Wanted, WordIndex

Change = Callable[[Callable[[], object], Callable[[], object]], None]
"""Does something, and remembers how it is undone."""


class MemoryWords(WordIndex):
    """Documents in dictionaries. `change` is how the store makes what its transactions undo.

    A transaction has the store's `lock`, and others wait for it before they look.
    """

    def __init__(self, lock: RLock, change: Change) -> None:
        self._lock = lock
        self._change = change
        self._notes: dict[str, str] = {}
        self._documents: dict[int, Document] = {}
        self._places: dict[tuple[int, int], int] = {}

    def notes(self) -> dict[str, str]:
        with self._lock:
            return dict(self._notes)

    def note(self, **values: str) -> None:
        before = dict(self._notes)
        self._change(partial(self._notes.update, values), partial(self._restore, before))

    def _restore(self, notes: dict[str, str]) -> None:
        self._notes = notes

    def lock(self) -> None:
        """The store's transactions come one after the other."""

    def taken(self, places: Sequence[int]) -> set[int]:
        return self._documents.keys() & places

    def known(self, kind: int, ids: Sequence[int]) -> set[int]:
        return {ident for ident in ids if (kind, ident) in self._places}

    def add(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self._change(partial(self._put, document), partial(self._drop, document))

    def remove(self, kind: int, ids: Sequence[int], words: Callable[[], Mapping[int, str]]) -> None:
        for ident in self.known(kind, ids):
            document = self._documents[self._places[kind, ident]]
            self._change(partial(self._drop, document), partial(self._put, document))

    def _put(self, document: Document) -> None:
        self._documents[document.place] = document
        self._places[document.kind, document.record_id] = document.place

    def _drop(self, document: Document) -> None:
        del self._documents[document.place]
        del self._places[document.kind, document.record_id]

    def find(self, wanted: Wanted, *, since: int, before: int, limit: int) -> list[Found]:
        with self._lock:
            places = sorted(place for place in self._documents if since <= place < before)
            documents = (self._documents[place] for place in reversed(places))
            found = (Found(*each[:4]) for each in documents if _has(each, wanted))
            return list(islice(found, limit))

    def counts(self) -> dict[int, int]:
        with self._lock:
            return dict(Counter(document.kind for document in self._documents.values()))

    def clear(self) -> None:
        for document in list(self._documents.values()):
            self._change(partial(self._drop, document), partial(self._put, document))

    def check(self) -> str:
        return ""


def _has(document: Document, wanted: Wanted) -> bool:
    words = f" {document.words} "
    return all(_has_any(words, group) for group in wanted.groups) and not _has_any(
        words, wanted.none
    )


def _has_any(words: str, terms: Sequence[Term]) -> bool:
    return any(f" {word}{'' if is_prefix else ' '}" in words for word, is_prefix in terms)
