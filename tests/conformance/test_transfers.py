"""Exports, imports and copies preserve all records, and can be repeated."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pyarrow.ipc
import pyarrow.parquet
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConflictError,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    RunHash,
    SQLitePersistence,
    UnsupportedError,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.store.change_feed import START, read_changes
from curio_persistence.tables import EVENTS
from tests.conformance.test_third_party import DictPersistence
from tests.support import awkward
from tests.support.awkward import BEGIN, TEXTS, hashes
from tests.support.hands import Hands

pytestmark = pytest.mark.slow  # Not in the inner loop.

FORMATS = ("jsonl", "csv", "parquet", "arrow")
NUMBERS = {
    "agents": 1,
    "sessions": 1,
    "runs": 2,
    "events": 2 * len(TEXTS),
    "usage": len(TEXTS),
    "scores": 0,
    "approvals": 0,
    "snapshots": 0,
    "spans": 0,
    "sources": 0,
}


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The path to export to; its extension selects the format."""
    return tmp_path / f"export.{request.param}"


@pytest.fixture
def filled(persistence: Persistence) -> Persistence:
    awkward.write(persistence)
    return persistence


@pytest.fixture
def other() -> Iterator[Persistence]:
    with InMemoryPersistence() as persistence:
        yield persistence


# --- hashes ---------------------------------------------------------------------------------------


def test_a_runs_hash_is_the_same_on_every_backend(filled: Persistence, other: Persistence) -> None:
    awkward.write(other)
    assert filled.runs.hash("full") == other.runs.hash("full")
    assert other.runs.hash("full") == hashes(other)["full"]
    # A stored hash must stay valid for ever.
    assert filled.runs.hash("full") == RunHash(
        "full", 18, 6, 0, 0, 0, 0, "aef118166cb9e52c44aa093f48907106"
    )


def test_a_runs_hash_depends_on_all_its_records(filled: Persistence) -> None:
    before = hashes(filled)
    filled.log_agent_run_event(AgentRunEvent("agent", "full"))
    filled.log_llm_usage(AgentLLMUsage("agent", "empty"))
    after = hashes(filled)
    assert after["full"].events == before["full"].events + 1
    assert (before["empty"].usage, after["empty"].usage) == (0, 1)
    assert before["full"].hash != after["full"].hash
    assert before["empty"].hash != after["empty"].hash
    assert before[None] == after[None]
    assert filled.runs.hash("unknown") is None


# --- export and import ----------------------------------------------------------------------------


def test_an_export_and_import_preserves_all_records(
    filled: Persistence, path: Path, other: Persistence
) -> None:
    report = export_records(filled, path)
    assert report.to_dict() == {"path": str(path), "format": path.suffix[1:], **NUMBERS}
    imported = import_records(path, other)
    assert imported.ok, imported.problems
    assert [getattr(imported, name) for name in NUMBERS] == [*NUMBERS.values()]
    assert hashes(other) == hashes(filled)


def test_an_export_without_a_snapshot_has_the_same_records(
    filled: Persistence, path: Path, other: Persistence
) -> None:
    report = export_records(filled, path, snapshot=False)
    assert [getattr(report, name) for name in NUMBERS] == [*NUMBERS.values()]
    assert import_records(path, other).ok
    assert hashes(other) == hashes(filled)


def test_an_export_is_imported_into_any_backend(
    persistence: Persistence, path: Path, other: Persistence
) -> None:
    awkward.write(other)
    export_records(other, path)
    assert import_records(path, persistence).ok
    assert hashes(persistence) == hashes(other)


def test_an_import_that_is_repeated_changes_nothing(
    persistence: Persistence, path: Path, other: Persistence
) -> None:
    awkward.write(other)
    export_records(other, path)
    import_records(path, persistence)
    again = import_records(path, persistence)
    assert (again.runs, again.events, again.usage) == (0, 0, 0)
    assert again.skipped == {"stored before": sum(NUMBERS.values())}
    assert hashes(persistence) == hashes(other)


def test_an_import_adds_what_is_missing(
    persistence: Persistence, path: Path, other: Persistence
) -> None:
    awkward.write(other)
    export_records(other, path)
    first = next(iter(other.iter_agent_run_events()))
    first.id = None
    persistence.log_agent_run_event(first)
    report = import_records(path, persistence)
    assert report.events == NUMBERS["events"] - 1
    assert hashes(persistence) == hashes(other)


