"""The databases to measure on, each filled on first use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.support import fill, rows

_WRITTEN_RUNS = 20


@dataclass(frozen=True)
class Sizes:
    """The numbers of records and repetitions.

    `writes` are the single ones of one repetition, `batched` its rows in batches; what takes
    seconds is repeated `slow_repetitions` times. A question is asked `rounds` times at most in one
    repetition. There are `runs` of a thousand events where events
    are written and runs are read, and `history_runs` where all of them are.
    """

    repetitions: int
    slow_repetitions: int
    rounds: int
    writes: int
    batched: int
    runs: int
    history_runs: int
    usage_rows: int
    metrics: int


class Workspace:
    """The databases of one benchmark, removed after it."""

    def __init__(
        self, sizes: Sizes, directory: Path, dsn: str, stack: ExitStack, *, own_server: bool
    ) -> None:
        self.sizes = sizes
        self.directory = directory
        self.dsn = dsn
        self.own_server = own_server
        self._stack = stack

    def rounds(self, wanted: int) -> int:
        """Return the number of queries in one repetition, if this number is wanted."""
        return min(wanted, self.sizes.rounds)

    @property
    def full_runs(self) -> list[str]:
        """Return the runs with a thousand events, to read."""
        return [rows.run_id(number) for number in range(self.sizes.runs)]

    @property
    def written_runs(self) -> range:
        """Return the runs without events, to write to."""
        return range(self.sizes.runs, self.sizes.runs + _WRITTEN_RUNS)

    @cached_property
    def sqlite_events(self) -> Path:
        path = self.directory / "events.db"
        fill.sqlite_file(path, self._events())
        return path

    @contextmanager
    def sqlite_copies(self, count: int) -> Iterator[list[Path]]:
        """Return so many copies of the file of events, to write to."""
        with tempfile.TemporaryDirectory(dir=self.directory) as folder:
            yield [self._copy(Path(folder, f"{number}.db")) for number in range(count)]

    def _copy(self, path: Path) -> Path:
        shutil.copy(self.sqlite_events, path)
        with path.open("rb+") as file:
            os.fsync(file)  # Otherwise the first measured checkpoint would do it.
        return path

    @cached_property
    def sqlite_usage(self) -> Path:
        path = self.directory / "usage.db"
        fill.sqlite_file(path, self._usage())
        return path

    @cached_property
    def sqlite_history(self) -> Path:
        path = self.directory / "history.db"
        fill.sqlite_file(path, self._history())
        return path

    @cached_property
    def sqlite_metrics(self) -> Path:
        path = self.directory / "metrics.db"
        fill.sqlite_file(path, self._metrics())
        return path

    @cached_property
    def sqlite_year(self) -> Path:
        path = self.directory / "year.db"
        fill.sqlite_file(path, self._year())
        return path

    @cached_property
    def sqlite_everything(self) -> Path:
        path = self.directory / "everything.db"
        fill.sqlite_file(path, self._everything())
        return path

    @cached_property
    def sqlite_words(self) -> Path:
        path = self.directory / "words.db"
        fill.sqlite_file(path, self._words())
        return path

    @contextmanager
    def postgres_copies(self, count: int) -> Iterator[list[str]]:
        """Return so many copies of a schema of events, to write to."""
        with ExitStack() as stack:
            yield [
                self._schema(stack, f"events_{number}", self._events()) for number in range(count)
            ]

    @cached_property
    def postgres_events(self) -> str:
        return self._schema(self._stack, "events", self._events())

    @cached_property
    def postgres_usage(self) -> str:
        return self._schema(self._stack, "usage", self._usage())

    @cached_property
    def postgres_history(self) -> str:
        return self._schema(self._stack, "history", self._history())

    @cached_property
    def postgres_metrics(self) -> str:
        return self._schema(self._stack, "metrics", self._metrics())

    @cached_property
    def postgres_year(self) -> str:
        return self._schema(self._stack, "year", self._year())

    @contextmanager
    def postgres_layouts(self) -> Iterator[tuple[str, str]]:
        """Return two schemas with a year of events, plain and timed, to read and write."""
        with ExitStack() as stack:
            timed = f"curio_bench_{os.getpid()}_timed"
            stack.callback(fill.drop_schema, self.dsn, timed)
            fill.timed_schema(self.dsn, timed, self._year(), rows.BEGIN)
            yield self._schema(stack, "plain", self._year()), timed

    @cached_property
    def postgres_everything(self) -> str:
        return self._schema(self._stack, "everything", self._everything())

    @cached_property
    def postgres_words(self) -> str:
        return self._schema(self._stack, "words", self._words())

    def _events(self) -> list[fill.Content]:
        return fill.events(self.sizes.runs, rows.EVENTS_OF_A_RUN, idle=_WRITTEN_RUNS)

    def _history(self) -> list[fill.Content]:
        return fill.events(self.sizes.history_runs, rows.EVENTS_OF_A_RUN)

    def _everything(self) -> list[fill.Content]:
        calls = self.sizes.usage_rows
        return fill.everything(self.sizes.history_runs, idle=calls // 10, calls=calls)

    def _words(self) -> list[fill.Content]:
        return fill.worded(self.sizes.history_runs, rows.EVENTS_OF_A_RUN)

    def _usage(self) -> list[fill.Content]:
        return fill.usage(self.sizes.usage_rows)

    def _year(self) -> list[fill.Content]:
        return fill.year(max(self.sizes.usage_rows // rows.Year.EVENTS, 1))

    def _metrics(self) -> list[fill.Content]:
        return fill.metrics(self.sizes.metrics)

    def _schema(self, stack: ExitStack, name: str, content: list[fill.Content]) -> str:
        schema = f"curio_bench_{os.getpid()}_{name}"
        stack.callback(fill.drop_schema, self.dsn, schema)
        fill.postgres_schema(self.dsn, schema, content)
        return schema


def disk() -> Path:
    """Return a directory for temporary files on a disk; /tmp is often memory."""
    lasting = Path("/var/tmp")
    return lasting if lasting.is_dir() else Path(tempfile.gettempdir())
