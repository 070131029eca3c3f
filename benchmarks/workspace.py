"""What is measured on: databases that are filled when the first measurement asks for them."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import fill, rows

_WRITTEN_RUNS = 20


@dataclass(frozen=True)
class Sizes:
    """How much of everything; `writes` are those of one repetition."""

    repetitions: int
    writes: int
    runs: int
    usage_rows: int


class Workspace:
    """The databases of one benchmark, gone after it."""

    def __init__(
        self, sizes: Sizes, directory: Path, dsn: str, stack: ExitStack, *, own_server: bool
    ) -> None:
        self.sizes = sizes
        self.directory = directory
        self.dsn = dsn
        self.own_server = own_server
        self._stack = stack

    @property
    def full_runs(self) -> list[str]:
        """The runs with a thousand events, to read."""
        return [rows.run_id(number) for number in range(self.sizes.runs)]

    @property
    def written_runs(self) -> range:
        """The runs without events, to write to."""
        return range(self.sizes.runs, self.sizes.runs + _WRITTEN_RUNS)

    @cached_property
    def sqlite_events(self) -> Path:
        path = self.directory / "events.db"
        fill.sqlite_file(path, self._events())
        return path

    def sqlite_copy(self, name: str) -> Path:
        """The file of events once more, to write to."""
        path = Path(shutil.copy(self.sqlite_events, self.directory / f"{name}.db"))
        with path.open("rb+") as file:
            os.fsync(file)  # Or the first checkpoint that is measured would have to.
        return path

    @cached_property
    def sqlite_usage(self) -> Path:
        path = self.directory / "usage.db"
        fill.sqlite_file(path, self._usage())
        return path

    def postgres_events(self, name: str) -> str:
        """A schema of events."""
        return self._schema(f"events_{name}", self._events())

    @cached_property
    def postgres_usage(self) -> str:
        return self._schema("usage", self._usage())

    def _events(self) -> list[fill.Content]:
        return fill.events(self.sizes.runs, rows.EVENTS_OF_A_RUN, idle=_WRITTEN_RUNS)

    def _usage(self) -> list[fill.Content]:
        return fill.usage(self.sizes.usage_rows)

    def _schema(self, name: str, content: list[fill.Content]) -> str:
        schema = f"curio_bench_{os.getpid()}_{name}"
        self._stack.callback(fill.drop_schema, self.dsn, schema)
        fill.postgres_schema(self.dsn, schema, content)
        return schema
