"""Measures questions to an archive of ten million events: `python benchmarks/archive.py`.

The archive takes a gigabyte and some minutes. `--quick` shows in some seconds that it works. A full
run writes ARCHIVE.md; others write only with `--output`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import duckdb
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks`, from any working directory.

from benchmarks.support import report  # noqa: E402
from benchmarks.support.report import Goal, Line  # noqa: E402
from benchmarks.support.timing import Timing  # noqa: E402
from benchmarks.support.workspace import disk  # noqa: E402
from curio_persistence import Persistence, SQLitePersistence, open_archive  # noqa: E402
from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog  # noqa: E402
from curio_persistence.archive.erasing import sweep  # noqa: E402
from curio_persistence.archive.files import folder_of, put_file  # noqa: E402
from curio_persistence.archive.forms import PARQUET  # noqa: E402
from curio_persistence.archive.merging import tidy  # noqa: E402
from curio_persistence.capabilities.transfers.kinds import KINDS  # noqa: E402
from curio_persistence.places import Place  # noqa: E402
from curio_persistence.results.arrow import arrow_schema  # noqa: E402

PAGE = Path(__file__).with_name("ARCHIVE.md")
_DAYS = 100
_EVENTS, _OF_A_RUN = 20_000, 50
"""Events in a file, and in a run."""
_END = datetime(2026, 11, 1, tzinfo=UTC)
_WORDS = [
    "tool",
    "plan",
    "search",
    "fetch",
    "parse",
    "model",
    "token",
    "agent",
    "memory",
    "result",
    "query",
    "index",
]
_RARE = 5_000
_TEXT = """\
# Questions to an archive

Written by `make bench-archive`. {facts}.

{events:,} events of {days} days, {of_a_run} of each run, in {files:,} files of {megabytes:,} MB.
Run ids are random: a run may be in any file. *Raw* is one statement of DuckDB over the same files.
Numbers are the 95th percentile of {queries} queries, but for those that take seconds.

{table}

