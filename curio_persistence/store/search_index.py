"""The contract of a full-text index: the records that may contain some words, newest first.

The index says which records may match, the records decide. An index may therefore be late or know
more words than a record has; a search still returns nothing that does not match.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

MARK = "§"
"""Begins terms that stand for values of columns. No word does; none is searched by a beginning."""


class Document(NamedTuple):
    """The index entry of a record.

    `slot` is the record's time in milliseconds, or the next number that is free; `kind` a small
    number for each kind of record; `length` counts all words, `words` contains each word once.
    """

    slot: int
    kind: int
    record_id: int
    length: int
    words: str


class Candidate(NamedTuple):
    """A record that may match, and its stored values if they were read with it."""

    slot: int
    kind: int
    record_id: int
    length: int
    values: tuple[Any, ...] | None = None


class Term(NamedTuple):
    """A word, the beginning of one, or a mark with the column and the value that it stands for."""

    word: str
    is_prefix: bool = False
    stands_for: tuple[str, str] | None = None


Clause = tuple[Term, ...]
"""Terms of which a record needs at least one."""


class CandidateSource(ABC):
    """Tells which records may match. Their slots have the order of their times."""

    slots_per_ms: ClassVar[int] = 1
    """How many slots a millisecond has; the first one begins with 1970."""

    @abstractmethod
    def find(
        self, clauses: Sequence[Clause], *, since: int, before: int, limit: int
    ) -> list[Candidate]:
        """Return the records in slots from `since` up to `before`, the last ones first.

        They match all clauses; without a clause, all records do.
        """


class SearchIndex(CandidateSource):
    """The full-text index of a store. Writes require a transaction of the store."""

    removal_needs_words: ClassVar[bool] = False
    """True where `remove` must be given the words with which a record was indexed."""

    @abstractmethod
    def metadata(self) -> dict[str, str]:
        """Return the values stored beside the index, by name."""

    @abstractmethod
    def set_metadata(self, **values: str) -> None:
        """Store some of these values."""

    def lock(self, table: str, ids: Sequence[int]) -> set[int]:
        """Lock rows against changes until this transaction ends; return those that are locked.

        A row that another transaction is changing is left out.
        """
        return set(ids)

    @abstractmethod
    def taken(self, slots: Sequence[int]) -> set[int]:
        """Return which of the slots are taken by a document."""

    @abstractmethod
    def slots(self, kind: int, ids: Sequence[int]) -> dict[int, int]:
        """Return the slots of the records that are indexed."""

    @abstractmethod
    def put(self, documents: Sequence[Document]) -> None:
        """Store documents; a document replaces an earlier one of the same record."""

    @abstractmethod
    def remove(self, kind: int, ids: Sequence[int], words: Mapping[int, str]) -> None:
        """Remove records, `words` being what they were indexed with (see `removal_needs_words`)."""

    @abstractmethod
    def unindexed(self, kind: int, table: str, upto: int) -> list[int]:
        """Return the ids of records that should be indexed, but are not.

        Those are runs with an `indexed_at`, and other records up to the id `upto`.
        """

    @abstractmethod
    def orphans(self, kind: int, table: str) -> list[int]:
        """Return the ids of indexed records that no longer exist."""

    @abstractmethod
    def clear(self) -> None:
        """Remove all documents."""

    @abstractmethod
    def check(self) -> str:
        """Return what is wrong with the index, in words, or an empty string."""

    def after_indexing(self, count: int) -> None:  # Most need nothing.
        """Tidy up outside any transaction, after `count` documents were stored."""

    @abstractmethod
    def optimize(self) -> None:
        """Rewrite the index so that no word of removed documents is left."""