def test_a_run_that_was_updated_since_is_replaced_and_an_older_one_is_not(
    persistence: Persistence, path: Path, other: Persistence, tmp_path: Path
) -> None:
    awkward.write(other)
    export_records(other, path)
    old = tmp_path / f"old{path.suffix}"
    path.rename(old)
    run = other.get_agent_run("full")
    assert run is not None
    run.tags, run.status, run.metrics = None, "error", None
    other.create_agent_run(AgentRun("agent", "new"))
    changed = AgentRun("agent", "empty", status="error")
    other.update_agent_run("empty", changed)
    export_records(other, path)
    import_records(old, persistence)
    assert import_records(path, persistence).runs == 2
    assert import_records(old, persistence).runs == 0
    assert hashes(persistence) == hashes(other)


@pytest.mark.slow
def test_equal_records_are_stored_as_often_as_they_are_imported(
    other: Persistence, tmp_path: Path
) -> None:
    path = tmp_path / "twins.jsonl"
    event = AgentRunEvent("agent", "run", timestamp=BEGIN, created_at=BEGIN)
    other.log_agent_run_events(event for _ in range(2_500))
    export_records(other, path)
    lines = path.read_bytes().splitlines(keepends=True)
    with SQLitePersistence(":memory:") as persistence:
        path.write_bytes(b"".join(lines[:1_700]))
        import_records(path, persistence)
        assert persistence.count_events() == 1_697  # All but the header, the agent and the run.
        path.write_bytes(b"".join(lines))
        assert import_records(path, persistence).events == 2_500 - 1_697
        assert import_records(path, persistence).events == 0
        assert persistence.count_events() == 2_500


def test_imported_text_is_redacted_and_a_repetition_skips_it(
    filled: Persistence, path: Path
) -> None:
    export_records(filled, path)
    with InMemoryPersistence(redactor=lambda field, text: f"({len(text)})") as other:
        assert import_records(path, other).events == NUMBERS["events"]
        assert {event.message for event in other.iter_agent_run_events()} == {
            f"({len(text)})" if text else "" for text in TEXTS
        }
        assert import_records(path, other).events == 0


def test_a_dry_run_counts_and_stores_nothing(filled: Persistence, path: Path) -> None:
    export_records(filled, path)
    report = import_records(path, None)
    assert report.dry_run
    assert [getattr(report, name) for name in NUMBERS] == [*NUMBERS.values()]


# --- the exported records -------------------------------------------------------------------------


def test_an_export_shows_one_moment(filled: Persistence, tmp_path: Path) -> None:
    if ":memory:" in filled.location:
        pytest.skip("its one connection is in the export's transaction")

    def write_more(done: int, total: int | None) -> None:
        filled.log_agent_run_event(AgentRunEvent("agent", f"new-{done}"))

    report = export_records(filled, tmp_path / "export.jsonl", progress=write_more)
    assert (report.runs, report.events) == (NUMBERS["runs"], NUMBERS["events"])
    assert filled.count_events() > NUMBERS["events"]


def test_progress_is_reported_with_the_total(filled: Persistence, path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    export_records(filled, path, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (sum(NUMBERS.values()), sum(NUMBERS.values()))
    told.clear()
    with InMemoryPersistence() as other:
        import_records(path, other, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (sum(NUMBERS.values()), None)


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"agent_id": "nobody"}, (0, 0, 0)),
        ({"run_id": "empty"}, (1, 0, 0)),
        ({"tables": "events", "level": "error"}, (0, 10, 0)),
        ({"tables": ("runs", "usage"), "status": "completed"}, (1, 0, 0)),
        ({"session_id": "session"}, (1, 0, 6)),
        ({"until": BEGIN}, (0, 0, 0)),
    ],
)
def test_filters_are_those_of_queries(
    filled: Persistence, filters: dict[str, Any], numbers: tuple[int, int, int], tmp_path: Path
) -> None:
    report = export_records(filled, tmp_path / "export.jsonl", **filters)
    assert (report.runs, report.events, report.usage) == numbers


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"model": "model"}, "filters"),
        ({"tables": "runs", "error_message": ""}, "filters"),
        ({"tables": "event"}, "tables"),
        ({"tables": ()}, "tables"),
        ({"tables": 5}, "tables"),
        ({"tables": [["runs"]]}, "tables"),
        ({"format": ["csv"]}, "format"),
        ({"format": "xml"}, "format"),
        ({"since": "yesterday"}, "since"),
    ],
)
def test_invalid_arguments_are_refused(
    filled: Persistence, arguments: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        export_records(filled, tmp_path / "export.jsonl", **arguments)
    assert refusal.value.field == field
    assert not list(tmp_path.glob("export*"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "None is not a path"),
        (5, "5 is not a path"),
        ("a\0.jsonl", "is not a path"),
        ("\ud800.jsonl", "is not a path"),
        ("x" * 300 + ".jsonl", "cannot be written: File name too long"),
        ("nowhere/x.jsonl", "cannot be written: No such file"),
        (StringIO(), "open it as binary"),
    ],
)
def test_an_invalid_path_is_refused(path: Any, said: str) -> None:
    with InMemoryPersistence() as ours, pytest.raises(InvalidValueError, match=said) as refusal:
        export_records(ours, path, format="jsonl")
    assert refusal.value.field == "path"


