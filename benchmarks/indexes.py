"""The cost of each index for a write: `python benchmarks/indexes.py`, in two or three minutes.

Every table is written with all its indexes, without one of them at a time, and with others
instead; single rows and batches of a thousand, in turn, into tables of equal size. The measure
is processor time: of this process with SQLite, of the session with PostgreSQL (as Linux
reports it). Prints medians.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import psycopg2

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks` and `tests.support`, from any working directory.

from benchmarks.support import fill, rows  # noqa: E402
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence  # noqa: E402
from curio_persistence.store.codecs import encode_time  # noqa: E402
from curio_persistence.store.table import Row, Table  # noqa: E402
from curio_persistence.tables import EVENTS, RUNS, USAGE  # noqa: E402
from tests.support.postgres import PostgresServer  # noqa: E402

_SINGLES, _BATCH, _BATCHES = 250, 1_000, 2
_RUNS_UNDER_WAY = 20


class Variant(NamedTuple):
    """A change of the indexes: the one to drop, and the columns of one to create instead."""

    drop: str | None = None
    columns: str = ""

    def __str__(self) -> str:
        if self.columns:
            return f"… as ({self.columns})"
        return f"`{self.drop}`" if self.drop else "nothing, which is noise"

    def statements(self, table: str, schema: str = "") -> Iterator[str]:
        if self.drop:
            yield f"DROP INDEX IF EXISTS {schema}{self.drop}"  # PostgreSQL has not all.
        if self.columns:
            yield f"CREATE INDEX {self.drop} ON {schema}{table} ({self.columns})"


class Subject(NamedTuple):
    """A table: its stored rows, the rows to write, and other indexes."""

    table: Table[Any]
    content: Callable[[int], list[fill.Content]]
    rows: Callable[[int], Iterator[Row]]
    variants: list[Variant]


def _runs(size: int) -> list[fill.Content]:
    return [("agent_runs", rows.RUN_COLUMNS, [rows.run_rows(size)])]


def _run_rows(stored: int) -> Iterator[Row]:
    for number in count(stored):
        [values] = rows.run_rows(1, first=number)
        now = encode_time(datetime.now(UTC))
        yield dict(zip(rows.RUN_COLUMNS, values, strict=True)) | {
            "created_at": now,
            "updated_at": now,
        }


def _events(size: int) -> list[fill.Content]:
    return fill.events(size // rows.EVENTS_OF_A_RUN, rows.EVENTS_OF_A_RUN, idle=_RUNS_UNDER_WAY)


def _event_rows(stored: int, *, named: rows.Names | None = None) -> Iterator[Row]:
    first = stored // rows.EVENTS_OF_A_RUN
    runs = range(first, first + _RUNS_UNDER_WAY)
    events = rows.EventStream(runs, now=lambda: datetime.now(UTC), named=named)
    while True:
        for row in map(EVENTS.encode, events.take(_BATCH)):
            yield row | {"created_at": row["timestamp"]}


def _named_event_rows(stored: int) -> Iterator[Row]:
    return _event_rows(stored, named="random")


def _usage(size: int) -> list[fill.Content]:
    runs = max(size // 100, 1)
    return [("agent_llm_usage", rows.USAGE_COLUMNS, rows.usage_rows(size, runs))]


def _usage_rows(stored: int) -> Iterator[Row]:
    for chunk in rows.usage_rows(10**9, _RUNS_UNDER_WAY):
        for values in chunk:
            now = encode_time(datetime.now(UTC))
            yield dict(zip(rows.USAGE_COLUMNS, values, strict=True)) | {"created_at": now}


def _dropped(*names: str) -> list[Variant]:
    return [Variant(name) for name in names]


SUBJECTS = {
    "runs": Subject(
        RUNS,
        _runs,
        _run_rows,
        [
            *_dropped(
                "agent_runs_by_time",
                "agent_runs_by_period",
                "agent_runs_by_agent",
                "agent_runs_by_trace",
                "agent_runs_by_status",
                "agent_runs_stats",
                "agent_runs_by_parent",
                "agent_runs_by_session",
                "agent_runs_by_user",
                "agent_runs_by_source",
                "agent_runs_by_project",
                "agent_runs_by_finish",
                "agent_runs_with_content",
                "agent_runs_unindexed",
            ),
            Variant("agent_runs_stats", "agent_id, status, id, total_iterations"),
        ],
    ),
    "events": Subject(
        EVENTS,
        _events,
        _event_rows,
        [
            *_dropped(
                "agent_run_events_by_run",
                "agent_run_events_by_agent",
                "agent_run_events_by_time",
                "agent_run_events_tools",
                "agent_run_events_tools_by_time",
                "agent_run_events_by_event_id",
                "agent_run_events_chain",
                "agent_run_events_by_session",
                "agent_run_events_severe",
                "agent_run_events_severe_by_agent",
                "agent_run_events_severe_by_run",
                "agent_run_events_metrics",
                "agent_run_events_log",
                "agent_run_events_log_by_kind",
                "agent_run_events_by_content",
            ),
            Variant("agent_run_events_by_agent", "agent_id, timestamp, id"),
            Variant("agent_run_events_by_agent", "agent_id, event_type, timestamp, id"),
            Variant("agent_run_events_by_time", "timestamp, id, event_type"),
        ],
    ),
    "events-with-ids": Subject(
        EVENTS,
        _events,
        _named_event_rows,
        _dropped("agent_run_events_by_event_id"),
    ),
    "usage": Subject(
        USAGE,
        _usage,
        _usage_rows,
        [
            *_dropped(
                "agent_llm_usage_by_time",
                "agent_llm_usage_by_period",
                "agent_llm_usage_by_agent",
                "agent_llm_usage_by_run",
                "agent_llm_usage_by_trace",
                "agent_llm_usage_stats",
                "agent_llm_usage_latency",
                "agent_llm_usage_by_event_id",
                "agent_llm_usage_by_content",
            ),
            Variant(
                "agent_llm_usage_stats",
                "agent_id, model, status, input_tokens, output_tokens, cost_usd, latency_ms",
            ),
        ],
    ),
}


class Side(NamedTuple):
    """A database, and the nanoseconds of processor time spent on it."""

    persistence: Persistence
    clock: Callable[[], int]


class Cost(NamedTuple):
    """Nanoseconds of a single row and of one in a batch."""

    single: float
    batched: float


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    for name in options.only or SUBJECTS:
        subject = SUBJECTS[name]
        variants = [Variant(), *subject.variants, Variant()]
        costs = []
        for database in (_sqlite, _postgres):
            print(f"{name}, {database.__name__[1:]} …", file=sys.stderr)
            with database(subject, variants, options.rows) as sides:
                costs.append(_measure(sides, subject, options))
        _print(name, variants, costs)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("only", nargs="*", metavar="TABLE", help=f"{', '.join(SUBJECTS)} (default: all)")
    add("--rows", type=int, default=100_000, metavar="N", help="in each table (%(default)s)")
    add("--repetitions", type=int, default=25, metavar="N", help="of all (%(default)s)")
    add(
        "--singles", type=int, default=_SINGLES, metavar="N", help="written each time (%(default)s)"
    )
    add("--batch", type=int, default=_BATCH, metavar="N", help="rows of a batch (%(default)s)")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - set(SUBJECTS):
        parser.error(f"no table {', '.join(sorted(unknown))}: {', '.join(SUBJECTS)}")
    return options


@contextmanager
def _sqlite(subject: Subject, variants: list[Variant], size: int) -> Iterator[list[Side]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curio-bench-")))
        fill.sqlite_file(folder / "filled.db", subject.content(size))
        sides = []
        for number, variant in enumerate(variants):
            path = Path(shutil.copy(folder / "filled.db", folder / f"{number}.db"))
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                for statement in variant.statements(subject.table.name):
                    connection.execute(statement)
                connection.execute(
                    "VACUUM"
                )  # Otherwise space freed by an index would be used up first.
            persistence = stack.enter_context(SQLitePersistence(path))
            sides.append(Side(persistence, time.process_time_ns))
        yield sides


@contextmanager
def _postgres(subject: Subject, variants: list[Variant], size: int) -> Iterator[list[Side]]:
    content = [(table, columns, list(chunks)) for table, columns, chunks in subject.content(size)]
    with ExitStack() as stack:
        dsn = stack.enter_context(PostgresServer()).dsn
        sides = []
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for number, variant in enumerate(variants):
                schema = f"variant_{number}"
                fill.postgres_schema(dsn, schema, content)
                for statement in variant.statements(subject.table.name, f"{schema}."):
                    cursor.execute(statement)
                persistence = stack.enter_context(PostgresPersistence(dsn=dsn, schema=schema))
                sides.append(Side(persistence, _session_clock(persistence)))
        yield sides


def _session_clock(persistence: Persistence) -> Callable[[], int]:
    """Return a clock of a server process's processor time; its pool uses only one connection."""
    [(pid,)] = persistence._store._read("SELECT pg_backend_pid()", ())
    told = Path(f"/proc/{pid}/schedstat")
    return lambda: int(told.read_text().split()[0])


