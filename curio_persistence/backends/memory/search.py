"""The words of records in memory: looked through, which is fast enough for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from curio_persistence.store.search_index import Document, Found, Term, Wanted, WordIndex

Alone = Callable[..., Any]
"""Calls a function, with these arguments, while no other thread is inside the store."""
Change = Callable[[Callable[[], object], Callable[[], object]], None]
"""Does something, and remembers how it is undone."""


class MemoryWords(WordIndex):
    """Documents in dictionaries.

    `alone` is how the store makes a call while no other thread is inside, and `change` how it makes
    what a transaction undoes.
    """

    def __init__(self, alone: Alone, change: Change) -> None:
        self._alone = alone
        self._change = change
        self._notes: dict[str, str] = {}
        self._documents: dict[int, Document] = {}
        self._places: dict[tuple[int, int], int] = {}

    def notes(self) -> dict[str, str]:
        return self._alone(self._notes.copy)  # type: ignore[no-any-return]

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
        self._documents.pop(document.place, None)
        self._places.pop((document.kind, document.record_id), None)

    def find(self, wanted: Wanted, *, since: int, before: int, limit: int) -> list[Found]:
        documents: dict[int, Document] = self._alone(self._documents.copy)
        places = sorted(place for place in documents if since <= place < before)
        newest_first = (documents[place] for place in reversed(places))
        found = (Found(*each[:4]) for each in newest_first if _has(each, wanted))
        return list(islice(found, limit))

    def counts(self) -> dict[int, int]:
        documents: dict[int, Document] = self._alone(self._documents.copy)
        return dict(Counter(document.kind for document in documents.values()))

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