def test_from_dict_reads_lines_of_json(filled: Persistence, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    export_records(filled, path)
    header, *records, end = map(json.loads, path.read_bytes().splitlines())
    assert header.items() >= {"kind": "export", "version": 1, "format": "jsonl"}.items()
    assert end == {"kind": "end", **NUMBERS}
    kinds = [record.pop("kind") for record in records]
    runs, calls = ["run"] * 2, ["usage"] * len(TEXTS)
    assert kinds == ["agent", "session", *runs, *["event"] * NUMBERS["events"], *calls]
    run = AgentRun.from_dict(next(record for record in records if record.get("run_id") == "full"))
    assert (run.tags, run.created_at) == (["a,b", 'c"d', "é"], BEGIN)


def test_one_table_is_one_file_that_other_programs_read(
    filled: Persistence, tmp_path: Path
) -> None:
    for format in FORMATS[1:]:
        export_records(filled, tmp_path / f"events.{format}", tables="events")
    with (tmp_path / "events.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    parquet = pyarrow.parquet.read_table(tmp_path / "events.parquet")
    arrow = pyarrow.ipc.open_file(tmp_path / "events.arrow").read_all()
    assert parquet.equals(arrow)
    assert len(rows) == len(parquet) == NUMBERS["events"]
    assert [row["level"] for row in rows] == parquet["level"].to_pylist()
    assert parquet["timestamp"].to_pylist()[0] == BEGIN


@pytest.mark.parametrize(
    "text",
    ["", "progress 10%\rprogress 100%", "\r", "\n", '"', '""', ',"",', '"",x', 'x,""', "\ufdd0"],
)
def test_csv_preserves_fields_that_look_like_other_types(
    persistence: Persistence, other: Persistence, tmp_path: Path, text: str
) -> None:
    persistence.append_event("run", "agent", "type", message=text, payload=text)
    persistence.append_event("run", "agent", "type", message=None, payload=f"\n{text}\n{text}")
    if text and text.isprintable():
        persistence.append_event(text, text, text)
    export_records(persistence, tmp_path / "events.csv", tables="events")
    assert import_records(tmp_path / "events.csv", other).ok
    assert hashes(other) == hashes(persistence)


def test_csv_writes_nothing_for_none_and_quotes_for_an_empty_text(
    persistence: Persistence, tmp_path: Path
) -> None:
    persistence.append_event("run", "agent", "type", message="")
    persistence.append_event("run", "agent", "type", message=None)
    export_records(persistence, tmp_path / "events.csv", tables="events")
    text = (tmp_path / "events.csv").read_bytes().decode()
    assert "\ufdd0" not in text
    header, empty, none, end = text.split("\r\n")
    at = header.split(",").index("message")
    assert (empty.split(",")[at], none.split(",")[at], end) == ('""', "", "")


@pytest.mark.parametrize("window", [{"since": "1d"}, {"until": "1d"}])
def test_an_export_of_a_window_includes_the_runs_of_its_events(
    persistence: Persistence, other: Persistence, path: Path, window: dict[str, str]
) -> None:
    now = datetime.now(UTC)
    early, late = now - timedelta(days=3), now - timedelta(minutes=1)
    created, happened = (early, late) if "since" in window else (late, early)
    persistence.create_agent_run(AgentRun("a", "run", status="completed", created_at=created))
    persistence.create_agent_run(AgentRun("a", "unrelated", created_at=created))
    persistence.create_agent_run(AgentRun("a", "within", created_at=happened))
    persistence.log_agent_run_events(
        AgentRunEvent("a", run_id, timestamp=happened) for run_id in ("run", "within")
    )
    told: list[tuple[int, int | None]] = []
    report = export_records(persistence, path, progress=lambda *x: told.append(x), **window)
    assert (report.runs, told[-1]) == (2, (5, 5))
    assert import_records(path, other).ok
    runs = {run.run_id: run.status for run in other.get_agent_runs()}
    assert runs == {"run": "completed", "within": "pending"}


def test_one_file_of_one_table_is_imported(
    filled: Persistence, path: Path, other: Persistence
) -> None:
    for table in NUMBERS:
        alone = path.with_name(f"{table}{path.suffix}")
        export_records(filled, alone, tables=table)
        assert import_records(alone, other).ok
    assert hashes(other) == hashes(filled)


def test_an_open_file_can_be_written_to(filled: Persistence, other: Persistence) -> None:
    for format in FORMATS:
        with closing(BytesIO()) as file:
            report = export_records(filled, file, format=format, tables="usage")
            assert report.path is None
            assert len(file.getvalue()) > 100
    with pytest.raises(InvalidValueError, match="a file for each table"):
        export_records(filled, BytesIO(), format="csv")


# --- the destination ------------------------------------------------------------------------------


def test_a_file_is_overwritten_only_on_request(filled: Persistence, path: Path) -> None:
    export_records(filled, path, agent_id="nobody")
    with pytest.raises(InvalidValueError, match=r"there already.*--force"):
        export_records(filled, path)
    export_records(filled, path, overwrite=True)
    with InMemoryPersistence() as other:
        assert import_records(path, other).events == NUMBERS["events"]


def test_a_folder_that_is_not_an_export_is_never_replaced(
    filled: Persistence, tmp_path: Path
) -> None:
    folder = tmp_path / "mine.csv"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidValueError, match="not an export"):
        export_records(filled, folder, overwrite=True)
    assert [each.name for each in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_path_that_is_not_a_file_is_never_replaced(tmp_path: Path, ending: str) -> None:
    """An example is /dev/null."""
    path = tmp_path / f"pipe.{ending}"
    os.mkfifo(path)
    with InMemoryPersistence() as ours, pytest.raises(InvalidValueError, match="is not an export"):
        export_records(ours, path, overwrite=True)
    assert path.is_fifo()


def test_a_link_to_a_folder_is_replaced(filled: Persistence, tmp_path: Path) -> None:
    """The link is replaced, not its target."""
    elsewhere, link = tmp_path / "elsewhere.csv", tmp_path / "link.csv"
    export_records(filled, elsewhere, agent_id="nobody")
    link.symlink_to(elsewhere)
    export_records(filled, link, overwrite=True)
    with InMemoryPersistence() as other:
        assert import_records(elsewhere, other).runs == 0
        assert import_records(link, other).runs == NUMBERS["runs"]
    assert sorted(each.name for each in tmp_path.glob("*.csv")) == ["elsewhere.csv", "link.csv"]
    assert not list(tmp_path.glob(".*"))


def test_an_export_that_fails_leaves_nothing(filled: Persistence, path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int | None) -> None:
        raise Stop

    with pytest.raises(Stop):
        export_records(filled, path, progress=stop)
    assert not [each for each in path.parent.iterdir() if "export" in each.name]
    with pytest.raises(InvalidValueError, match="cannot be written"):
        export_records(filled, path / "missing" / path.name)


# --- copy -----------------------------------------------------------------------------------------


def test_a_copy_is_the_same_with_the_same_ids(filled: Persistence, other: Persistence) -> None:
    report = copy_records(filled, other)
    assert report.ok
    assert [getattr(report, name) for name in NUMBERS] == [*NUMBERS.values()]
    assert [getattr(report, f"new_{name}") for name in NUMBERS] == [*NUMBERS.values()]
    assert hashes(other) == hashes(filled)
    assert_same_records(filled, other)


def test_a_copy_goes_into_any_backend(persistence: Persistence, other: Persistence) -> None:
    awkward.write(other)
    assert copy_records(other, persistence).ok
    assert_same_records(other, persistence)
    event = AgentRunEvent("agent", "full")
    persistence.log_agent_run_event(event)
    assert event.id == NUMBERS["events"] + 1


def assert_same_records(one: Persistence, two: Persistence) -> None:
    assert one.get_agent_runs(limit=None) == two.get_agent_runs(limit=None)
    assert list(one.iter_agent_run_events()) == list(two.iter_agent_run_events())
    assert list(one.iter_llm_usage()) == list(two.iter_llm_usage())


def test_a_repeated_copy_adds_only_new_records(
    persistence: Persistence, other: Persistence
) -> None:
    awkward.write(other)
    copy_records(other, persistence)
    other.log_agent_run_event(AgentRunEvent("agent", "full"))
    report = copy_records(other, persistence)
    assert (report.ok, report.new_runs, report.new_events, report.new_usage) == (True, 0, 1, 0)
    assert_same_records(other, persistence)


@pytest.mark.usefixtures("small_copies")
def test_a_killed_copy_is_completed_with_the_same_ids(
    persistence: Persistence, other: Persistence
) -> None:
    class Stop(Exception):
        pass

    def stop_after(limit: int) -> Callable[[int, int | None], None]:
        def stop(done: int, total: int | None) -> None:
            if done > limit:
                raise Stop

        return stop

    other.log_agent_run_events(
        AgentRunEvent("agent", "run", timestamp=BEGIN - timedelta(seconds=number % 7))
        for number in range(1_200)
    )
    awkward.write(other)
    for limit in (0, 900, 1_010, 1_210):
        with pytest.raises(Stop):
            copy_records(other, persistence, progress=stop_after(limit))
    assert copy_records(other, persistence).kept_ids
    assert_same_records(other, persistence)
    assert copy_records(other, persistence).new_events == 0


@pytest.mark.usefixtures("small_copies")
def test_a_copy_succeeds_beside_concurrent_writes(
    persistence: Persistence, other: Persistence
) -> None:
    def events(run_id: str, first: int) -> Iterator[AgentRunEvent]:
        for number in range(first, first + 1_000):
            yield AgentRunEvent("agent", run_id, event_id=f"event-{number}")

    other.log_agent_run_events(events("run", 0))
    other.log_agent_run_events(events("deleted", 1_000))

    def meddle(done: int, total: int | None) -> None:
        if done == 1_003:
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_id="event-1999"))
            persistence.delete_agent_run("deleted")

    report = copy_records(other, persistence, progress=meddle)
    assert report.new_events == 1_999
    assert set(report.differing) == {"run", "deleted"}
    assert persistence.count_events() == 2_000


