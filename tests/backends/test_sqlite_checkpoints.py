"""The write-ahead log of a SQLite file is checkpointed seldom, and never stays long."""

from __future__ import annotations

import re
import sqlite3
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from curio_persistence import AgentRun, AgentRunEvent, SQLitePersistence
from curio_persistence.backends.sqlite import wal
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.store.query import STREAM_ROWS
from tests.support.children import Child

SHORT = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@pytest.fixture
def a_short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a much lower limit for the log, so that few rows fill it."""
    monkeypatch.setattr(wal, "PAGES", SHORT // 4096)
    monkeypatch.setattr(wal, "LIMIT", SHORT * 9 // 8)
    monkeypatch.setattr(wal, "_CHANGES", 4)


@pytest.fixture
def persistence(path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def log_some(persistence: SQLitePersistence, events: int, *, octets: int = 300) -> None:
    for _ in range(events):
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", data="x" * octets))


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def size_of_log(path: Path) -> int:
    return log_of(path).stat().st_size


def beginnings(path: Path) -> int:
    """Return how often the log was restarted: the third number of its header."""
    with log_of(path).open("rb") as log:
        return int(struct.unpack(">4I", log.read(16))[3])


READER = """
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM agent_run_events").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_a_reader(path: Path) -> Iterator[None]:
    """Let another process read, so that the log cannot be restarted."""
    with Child(READER, path) as child:
        assert child.read() == "reading"
        yield
        child.finish()


def test_a_checkpoint_comes_once_in_thousands_of_pages(
    persistence: SQLitePersistence, path: Path
) -> None:
    """The write that triggers it waits for the disk. With SQLite's default there would be eight."""
    before, pages = beginnings(path), 0
    while pages < 16_500:
        log_some(persistence, 1, octets=100_000)
        pages += 25  # And a few index pages.
    assert beginnings(path) - before == 2
    assert size_of_log(path) <= wal.LIMIT


@pytest.mark.parametrize("octets", [300, 20_000])
@pytest.mark.usefixtures("a_short_log")
def test_a_log_made_long_by_a_reader_is_short_after_the_reader_ends(
    persistence: SQLitePersistence, path: Path, octets: int
) -> None:
    with held_by_a_reader(path):
        while size_of_log(path) < 3 * wal.LIMIT:
            log_some(persistence, 1, octets=octets)
    log_some(persistence, 2)
    assert size_of_log(path) <= wal.LIMIT


@pytest.mark.usefixtures("a_short_log")
def test_a_log_made_long_by_one_commit_is_short_after_the_next(
    persistence: SQLitePersistence, path: Path
) -> None:
    with persistence.transaction():
        log_some(persistence, 300, octets=20_000)
    assert size_of_log(path) > 3 * wal.LIMIT
    log_some(persistence, 2)
    assert size_of_log(path) <= wal.LIMIT


@contextmanager
def read_in_turns(path: Path) -> Iterator[None]:
    """Run two readers, neither of which ends before the other has begun."""
    going_on, begun = threading.Event(), [threading.Event(), threading.Event()]
    going_on.set()

    def read_again_and_again(me: int) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            while going_on.is_set():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM agent_run_events").fetchall()
                begun[me].set()
                begun[not me].wait(10)
                begun[not me].clear()
                connection.execute("COMMIT")
            begun[me].set()

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_again_and_again, me) for me in (0, 1)]
        begun[0].wait(10)
        try:
            yield
        finally:
            going_on.clear()
        for reader in readers:
            reader.result()


@pytest.mark.usefixtures("a_short_log")
def test_a_log_is_short_although_there_always_is_a_reader(
    persistence: SQLitePersistence, path: Path
) -> None:
    with read_in_turns(path):
        log_some(persistence, 500, octets=20_000)
    assert size_of_log(path) < 5 * wal.LIMIT, "ten times as much was written"


@pytest.mark.usefixtures("a_short_log")
def test_a_permanent_reader_is_seldom_waited_for(
    persistence: SQLitePersistence, path: Path
) -> None:
    store, statements = persistence._store, []
    assert isinstance(store, SQLiteStore)
    assert store._writer is not None
    with held_by_a_reader(path):
        store._writer.set_trace_callback(statements.append)
        log_some(persistence, 600, octets=10_000)
        store._writer.set_trace_callback(None)
        size = size_of_log(path)
    waits = [statement for statement in statements if "wal_checkpoint" in statement]
    assert 1 <= len(waits) <= size // wal.LIMIT
    with persistence.transaction():
        assert store._read("PRAGMA busy_timeout", ()) == [(30_000,)], "others are not waited for"


@pytest.mark.usefixtures("a_short_log")
def test_the_health_check_reports_a_log_that_is_much_too_long(
    persistence: SQLitePersistence, path: Path
) -> None:
    def journal() -> tuple[str, str]:
        [check] = [each for each in persistence.diagnose() if each.name == "journal"]
        return check.level, check.message.partition(",")[0]

    with held_by_a_reader(path):
        while size_of_log(path) <= 4 * wal.LIMIT:
            assert journal() == ("ok", "write-ahead log")
            log_some(persistence, 100, octets=10_000)
        level, message = journal()
    assert level == "warning"
    assert message.endswith("MB because of a reader in another process")
    log_some(persistence, 2)
    assert journal() == ("ok", "write-ahead log")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if "write-ahead log" in each.message]


@pytest.mark.usefixtures("a_short_log")
def test_one_warning_and_the_health_check_name_the_reader_that_grows_the_log(
    persistence: SQLitePersistence, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log_some(persistence, 1)
    with ThreadPoolExecutor(1, "exporter") as pool:
        events = iter(persistence.iter_agent_run_events())
        pool.submit(next, events).result()
        log_some(persistence, 1_200, octets=10_000)
        [warning] = warnings(caplog)
        [check] = [each for each in persistence.diagnose() if each.name == "journal"]
    for text in (warning, check.message):
        assert re.search(
            r"has grown to \d+\.\d MB because of a snapshot held since 20\d\d-\d\d-\d\d \S+ UTC "
            "by a stream of agent_run_events in exporter_0",
            text,
        )
    assert str(path) in warning
    assert "snapshot=False" in warning
    del events
    log_some(persistence, 10)
    assert size_of_log(path) <= wal.LIMIT


@pytest.mark.usefixtures("a_short_log")
def test_a_stream_without_a_snapshot_allows_a_short_log(
    persistence: SQLitePersistence, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log_some(persistence, STREAM_ROWS + 1)
    events = iter(persistence.iter_agent_run_events(snapshot=False))
    next(events)
    log_some(persistence, 600, octets=10_000)
    assert size_of_log(path) <= 2 * wal.LIMIT
    assert len(list(events)) == STREAM_ROWS
    assert warnings(caplog) == []


@pytest.mark.usefixtures("a_short_log")
def test_each_failed_attempt_to_shorten_the_log_doubles_the_limit(
    persistence: SQLitePersistence, path: Path
) -> None:
    store = persistence._store
    assert isinstance(store, SQLiteStore)
    with held_by_a_reader(path):
        tolerated = [store._log._tolerated]
        while size_of_log(path) < 10 * wal.LIMIT:
            log_some(persistence, 1, octets=20_000)
            if store._log._tolerated != tolerated[-1]:
                tolerated.append(store._log._tolerated)
    assert 3 <= len(tolerated) <= 5
    assert all(later >= 2 * earlier for earlier, later in pairwise(tolerated))
    log_some(persistence, 10)
    assert store._log._tolerated == wal.LIMIT