def _measure(sides: list[Side], subject: Subject, options: argparse.Namespace) -> list[list[Cost]]:
    """Return the costs of each side, for each repetition."""
    writers = [_writer(side, subject.table, subject.rows(options.rows), options) for side in sides]
    order = deque(range(len(sides)))
    costs: list[list[Cost]] = [[] for _ in sides]
    for _ in range(options.repetitions):
        for number in order:
            costs[number].append(writers[number]())
        order.rotate(1)  # Each side is equally often the first one, and the one after a pause.
    return [of_side[1:] for of_side in costs]  # Except the first, which opens connections.


def _writer(
    side: Side, table: Table[Any], source: Iterator[Row], options: argparse.Namespace
) -> Callable[[], Cost]:
    store, clock = side.persistence._store, side.clock
    single, rows_of_a_batch = options.singles, options.batch

    def write() -> Cost:
        singles = list(islice(source, single))
        batches = [list(islice(source, rows_of_a_batch)) for _ in range(_BATCHES)]
        gc.collect()
        begin = clock()
        for row in singles:
            store.insert(table, row)
        middle = clock()
        for batch in batches:
            store.insert_many(table, batch)
        return Cost((middle - begin) / single, (clock() - middle) / rows_of_a_batch / _BATCHES)

    return write