@pytest.mark.usefixtures("small_copies")
def test_a_change_feed_returns_each_copied_row_once_beside_other_writers(
    persistence: Persistence, other: Persistence
) -> None:
    other.log_agent_run_events(AgentRunEvent("agent", "run", data=n) for n in range(2_500))
    found: list[int] = []
    watermark = START

    def read(done: int, total: int | None) -> None:
        nonlocal watermark
        if 0 < done < 2_500:
            persistence.append_event("run", "agent", "beside")
        while changes := read_changes(persistence._store, EVENTS, since=watermark):
            found.extend(changes.columns[EVENTS.names.index("id")])
            watermark = changes.watermark

    assert copy_records(other, persistence, progress=read).new_events == 2_500
    read(2_500, None)
    assert len(found) == len(set(found)) == persistence.count_events()


def test_a_copy_restores_records_lost_since_the_last_one(
    persistence: Persistence, other: Persistence
) -> None:
    awkward.write(other)
    for number in range(3):
        other.log_agent_run_event(AgentRunEvent("agent", f"run-{number}"))
    copy_records(other, persistence)
    persistence.delete_agent_run("full")
    persistence.delete_agent_run("run-1")
    report = copy_records(other, persistence)
    assert (report.ok, report.new_runs, report.new_events) == (True, 2, NUMBERS["events"] + 1)
    stored = hashes(persistence)
    assert {name: stored[name] for name in ("empty", "run-0", "run-1", "run-2")} == {
        name: hashes(other)[name] for name in ("empty", "run-0", "run-1", "run-2")
    }


