"""All runs of a file go into an archive: the time, the memory, and the size of the archive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from random import Random
from socket import socket
from time import monotonic, sleep
from typing import Any, NamedTuple

from benchmarks.cases.sides import Case, check
from benchmarks.support import fill, rows
from benchmarks.support.report import Goal, Line, megabytes, rows_per_second
from benchmarks.support.timing import Timing
from benchmarks.support.workspace import Workspace

_ROOT = Path(__file__).parents[2]
_DAYS = 100
_EVENTS = 50
"""The events of a run; one run in two has a session, one event in two an `event_id`."""
_RUN_COLUMNS = (*rows.RUN_COLUMNS, "finished_at", "session_id")
_EVENT_COLUMNS = (*rows.EVENT_COLUMNS[:7], "event_id", "session_id")
_CALL_COLUMNS = ("agent_id", "run_id", "provider", "model", "input_tokens", "status", "created_at")
_ARCHIVE = """
import json, sys, time
from benchmarks.support import memory
from curio_persistence import SQLitePersistence, archive_runs
from curio_persistence.archive.archiver import Archiver
store, until_committed = Archiver.store, []

def timed(*arguments):
    begin = time.perf_counter_ns()
    store(*arguments)
    until_committed.append(time.perf_counter_ns() - begin)

Archiver.store = timed
with SQLitePersistence(sys.argv[1]) as persistence:
    begin = time.perf_counter_ns()
    report = archive_runs(
        persistence, sys.argv[2], older_than="90d", pace=1, check_clock=False
    )
    whole = time.perf_counter_ns() - begin
print(json.dumps({
    "rows": report.runs + report.events + report.usage,
    "archiving": sum(until_committed),
    "whole": whole,
    "memory": memory.peak(),
}))
"""


class _Measured(NamedTuple):
    rows: int
    archiving: int
    """Nanoseconds until everything was committed to the archive."""
    whole: int
    """The same, and until it was deleted from the file."""
    memory: int
    file: int
    parquet: int


def sqlite_archive(work: Workspace) -> list[Line]:
    measured = [_archived(work) for _ in range(work.sizes.slow_repetitions)]
    count = measured[0].rows
    # Times of a row are compared with that of a row at the floor's speed.
    floors = [1e9 / 40_000 for _ in measured]
    return [
        Line(
            f"SQLite, {count:,} rows archived by the S3 protocol, read back and committed, against "
            "40,000 rows a second",
            Goal(1, 1.6, "times"),
            Timing(floors, [each.archiving / count for each in measured]),
            unit=rows_per_second,
        ),
        Line(
            f"SQLite, {count:,} rows archived, and deleted at pace=1",
            Goal(None, None, "times"),
            Timing(floors, [each.whole / count for each in measured]),
            unit=rows_per_second,
        ),
        Line(
            "SQLite, size of an archive, against the file",
            Goal(0.20, 0.12),
            Timing(
                [float(each.file) for each in measured],
                [float(each.parquet) for each in measured],
            ),
            unit=megabytes,
        ),
        Line(
            "SQLite, most memory of a process that archives",
            Goal(300e6, 200e6, "alone"),
            Timing([1.0 for _ in measured], [float(each.memory) for each in measured]),
            unit=megabytes,
        ),
    ]


CASES: dict[str, Case] = {"sqlite-archive": sqlite_archive}


def _archived(work: Workspace) -> _Measured:
    with tempfile.TemporaryDirectory(dir=work.directory) as folder, _object_store() as variables:
        path = Path(folder, "runs.db")
        fill.sqlite_file(path, _old_runs(max(work.sizes.history_runs * 1_000 // _EVENTS, 2)))
        size = path.stat().st_size
        place = "s3://agents/archive" if variables else str(Path(folder, "archive"))
        done = subprocess.run(
            [sys.executable, "-c", _ARCHIVE, str(path), place],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            cwd=_ROOT,
        )
        check(done.returncode, 0)
        return _Measured(**json.loads(done.stdout), file=size, parquet=_size(place, variables))


def _old_runs(runs: int) -> Iterator[fill.Content]:
    """Yield runs of a hundred days, the last of which was a hundred days ago."""
    first = datetime.now(UTC) - timedelta(days=2 * _DAYS)
    ends = [first + timedelta(days=_DAYS) * run / runs for run in range(runs)]
    yield "agent_runs", _RUN_COLUMNS, [[_run(run, end) for run, end in enumerate(ends)]]
    random = Random(1)
    yield "agent_run_events", _EVENT_COLUMNS, (_events(random, *each) for each in enumerate(ends))
    yield "agent_llm_usage", _CALL_COLUMNS, (_calls(*each) for each in enumerate(ends))


def _run(run: int, end: datetime) -> tuple[Any, ...]:
    agent, ended, name = rows.agent_of(run), _text(end), rows.run_id(run)
    session = rows.session_of(run)
    return (
        agent,
        name,
        agent.upper(),
        "find it",
        ended,
        3,
        "completed",
        ended,
        ended,
        ended,
        session,
    )


def _events(random: Random, run: int, end: datetime) -> list[tuple[Any, ...]]:
    agent, name, session = rows.agent_of(run), rows.run_id(run), rows.session_of(run)
    found = []
    for number in range(_EVENTS):
        time = _text(end - timedelta(seconds=_EVENTS - number))
        event_id = f"{random.getrandbits(128):032x}" if number % 2 else None
        kind = rows.TYPES[number % len(rows.TYPES)]
        found.append(
            (agent, name, agent.upper(), time, kind, _payload(random), time, event_id, session)
        )
    return found


def _payload(random: Random) -> str:
    return json.dumps(
        {
            "text": rows.sentence(random, 38),
            "tokens": random.randrange(10_000),
            "seconds": round(random.random() * 30, 4),
            "step": f"{random.getrandbits(64):016x}",
        }
    )


def _calls(run: int, end: datetime) -> list[tuple[Any, ...]]:
    provider, model = rows.MODELS[run % len(rows.MODELS)]
    call = (rows.agent_of(run), rows.run_id(run), provider, model, run, "success", _text(end))
    return [call] * 5


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


@contextmanager
def _object_store() -> Iterator[Mapping[str, str]]:
    """Start an S3 server; yield the variables by which it is found, none without moto."""
    if find_spec("moto") is None:
        yield {}
        return
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        until = monotonic() + 60
        while monotonic() < until:
            with suppress(OSError):
                bucket = urllib.request.Request(f"{url}/agents", method="PUT")
                urllib.request.urlopen(bucket).close()
                break
            sleep(0.1)
        try:
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
            }
        finally:
            server.terminate()


def _size(place: str, variables: Mapping[str, str]) -> int:
    """Return the bytes of the Parquet files of an archive."""
    if not variables:
        return sum(path.stat().st_size for path in Path(place).rglob("*.parquet"))
    return sum(_sizes_in_bucket(variables["AWS_ENDPOINT_URL"]))


def _sizes_in_bucket(url: str) -> Iterable[int]:
    from obstore.store import S3Store

    store = S3Store(
        "agents",
        endpoint=url,
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
    for some in store.list():
        yield from (each["size"] for each in some if each["path"].endswith(".parquet"))
