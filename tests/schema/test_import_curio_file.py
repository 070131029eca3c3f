"""The import of a SQLite file: the preserved copy, text of any bytes, values of any type."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from functools import partialmethod
from pathlib import Path

import pytest

from curio_persistence import (
    AccessDeniedError,
    BusyError,
    CorruptDatabaseError,
    NotFoundError,
    SQLitePersistence,
    StorageFullError,
    UnsupportedError,
    import_curio,
)
from curio_persistence.backends.sqlite.legacy import SQLiteOriginal
from curio_persistence.backends.sqlite.store import SQLiteStore
from tests.schema import original
from tests.schema.conftest import SQLiteFile
from tests.schema.original import EVENT, RUN, USAGE
from tests.support.disks import small_disk


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_copy_of_the_old_file_is_preserved_beside_it(sqlite_file: SQLiteFile) -> None:
    original.make(sqlite_file)
    before = sqlite_file.ask("SELECT * FROM agent_run_events")
    report = import_curio(sqlite_file.url)
    assert report.kept_in == f"{sqlite_file.path}.bak"
    assert names(sqlite_file.path.parent) == {"agents.db", "agents.db.bak"}
    with closing(sqlite3.connect(f"{sqlite_file.path}.bak")) as kept:
        assert kept.execute("SELECT * FROM agent_run_events").fetchall() == before
        assert kept.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not sqlite_file.ask("SELECT 1 FROM sqlite_master WHERE name LIKE '%before_import%'")


def test_an_existing_copy_is_never_overwritten(sqlite_file: SQLiteFile) -> None:
    original.make(sqlite_file)
    Path(f"{sqlite_file.path}.bak").write_text("mine")
    Path(f"{sqlite_file.path}.bak2").write_text("mine too")
    assert import_curio(sqlite_file.url).kept_in == f"{sqlite_file.path}.bak3"
    assert Path(f"{sqlite_file.path}.bak").read_text() == "mine"
    assert Path(f"{sqlite_file.path}.bak2").read_text() == "mine too"


def test_the_copy_is_as_private_as_the_file(sqlite_file: SQLiteFile) -> None:
    original.make(sqlite_file)
    sqlite_file.path.chmod(0o640)
    kept_in = import_curio(sqlite_file.url).kept_in
    assert stat.S_IMODE(Path(kept_in or "").stat().st_mode) == 0o640


def test_the_file_is_like_any_other_afterwards(sqlite_file: SQLiteFile) -> None:
    original.make(sqlite_file)
    import_curio(sqlite_file.url)
    with sqlite_file.open() as persistence:
        levels = {f.name: f.level for f in persistence.diagnose(deep=True) if f.name != "engine"}
    assert levels.pop("runs") == "ok"
    assert set(levels.values()) == {"ok"}
    assert sqlite_file.ask("PRAGMA journal_mode") == [("wal",)]
    assert sqlite_file.ask("PRAGMA foreign_key_check") == []


def test_references_to_the_old_table_refer_to_the_new_one(
    sqlite_file: SQLiteFile,
) -> None:
    original.make(sqlite_file)
    sqlite_file.run(
        "CREATE TABLE notes (run_id TEXT REFERENCES agent_runs (run_id) ON DELETE CASCADE, note);"
        "INSERT INTO notes VALUES ('run-1', 'mine');"
        "CREATE VIEW planners AS SELECT run_id FROM agent_runs WHERE agent_id = 'planner'"
    )
    import_curio(sqlite_file.url)
    assert sqlite_file.ask("SELECT * FROM notes") == [("run-1", "mine")]
    [(sql,)] = sqlite_file.ask("SELECT sql FROM sqlite_master WHERE name = 'notes'")
    assert "REFERENCES agent_runs (run_id)" in sql
    assert sqlite_file.ask("SELECT * FROM planners") == [("run-1",)]


def test_any_bytes_in_a_text_are_preserved(sqlite_file: SQLiteFile) -> None:
    original.make(sqlite_file, usage=[])
    sqlite_file.run(
        "UPDATE agent_run_events SET data = CAST(x'41ff00e282ac' AS TEXT);"
        "UPDATE agent_runs SET objective = x'41ff', agent_name = CAST(x'42ff' AS TEXT);"
        "INSERT INTO agent_run_events (agent_id, run_id, timestamp, data, event_type) "
        "VALUES ('a', 'run-1', '2024-05-01', 'caf\N{LATIN SMALL LETTER E WITH ACUTE}', 7)"
    )
    for dry_run in (True, False):
        assert import_curio(sqlite_file.url, dry_run=dry_run).unreadable == 0
    with sqlite_file.open() as persistence:
        [run] = persistence.get_agent_runs()
        events = {event.id: event for event in persistence.get_agent_run_events("run-1")}
    assert events[11].data == "A\udcff\0€"
    assert (events[12].data, events[12].event_type) == ("café", "7")
    assert run.objective == "A\udcff"
    assert run.agent_name.startswith("B")


def test_values_of_odd_types_are_converted_or_reported(
    sqlite_file: SQLiteFile,
) -> None:
    original.make(
        sqlite_file,
        runs=[RUN | {"total_iterations": "many", "finished_at": "yesterday"}],
        events=[
            EVENT | {"timestamp": 1714557600.5},
            EVENT | {"id": 12, "timestamp": "2024-05-01T12:00:00+02:00"},
            EVENT | {"id": 13, "timestamp": "2024-05-01T12:00:00Z"},
        ],
        usage=[
            USAGE | {"latency_ms": 12.7, "input_tokens": "12", "output_tokens": "1e3"},
            USAGE | {"id": 22, "latency_ms": float("inf"), "prompt": 12},
        ],
        time="TIMESTAMP",
    )
    report = import_curio(sqlite_file.url, timezone="UTC")
    assert report.unreadable == 3
    assert {tuple(example) for example in report.examples} == {
        ("agent_runs", 3, "total_iterations", "many"),
        ("agent_runs", 3, "finished_at", "yesterday"),
        ("agent_llm_usage", 22, "latency_ms", "inf"),
    }
    with sqlite_file.open() as persistence:
        [run] = persistence.get_agent_runs()
        times = [event.timestamp for event in persistence.get_agent_run_events("run-1")]
        usage = {call.id: call for call in persistence.get_llm_usage()}
    assert (run.total_iterations, run.finished_at) == (0, None)
    assert [str(time) for time in times] == [
        "2024-05-01 10:00:00+00:00",
        "2024-05-01 10:00:00.500000+00:00",
        "2024-05-01 12:00:00+00:00",
    ]
    assert (usage[21].latency_ms, usage[21].input_tokens, usage[21].output_tokens) == (13, 12, 1000)
    assert (usage[22].latency_ms, usage[22].prompt) == (None, "12")


def test_an_open_write_transaction_is_waited_for(sqlite_file: SQLiteFile) -> None:
    original.make(sqlite_file)
    with closing(sqlite_file.connect()) as writer:
        writer.execute("BEGIN IMMEDIATE")
        original_insert = "INSERT INTO agent_run_events (agent_id, run_id) VALUES ('a', 'run-1')"
        writer.execute(original_insert)
        importing = threading.Thread(target=import_curio, args=(sqlite_file.url,))
        importing.start()
        writer.execute("COMMIT")
        importing.join()
    with sqlite_file.open() as persistence:
        assert len(persistence.get_agent_run_events("run-1")) == 2


def test_a_write_transaction_that_does_not_end_is_an_error(
    sqlite_file: SQLiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    original.make(sqlite_file)
    impatient = partialmethod(SQLiteStore.__init__, lock_timeout=0.1)
    monkeypatch.setattr(SQLiteOriginal, "__init__", impatient)
    with closing(sqlite_file.connect()) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="locked by another process"):
            import_curio(sqlite_file.url)
    assert names(sqlite_file.path.parent) == {"agents.db"}
    assert import_curio(sqlite_file.url).events == 1


def test_a_failed_copy_is_an_error(sqlite_file: SQLiteFile) -> None:
    original.make(sqlite_file)
    in_the_way = Path(f"{sqlite_file.path}.bak.unfinished")
    in_the_way.mkdir()
    with pytest.raises(AccessDeniedError, match="which is to keep the old one, cannot be made"):
        import_curio(sqlite_file.url)
    in_the_way.rmdir()
    assert import_curio(sqlite_file.url).events == 1


def test_a_full_disk_leaves_the_old_tables_and_no_copy() -> None:
    with small_disk(megabytes=10) as disk:
        database = SQLiteFile(disk.folder / "agents.db")
        long = "x" * 10_000
        original.make(database, events=[EVENT | {"id": n, "data": long} for n in range(1, 200)])
        before = database.ask("SELECT * FROM agent_run_events")
        for room in range(1_000_000, 4_500_000, 250_000):  # Until the commit.
            disk.fill()
            disk.make_room(room)
            with pytest.raises(StorageFullError):
                import_curio(database.url)
            assert database.ask("SELECT * FROM agent_run_events") == before
            assert names(disk.folder) == {"agents.db", "filler"}
            disk.make_room()
        assert import_curio(database.url).events == 199


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        import_curio(f"sqlite:///{tmp_path / 'nothing.db'}")
    assert names(tmp_path) == set()


def test_a_file_that_is_not_a_database_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(CorruptDatabaseError):
        import_curio(f"sqlite:///{path}")
    assert path.read_text() == "Dear Sir or Madam, " * 100
    assert names(tmp_path) == {"letter.db"}


@pytest.mark.parametrize("url", ["memory://", "sqlite://"])
def test_a_database_in_memory_has_nothing_to_import_curio(url: str) -> None:
    with pytest.raises(UnsupportedError):
        import_curio(url)


def test_a_link_to_the_file_is_followed(sqlite_file: SQLiteFile, tmp_path: Path) -> None:
    original.make(sqlite_file)
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_file.path)
    import_curio(f"sqlite:///{link}")
    with SQLitePersistence(sqlite_file.path) as persistence:
        assert len(persistence.get_agent_runs()) == 1