def test_a_copy_beside_other_records_gets_new_ids(
    persistence: Persistence, other: Persistence
) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "own"))
    awkward.write(other)
    report = copy_records(other, persistence)
    assert (report.ok, report.kept_ids) == (True, False)
    stored = hashes(persistence)
    assert stored.pop("own").events == 1
    assert stored == hashes(other)


def test_copied_records_are_found_by_search(persistence: Persistence, other: Persistence) -> None:
    other.create_agent_run(AgentRun("agent", "run", objective="to find a hat"))
    other.append_event("run", "agent", "note", message="the hat was seen")
    copy_records(other, persistence)
    assert len(persistence.search_text("hat")) == 2
    other.update_agent_run("run", AgentRun("agent", "run", objective="to find a coat"))
    other.append_event("run", "agent", "note", message="a coat was seen")
    copy_records(other, persistence)
    assert len(persistence.search_text("coat")) == 2
    assert len(persistence.search_text("hat")) == 1


def test_a_copy_reports_runs_that_differ(persistence: Persistence, other: Persistence) -> None:
    awkward.write(other)
    persistence.log_agent_run_event(AgentRunEvent("agent", "full", data="from elsewhere"))
    report = copy_records(other, persistence)
    assert not report.ok
    assert report.differing == ("full",)
    assert report.to_dict()["ok"] is False


