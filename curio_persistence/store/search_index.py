"""Where words are found: which records may have them, newest first.

The index says what may be found; the records say what is. So it can be late, keep words of what is
gone, or hold two for the same, and still nothing is found that is not there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple


class Document(NamedTuple):
    """What the index keeps of a record.

    `place` is the record's time in milliseconds, or the next number that is free; `kind` a small
    number for each sort of record; `length` how many words there are, `words` each of them once.
    """

    place: int
    kind: int
    record_id: int
    length: int
    words: str


class Found(NamedTuple):
    """A record that may be what is looked for."""

    place: int
    kind: int
    record_id: int
    length: int


class Term(NamedTuple):
    """A word, or the beginning of one."""

    word: str
    is_prefix: bool = False


class Wanted(NamedTuple):
    """What a record is to have: of each group one term, and of the others none."""

    groups: tuple[tuple[Term, ...], ...]
    none: tuple[Term, ...] = ()


class WordIndex(ABC):
    """A store's index of words. What writes belongs into a transaction of the store."""

    batch: ClassVar[int] = 1_000
    """So many documents it likes to take up at a time, keeping other indexers waiting meanwhile."""

    @abstractmethod
    def notes(self) -> dict[str, str]:
        """What was noted, by name."""

    @abstractmethod
    def note(self, **values: str) -> None:
        """Note something else under some names."""

    @abstractmethod
    def lock(self) -> None:
        """Keep others from changing the index until this transaction ends."""

    def try_to_lock(self) -> bool:
        """The same, unless somebody else does; whether it did."""
        self.lock()
        return True

    def claim_runs(self, ids: Sequence[int]) -> set[int]:
        """Those of the runs that nobody is changing now, nor can until this transaction ends."""
        return set(ids)

    @abstractmethod
    def taken(self, places: Sequence[int]) -> set[int]:
        """Those of the places that a document has."""

    @abstractmethod
    def known(self, kind: int, ids: Sequence[int]) -> set[int]:
        """Those of the records that are indexed."""

    @abstractmethod
    def add(self, documents: Sequence[Document]) -> None:
        """Take up documents of records that are not in it, at places that are free."""

    def after_batch(self) -> None:  # Most need nothing.  # noqa: B027
        """Documents were added, and their transaction has ended: give room back, if it is time."""

    @abstractmethod
    def remove(self, kind: int, ids: Sequence[int], words: Callable[[], Mapping[int, str]]) -> None:
        """Forget records. `words` gives for each what it was indexed with, where that is needed."""

    @abstractmethod
    def find(self, wanted: Wanted, *, since: int, before: int, limit: int) -> list[Found]:
        """The records at the last places from `since` up to `before`; the last one first."""

    @abstractmethod
    def counts(self) -> dict[int, int]:
        """How many records of each kind are indexed."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything but the notes."""

    @abstractmethod
    def check(self) -> str:
        """What is wrong with it, in words; nothing where nothing is."""
