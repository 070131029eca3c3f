"""An archive is read in spite of forks and deleted files, or one error says what is wrong."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    ClosedError,
    ConfigurationError,
    CorruptDatabaseError,
    InvalidValueError,
    NotFoundError,
    Persistence,
    StorageFullError,
    aio,
    archive_runs,
    check_archive,
    connect,
    erase_runs,
    open_archive,
    restore_runs,
)
from curio_persistence.archive.cold import files as cold_files
from curio_persistence.archive.scratch import ScratchFolder
from curio_persistence.errors import MissingDatabaseError
from curio_persistence.tables import EVENTS
from tests.conformance.test_archive import NOON, stopped
from tests.conformance.test_retention import record
from tests.support.children import Child, Fork

__all__ = ["stopped"]

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture
def filled(persistence: Persistence) -> Persistence:
    record(persistence, "old", days=100, events=3)
    record(persistence, "new", days=1, events=2)
    return persistence


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def fetching(filled: Persistence, tmp_path: Path, temporary: Path) -> Iterator[Persistence]:
    """A database with an archive whose files are fetched: DuckDB reads none of this name."""
    odd = tmp_path / "old [1]"
    archive_runs(filled, odd, older_than="90d", pace=1)
    with open_archive(filled, odd) as both:
        yield both


def numbers(both: Persistence) -> tuple[int, int, int]:
    return both.count_events(), len(both.query_events(limit=100)), both.count_agent_runs()


# --- forks ----------------------------------------------------------------------------------------


def test_a_child_reads_and_leaves_its_parent_s_files(
    fetching: Persistence, temporary: Path
) -> None:
    before = numbers(fetching)
    there = [*temporary.rglob("*.parquet")]
    assert (before, bool(there)) == ((5, 5, 2), True)
    if ":memory:" in fetching.location:
        with pytest.raises(ClosedError):
            Fork(lambda: numbers(fetching)).result()
    else:
        assert Fork(lambda: numbers(fetching)).result() == before
    assert {*temporary.rglob("*.parquet")} >= {*there}
    assert numbers(fetching) == before


def test_a_child_that_ends_as_a_program_does_closes_nothing_of_its_parent(
    tmp_path: Path,
) -> None:
    code = """if True:
        import tempfile
        from datetime import datetime
        tempfile.tempdir = sys.argv[1]
        persistence = SQLitePersistence(sys.argv[1] + "/x.db")
        run = AgentRun("a", "x", status="completed", finished_at=datetime(2020, 1, 2))
        persistence.create_agent_run(run)
        archive_runs(persistence, sys.argv[1] + "/old [1]", older_than="1d", check_clock=False)
        both = open_archive(persistence, sys.argv[1] + "/old [1]")
        runs = iter(both.iter_agent_runs())
        assert next(runs).run_id == "x" and both.count_agent_runs() == 1
        child = os.fork()
        if child == 0:
            assert both.count_agent_runs() == 1
            sys.exit(0)  # All objects are deleted, those of DuckDB as well.
        assert os.waitpid(child, 0)[1] == 0
        assert len(both.query_agent_runs()) == 1
        print("read", flush=True)
    """
    with Child(code, tmp_path) as child:
        assert child.read() == "read"
        assert child.finish() == ""
    assert not [*tmp_path.glob("*curio-archive-*")]


def test_a_stream_of_the_parent_ends_in_the_child(fetching: Persistence) -> None:
    duckdb = fetching._store._archived._duckdb  # type: ignore[attr-defined]
    rows = duckdb.rows("SELECT range FROM range(5000)", [])
    assert len(next(rows)) == 400

    def read_on() -> str:
        with pytest.raises(ClosedError, match="forked") as caught:
            next(rows)
        return str(caught.value)

    assert "in the child" in Fork(read_on).result()
    assert sum(map(len, rows)) == 4600


# --- temporary files ------------------------------------------------------------------------------


def test_a_killed_process_s_files_are_removed_by_the_next(
    filled: Persistence, place: Path, temporary: Path
) -> None:
    code = """if True:
        import tempfile
        tempfile.tempdir = sys.argv[1]
        from curio_persistence.archive.scratch import ScratchFolder
        folder = ScratchFolder()
        open(folder.name + "/words.parquet", "w").close()
        print(folder.name, flush=True)
        input()
    """
    archive_runs(filled, place, older_than="90d", pace=1)
    own = ScratchFolder()
    with Child(code, temporary) as child:
        name = Path(child.read())
        open_archive(filled, place)
        assert (name / "words.parquet").exists()
        os.kill(child.pid, signal.SIGTERM)
        child.exit_code()
    assert (name / "words.parquet").exists()
    open_archive(filled, place)
    assert [*temporary.iterdir()] == [Path(own.name)]
    own.remove()
    assert not [*temporary.iterdir()]


def test_a_deleted_file_is_fetched_again(fetching: Persistence, temporary: Path) -> None:
    before = numbers(fetching)
    for path in temporary.rglob("*.parquet"):
        path.unlink()
    assert numbers(fetching) == before
    for path in temporary.iterdir():
        shutil.rmtree(path)
    assert numbers(fetching) == before


def test_without_a_folder_for_temporary_files_one_error_says_so(
    fetching: Persistence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="Set TMPDIR"):
        numbers(fetching)


def test_files_that_are_here_need_no_temporary_ones(
    filled: Persistence, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert numbers(open_archive(filled, place)) == (5, 5, 2)


def test_a_full_disk_is_told_and_leaves_no_part(fetching: Persistence, temporary: Path) -> None:
    cold = fetching._store._archived  # type: ignore[attr-defined]
    events = [*cold._logs[EVENTS.name].files().values()]

    def with_little_room() -> list[str]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(StorageFullError, match="Free space there"):
            cold._files.held(f"{cold._folder}/events", events).__enter__()
        return [path.name for path in temporary.rglob("*.parquet")]

    assert Fork(with_little_room).result() == []


def test_known_files_start_no_threads(
    fetching: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = numbers(fetching)
    monkeypatch.setattr(cold_files, "ThreadPoolExecutor", None)
    assert numbers(fetching) == before


# --- what is missing ------------------------------------------------------------------------------


def log_of(place: Path, table: str) -> Path:
    [folder] = place.iterdir()
    return folder / table / "_delta_log"


@pytest.mark.parametrize("table", ["events", "usage", "scores", "approvals"])
@pytest.mark.parametrize("gone", ["folder", "first version"])
def test_a_missing_log_is_not_taken_for_an_empty_one(
    filled: Persistence, place: Path, table: str, gone: str
) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    path = log_of(place, table)
    if gone == "folder":
        shutil.rmtree(path.parent)
    else:
        (path / f"{0:020}.json").unlink()
    for read in (
        lambda: open_archive(filled, place),
        lambda: restore_runs(filled, place, ["old"]),
        lambda: erase_runs(filled, place, ["old"]),
        lambda: archive_runs(filled, place, older_than="0s", pace=1),
    ):
        with pytest.raises(CorruptDatabaseError, match=rf"{table}/_delta_log is missing"):
            read()
    assert filled.get_agent_run("new") is not None
    found = check_archive(filled, place)
    assert (found.level, f"{table}/_delta_log is missing" in found.message) == ("error", True)


def test_an_emptied_version_is_damaged(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    (log_of(place, "events") / f"{0:020}.json").write_bytes(b"")
    with pytest.raises(CorruptDatabaseError, match="it is empty"):
        open_archive(filled, place).count_events()


def test_a_log_without_files_is_no_damage(persistence: Persistence, place: Path) -> None:
    record(persistence, "old", days=100, events=0)
    archive_runs(persistence, place, older_than="90d", pace=1)
    assert check_archive(persistence, place).level == "ok"
    assert numbers(open_archive(persistence, place)) == (0, 0, 1)


def test_without_the_log_of_runs_its_folder_is_named(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    shutil.rmtree(log_of(place, "runs"))
    [folder] = place.iterdir()
    with pytest.raises(NotFoundError, match=f"{folder.name} has no log of runs") as caught:
        open_archive(filled, place)
    assert "has the databases" not in str(caught.value)
    assert check_archive(filled, place).level == "error"


def test_an_archive_that_vanishes_while_it_is_open_is_not_found(
    filled: Persistence, place: Path
) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    both = open_archive(filled, place)
    assert both.count_events() == 5
    shutil.rmtree(place)
    with pytest.raises(NotFoundError, match=r"archive has no file \w+/events"):
        both.count_events()


def test_a_file_that_vanishes_while_it_is_read_is_not_found(
    filled: Persistence, place: Path
) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    duckdb = open_archive(filled, place)._store._archived._duckdb  # type: ignore[attr-defined]
    with pytest.raises(NotFoundError, match="Ask again"):
        [*duckdb.rows("SELECT * FROM read_parquet(?)", [[str(place / "gone.parquet")]])]


def test_a_name_that_cannot_be_stored_is_refused(filled: Persistence, tmp_path: Path) -> None:
    for name in ("\udcff", "a\0b"):
        with pytest.raises(InvalidValueError, match="destination"):
            archive_runs(filled, tmp_path / name, older_than="90d", pace=1)


@pytest.mark.before_io
def test_connect_with_an_archive_indexes_new_records(tmp_path: Path, place: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    with connect(url) as hot:
        record(hot, "old", days=9_000, objective="zebra")
        record(hot, "new", days=1, objective="zebra")
        archive_runs(hot, place, older_than="8000d", pace=1, check_clock=False)
    with connect(url, archive=place) as both:
        page = both.search_text("zebra")
        assert ({hit.run_id for hit in page}, page.pending) == ({"old", "new"}, 0)


def test_connect_with_an_archive_makes_no_database(
    filled: Persistence, place: Path, tmp_path: Path
) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    url = f"sqlite:///{tmp_path}/typo.db"
    with pytest.raises(MissingDatabaseError, match=r"No database exists at .*typo\.db"):
        connect(url, archive=place)

    async def awaited() -> None:
        await aio.connect(url, archive=place)

    with pytest.raises(MissingDatabaseError):
        asyncio.run(awaited())
    assert not (tmp_path / "typo.db").exists()


# --- times ----------------------------------------------------------------------------------------


def test_periods_before_1970_are_those_of_the_database(filled: Persistence, place: Path) -> None:
    for moment in (
        datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC),
        datetime(1969, 12, 31, 22, 59, 59, 999999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        NOON - timedelta(days=100, microseconds=1),
    ):
        filled.log_llm_usage(AgentLLMUsage("a", "old", model="m", created_at=moment))
    for period in ("hour", "day"):
        before = [(t.period, t.calls) for t in filled.usage.totals(group_by=(period,))]
        archive_runs(filled, place, older_than="90d", pace=1, keep=True)
        archive_runs(filled, place, older_than="90d", pace=1)
        after = open_archive(filled, place).usage.totals(group_by=(period,))
        assert [(t.period, t.calls) for t in after] == before


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "Asia/Kolkata", "UTC"])
def test_the_first_and_the_last_years_have_periods(persistence: Persistence, zone: str) -> None:
    for moment in (datetime.min, datetime(2026, 1, 1), datetime.max):
        persistence.log_llm_usage(
            AgentLLMUsage("a", None, model="m", created_at=moment.replace(tzinfo=UTC))
        )
    for period, length in (("hour", 22), ("day", 10), ("week", 8), ("month", 7)):
        found = persistence.usage.totals(group_by=(period,), timezone=zone)
        assert [t.calls for t in found] == [1, 1, 1]
        assert {len(str(t.period)) for t in found} == {length}
        assert {str(t.period)[:4] for t in found} <= {"0001", "2025", "2026", "9999"}


# --- runs that are only in the archive ------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_changes_of_an_archived_run_say_where_it_is(
    filled: Persistence, place: Path, form: str
) -> None:
    archive_runs(filled, place, older_than="90d", pace=1, format=form)
    [folder] = place.iterdir()
    for change in (
        lambda run_id: filled.scores.set(run_id, "helpful", 1),
        lambda run_id: filled.runs.patch(run_id, metrics={"a": 1}),
        lambda run_id: filled.runs.history(run_id),
    ):
        with pytest.raises(NotFoundError, match=f"archived in {folder}") as caught:
            change("old")
        assert ("--archive" in str(caught.value)) is (form == "parquet")
        assert "restore_runs" in str(caught.value)
        with pytest.raises(NotFoundError) as caught:
            change("nothing")
        assert "it was archived" not in str(caught.value)
