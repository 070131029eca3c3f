"""The tasks of a side of the comparison."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmarks.support import fill, rows
from curio_persistence import AgentRunEvent

Kind = Literal["written", "listed", "summed"]
"""The purpose of a file: writing, listing, or statistics."""
Task = Literal["single", "batch", "page", "statistics", "newest", "search"]

WRITTEN_RUNS = 20


@dataclass(frozen=True)
class Words:
    """A remark on some tasks."""

    single: str = ""
    batch: str = ""
    page: str = ""
    statistics: str = ""
    newest: str = ""
    search: str = ""


class Side(ABC):
    """One package, working in one SQLite file.

    `calls` describes its call for each task that it can do; `lacks`, why it cannot do the others.
    Events are written to `table`. Sides with the same `tables` can read each other's files.
    """

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    tables: ClassVar[str]
    table: ClassVar[str]
    calls: ClassVar[Words]
    lacks: ClassVar[Words] = Words()

    def __init__(self, path: Path) -> None:
        """Open a file that `make` created."""
        self.path = path

    @classmethod
    def make(cls, path: Path, kind: Kind, size: int) -> None:
        """Create a new file: tables by the side itself, with so many rows by the bare driver."""
        cls.create(path)
        fill.sqlite_rows(path, cls.content(path, kind, size))

    @classmethod
    @abstractmethod
    def create(cls, path: Path) -> None:
        """Have the side create its tables."""

    @classmethod
    @abstractmethod
    def content(cls, path: Path, kind: Kind, size: int) -> Iterable[fill.Content]:
        """Return the rows that the side would have written."""

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[Any]:
        """Return the side's own form of these events, as its user would create them; not timed."""
        return events

    def log(self, record: Any) -> object:
        """Store one record; it is committed when this returns."""
        raise NotImplementedError

    def log_many(self, records: Sequence[Any]) -> object:
        """Store all records in one transaction."""
        raise NotImplementedError

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        """Return the newest events of an agent with this type."""
        raise NotImplementedError

    def ids(self, page: Sequence[Any]) -> list[int]:
        """Return the ids on a page of the package's own tables."""
        raise NotImplementedError

    def statistics(self, agent_id: str | None) -> dict[str, Any]:
        """Return the same as `get_agent_run_stats`."""
        raise NotImplementedError

    def newest(self, limit: int) -> Sequence[str]:
        """Return the command that prints the newest model calls as JSON, each with its `prompt`."""
        raise NotImplementedError

    def search(self, word: str, limit: int) -> Sequence[str]:
        """Return the command that prints the newest with a word, in the same form, or as
        `record`."""
        raise NotImplementedError

    def pragma(self, name: str) -> Any:
        """Return a setting of the side's own connection for writing."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None: ...


def runs_for(events: int) -> int:
    """Return the number of runs that have so many events."""
    return max(events // rows.EVENTS_OF_A_RUN, 1)


def event_rows(events: int) -> Iterable[Sequence[tuple[Any, ...]]]:
    """Yield chunks of rows of `rows.EVENT_COLUMNS`."""
    return rows.event_rows(runs_for(events), each=rows.EVENTS_OF_A_RUN)


def translated(
    chunks: Iterable[Sequence[tuple[Any, ...]]], translate: Callable[..., tuple[Any, ...]]
) -> fill.Chunks:
    """Yield the same chunks with each row translated."""
    return ([translate(*row) for row in chunk] for chunk in chunks)


def scattered(number: int) -> int:
    """Return 64 bits unique to this number; those of neighbours are far apart, like random ones."""
    return number * 0x9E37_79B9_7F4A_7C15 % 2**64
