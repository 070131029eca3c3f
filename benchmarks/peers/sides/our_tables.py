"""The tables of the package, for all sides that write to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.sides.base import WRITTEN_RUNS, Kind, Side, runs_for
from benchmarks.support import fill, rows
from curio_persistence import SQLitePersistence


class OurTables(Side):
    tables = "ours"
    table = "agent_run_events"

    @classmethod
    def create(cls, path: Path) -> None:
        SQLitePersistence(path).close()

    @classmethod
    def content(cls, path: Path, kind: Kind, size: int) -> Iterable[fill.Content]:
        if kind == "summed":
            return fill.usage(size)
        return fill.events(runs_for(size), rows.EVENTS_OF_A_RUN, idle=WRITTEN_RUNS)

    @classmethod
    def make(cls, path: Path, kind: Kind, size: int) -> None:
        super().make(path, kind, size)
        if kind == "summed":
            with SQLitePersistence(path) as persistence:
                persistence.search.index_pending()

    def ids(self, page: Sequence[Any]) -> list[int]:
        return [record.id for record in page]