From an object store nothing is cached when a question begins: the last lines include the download
from a server of moto on the same machine, the log, and the look for runs that are there twice.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="curio-bench-", dir=options.directory) as folder:
        archive = _Archive(Path(folder), options.files)
        print(f"made in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        lines = [*_lines(archive, options.queries), *_from_a_server(archive, options.queries)]
        known = report.facts(Path(folder), None)
        text = _TEXT.format(
            facts=" · ".join([*known, f"DuckDB {duckdb.__version__}"]),
            events=archive.events,
            days=_DAYS,
            of_a_run=_OF_A_RUN,
            files=len(archive.paths("*")),
            megabytes=sum(path.stat().st_size for path in archive.paths("*")) // 10**6,
            queries=options.queries,
            table=report.table(lines),
        )
    print(report.table(lines))
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    if output := options.output or (PAGE if options.is_full else None):
        output.write_text(text, encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="an archive of a hundred thousand events")
    add("--output", type=Path, metavar="FILE", help="the page to write")
    add("--directory", type=Path, default=disk(), help="for the archive (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.is_full = not options.quick
    options.files = 5 * _DAYS if options.is_full else 5
    options.queries = 20 if options.is_full else 2
    return options


class _Archive:
    """An archive whose events were never in the database, which is empty."""

    def __init__(self, folder: Path, files: int) -> None:
        self.root, self.database = folder / "archive", folder / "empty.db"
        self.events = files * _EVENTS
        self._random = random.Random(1)
        with SQLitePersistence(self.database) as empty:
            self.folder = folder_of(empty._store)
        added: dict[str, list[ArchivedFile]] = {name: [] for name in KINDS}
        for number in range(files):
            self._add(number, files, added)
        place = Place(self.root)
        for name, log in self._logs(place).items():
            log.commit(added[name])
        self._tidy(place)

    def _tidy(self, place: Place) -> None:
        """Merge the files of each day, as `archive_runs` does at its end; delete the small ones."""
        with SQLitePersistence(self.database) as empty:
            before = -1
            while before != (before := len(self._logs(place)["events"].files())):
                tidy(empty, place, PARQUET)
        for name, log in self._logs(place).items():
            sweep(place, f"{self.folder}/{name}", log, PARQUET, replaced=timedelta(0))

    def _logs(self, place: Place) -> dict[str, DeltaLog]:
        return {
            name: DeltaLog(place, f"{self.folder}/{name}", table) for name, table in KINDS.items()
        }

    def paths(self, name: str) -> list[Path]:
        return sorted(self.root.glob(f"{self.folder}/{name}/dt=*/*.parquet"))

    def _add(self, number: int, files: int, added: dict[str, list[ArchivedFile]]) -> None:
        """Store the events of some runs, which last from one file's first moment to the next's."""
        span = timedelta(days=_DAYS) / files
        begin = _END - span * (files - number)
        count = _EVENTS // _OF_A_RUN
        times = [begin + span * event / _EVENTS for event in range(_EVENTS)]
        runs = [f"run-{self._random.getrandbits(64):016x}" for _ in range(count)]
        agents = [f"agent-{run % 20}" for run in range(count)]
        batch = f"{self._random.getrandbits(64):016x}"
        ids = range(number * _EVENTS + 1, (number + 1) * _EVENTS + 1)
        events = {
            "agent_id": [agents[event // _OF_A_RUN] for event in range(_EVENTS)],
            "run_id": [runs[event // _OF_A_RUN] for event in range(_EVENTS)],
            "timestamp": times,
            "created_at": times,
            "event_type": [("tool_call", "log", "metric", "step")[n % 4] for n in range(_EVENTS)],
            "data": [self._payload(event) for event in range(_EVENTS)],
            "id": list(ids),
            "event_id": [f"{self._random.getrandbits(128):032x}" for _ in range(_EVENTS)],
            "level": [("info", "error")[self._random.random() < 0.005] for _ in range(_EVENTS)],
        }
        ended = times[_OF_A_RUN - 1 :: _OF_A_RUN]
        of_runs = {
            "agent_id": agents,
            "run_id": runs,
            "objective": ["Find it"] * count,
            "status": ["completed"] * count,
            "started_at": times[::_OF_A_RUN],
            "created_at": times[::_OF_A_RUN],
            "finished_at": ended,
            "updated_at": ended,
            "id": list(range(number * count + 1, (number + 1) * count + 1)),
        }
        day = f"{begin:%Y-%m-%d}"
        added["events"].append(self._stored("events", events, day, batch))
        added["runs"].append(self._stored("runs", of_runs, day, batch))

    def _payload(self, number: int) -> str:
        words = " ".join(self._random.choices(_WORDS, k=28))
        rare = f"rare{self._random.randrange(_RARE)}"
        unique = f"{self._random.getrandbits(128):032x}"
        return json.dumps({"n": number, "text": words, "rare": rare, "unique": unique})

    def _stored(self, name: str, rows: dict[str, list[Any]], day: str, batch: str) -> ArchivedFile:
        table, count = KINDS[name], len(rows["id"])
        schema = arrow_schema(table)
        arrays = [pa.array(rows.get(field.name, [None] * count), field.type) for field in schema]
        group = pa.Table.from_arrays(arrays, schema=schema)
        folder = f"{self.folder}/{name}"
        stored = put_file(Place(self.root), folder, table, PARQUET, [group], day, batch)
        assert stored is not None
        return stored


def _lines(archive: _Archive, queries: int) -> Iterator[Line]:
    raw = duckdb.connect(":memory:")
    events, runs = ([str(path) for path in archive.paths(name)] for name in ("events", "runs"))
    chosen = random.Random(2)
    # A fifth of the archive that is read back from its end: twenty days.
    until = _END - timedelta(days=_DAYS / 5)

    def statement(sql: str, files: list[str], *values: object) -> int:
        found = f"FROM read_parquet(?, hive_partitioning = false) WHERE {sql}"
        return len(raw.execute(f"SELECT * {found}", [files, *values]).fetchall())

    with open_archive(SQLitePersistence(archive.database), archive.root) as ours:
        named = [run.run_id for run in ours.query_agent_runs(limit=2_000, until=until)]
        newest = "ORDER BY timestamp DESC, id DESC LIMIT 100"
        agent = "agent_id = ? AND event_type = 'log'"
        yield _line(
            "newest 100 events of an agent and type",
            Goal(1e9, 300e6, "alone"),
            lambda: statement(f"{agent} {newest}", events, f"agent-{chosen.randrange(20)}"),
            lambda: ours.query_events(
                agent_id=f"agent-{chosen.randrange(20)}", event_type="log", limit=100
            ),
            queries,
        )
        yield _line(
            "an agent's newest 100 errors",
            Goal(1e9, 300e6, "alone"),
            lambda: statement(f"agent_id = ? AND level = 'error' {newest}", events, "agent-7"),
            lambda: ours.query_events(
                agent_id=f"agent-{chosen.randrange(20)}", level="error", limit=100
            ),
            queries,
        )
        yield _line(
            "a run by its id",
            Goal(1e9, 100e6, "alone"),
            lambda: statement("run_id = ?", runs, chosen.choice(named)),
            lambda: ours.get_agent_run(chosen.choice(named)),
            queries,
        )
        yield _line(
            "a run's events",
            Goal(1e9, 100e6, "alone"),
            lambda: statement("run_id = ? ORDER BY timestamp, id", events, chosen.choice(named)),
            lambda: ours.get_agent_run_events(chosen.choice(named)),
            queries,
        )
        words = "contains(lower(data), ?) AND contains(lower(data), ?)"
        yield _line(
            "newest 50 with two frequent words",
            Goal(1e9, 200e6, "alone"),
            lambda: statement(f"{words} {newest}", events, "memory", "agent"),
            lambda: ours.search_text("memory agent"),
            queries,
        )
        yield _line(
            "newest 50 with a word in one of 5,000 events",
            Goal(None, None, "alone"),
            lambda: statement(f"contains(lower(data), ?) {newest}", events, "rare17"),
            lambda: ours.search_text(f"rare{chosen.randrange(_RARE)}"),
            3,
        )
        yield _line(
            "a word that is nowhere",
            Goal(15e9, 1e9, "alone"),
            lambda: statement("contains(lower(data), ?)", events, "unicorn"),
            lambda: ours.search_text("unicorn", max_wait=60),
            3,
        )
        yield _line(
            "how many events each agent has",
            Goal(None, None, "alone"),
            lambda: raw.execute(
                "SELECT agent_id, count(*) FROM read_parquet(?) GROUP BY 1", [events]
            ).fetchall(),
            lambda: ours.count_events(agent_id="agent-7"),
            3,
        )


def _line(
    name: str,
    goal: Goal,
    theirs: Callable[[], object],
    mine: Callable[[], object],
    queries: int,
) -> Line:
    print(f"{name} …", file=sys.stderr, flush=True)
    mine()  # Opens the files for the first time, and compares their hashes.
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(queries):
        for side, ask in enumerate((theirs, mine)):
            if side or number < 5:
                taken[side].append(_timed(ask))
    p95 = [sorted(times)[len(times) * 95 // 100] for times in taken]
    return Line(name, goal, Timing([p95[0]], [p95[1]]))


def _timed(ask: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    ask()
    return time.perf_counter_ns() - begin


def _from_a_server(archive: _Archive, queries: int) -> Iterator[Line]:
    with _server() as endpoint:
        os.environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
        urlopen(Request(f"{endpoint}/cold", method="PUT")).close()
        place = Place("s3://cold")
        for path in sorted(archive.root.rglob("*.*")):
            if path.is_file():
                place.put_new(str(path.relative_to(archive.root)), path.read_bytes())
        until = _END - timedelta(days=_DAYS / 2)

        def page(persistence: Persistence) -> int:
            found = persistence.query_events(
                since=until - timedelta(days=7), until=until, agent_id="agent-3", limit=100
            )
            return len(found)

        taken: list[list[float]] = [[], []]
        for _ in range(min(queries, 5)):
            for side, root in enumerate((archive.root, "s3://cold")):
                with SQLitePersistence(archive.database) as hot:
                    begin = time.perf_counter_ns()
                    page(open_archive(hot, root))
                    taken[side].append(time.perf_counter_ns() - begin)
        yield Line(
            "a page within 7 days from S3, nothing opened; against the same from a directory",
            Goal(2e9, 500e6, "alone"),
            Timing(*taken),
        )


@contextmanager
def _server() -> Iterator[str]:
    """Start an S3 server as a process of its own."""
    command = [sys.executable, "-c", _MOTO]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


_MOTO = """
from threading import Event
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
Event().wait()
"""


if __name__ == "__main__":
    main()