def _print(name: str, variants: list[Variant], costs: list[list[list[Cost]]]) -> None:
    _print_row(f"\n| {name}", ["SQLite, single", "… batch", "PostgreSQL, single", "… batch"])
    print("|---|---|---|---|---|")
    with_all = [_both(sides[0], sides[-1]) for sides in costs]
    _print_row("| all indexes", [_microseconds(taken) for both in with_all for taken in both])
    for number, variant in enumerate(variants[1:], start=1):
        cells = [
            _added(variant, of_all, of_other)
            for both, sides in zip(with_all, costs, strict=True)
            for of_all, of_other in zip(both, _transposed(sides[number]), strict=True)
        ]
        _print_row(f"| {variant}", cells)


def _print_row(title: str, cells: list[str]) -> None:
    print(title, *cells, sep=" | ", end=" |\n", flush=True)


def _both(first: list[Cost], last: list[Cost]) -> list[tuple[float, ...]]:
    """Return the mean of the two sides that have the same indexes."""
    pairs = zip(_transposed(first), _transposed(last), strict=True)
    return [tuple(map(fmean, zip(*pair, strict=True))) for pair in pairs]


def _transposed(costs: list[Cost]) -> list[tuple[float, ...]]:
    return list(zip(*costs, strict=True))


def _microseconds(taken: Sequence[float]) -> str:
    return f"{median(taken) / 1000:.1f} µs"


def _added(variant: Variant, of_all: Sequence[float], of_other: Sequence[float]) -> str:
    """Return what the index adds to a write without it, or another one to a write with it."""
    more, less = (of_other, of_all) if variant.columns else (of_all, of_other)
    return f"{median(a / b - 1 for a, b in zip(more, less, strict=True)):+.0%}"


if __name__ == "__main__":
    main()