def test_a_database_is_not_copied_into_itself(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="same database"):
        copy_records(persistence, persistence)


def test_only_our_own_persistences_are_exported_imported_and_copied(tmp_path: Path) -> None:
    theirs: Any = DictPersistence()
    path = tmp_path / "export.jsonl"
    with InMemoryPersistence() as ours:
        export_records(ours, path)
        for attempt in (
            lambda: export_records(theirs, tmp_path / "other.jsonl"),
            lambda: import_records(path, theirs),
            lambda: copy_records(theirs, ours),
            lambda: copy_records(ours, theirs),
        ):
            with pytest.raises(UnsupportedError, match="DictPersistence"):
                attempt()


@pytest.fixture(params=["exported", "copied"])
def carry(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Transfers all records to another persistence."""

    def carry(source: Persistence, destination: Persistence) -> None:
        if request.param == "copied":
            assert copy_records(source, destination).ok
            return
        for format in FORMATS:
            path = tmp_path / f"carried.{format}"
            export_records(source, path, overwrite=True)
            assert import_records(path, destination).ok

    return carry


def test_a_stub_stays_a_stub(
    persistence: Persistence, other: Persistence, carry: Callable[..., None]
) -> None:
    """Its run can still be created in the destination."""
    persistence.log_agent_run_event(AgentRunEvent("agent", "early", timestamp=BEGIN))
    before = hashes(persistence)
    carry(persistence, other)
    carry(other, persistence)
    assert hashes(persistence) == hashes(other) == before
    other.create_agent_run(AgentRun("agent", "early", objective="known there"))
    assert hashes(other) != before
    persistence.create_agent_run(AgentRun("agent", "early", objective="known here"))
    with pytest.raises(ConflictError):
        persistence.create_agent_run(AgentRun("agent", "early"))


def test_a_stub_that_was_filled_in_replaces_the_stub_and_is_not_replaced_by_it(
    persistence: Persistence, other: Persistence, carry: Callable[..., None], clock: Hands
) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "early"))
    carry(persistence, other)
    with InMemoryPersistence() as stub:
        carry(other, stub)
        persistence.create_agent_run(AgentRun("agent", "early", objective="known"))
        carry(persistence, other)
        import_into = hashes(other)
        assert import_into == hashes(persistence)
        copy_records(stub, other)
        assert hashes(other) == import_into


def test_a_redactor_gets_the_same_field_names_on_every_path(
    persistence: Persistence, carry: Callable[..., None]
) -> None:
    named = set()

    def note(field: str, text: str) -> str:
        named.add(field)
        return text

    persistence.create_agent_run(AgentRun("agent", "run", objective="find out"))
    with InMemoryPersistence(redactor=note) as other:
        carry(persistence, other)
    assert named == {"AgentRun.objective"}


def test_json_lines_are_imported_from_an_open_file(filled: Persistence) -> None:
    stream = BytesIO()
    export_records(filled, stream, format="jsonl")
    stream.seek(0)
    with InMemoryPersistence() as other:
        assert import_records(stream, other).ok
        assert hashes(other) == hashes(filled)


@pytest.mark.before_io
def test_a_file_of_text_is_not_imported(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="open it as binary"):
        import_records(StringIO("{}"), persistence)  # type: ignore[arg-type]


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_compressed_export_is_a_problem(
    filled: Persistence, tmp_path: Path, kept: float
) -> None:
    path = tmp_path / "all.jsonl.gz"
    stream = BytesIO()
    export_records(filled, stream, format="jsonl")
    packed = gzip.compress(stream.getvalue())
    path.write_bytes(packed[: int(len(packed) * kept)])
    report = import_records(path, None)
    assert [problem.what.partition(",")[0] for problem in report.problems] == ["was cut off"]
    path.write_bytes(b"not packed")
    [problem] = import_records(path, None).problems
    assert problem.what.startswith("cannot be read: Not a gzipped file")
