"""Archives of JSON lines, copies of runs that stay here, small files that are merged, long logs."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from curio_persistence import (
    InvalidValueError,
    NotFoundError,
    Persistence,
    RetentionPolicy,
    archive_runs,
    erase_runs,
    import_records,
    open_archive,
    restore_runs,
)
from curio_persistence.archive import delta_log, merging
from curio_persistence.archive.delta_log import DeltaLog
from curio_persistence.archive.files import folder_of
from curio_persistence.archive.forms import FORMS
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.places import Place
from tests.conformance.test_archive import AWKWARD, files, filled, stopped, told
from tests.conformance.test_retention import names, record
from tests.support.hands import Hands

__all__ = ["filled", "stopped"]

pytestmark = pytest.mark.slow


def archived_rows(place: Path, table: str) -> Counter[tuple[str, int]]:
    """Return how often each row is in the Parquet files that the log names, by run and id."""
    [folder] = place.iterdir()
    log = DeltaLog(Place(place), f"{folder.name}/{table}", KINDS[table])
    found: Counter[tuple[str, int]] = Counter()
    for path in log.files():
        rows = parquet.read_table(
            folder / table / path, columns=["run_id", "id"], partitioning=None
        )
        found.update(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_runs_come_back_from_each_form(filled: Persistence, place: Path, form: str) -> None:
    filled.scores.set("child", "exact", 0.1 + 0.2)
    before = told(filled)
    done = archive_runs(filled, place, older_than="90d", pace=1, format=form)
    assert (done.runs, done.events, done.usage, done.scores) == (2, 33, 2, 2)
    assert names(filled) == ["new"]
    assert filled.get_agent_run_stats()["total_runs"] == 3
    assert files(place, FORMS[form].ending)
    restored = restore_runs(filled, place, ["old", "child"])
    assert (restored.runs, restored.events, restored.usage, restored.scores) == (2, 33, 2, 2)
    [exact] = filled.scores.list("child")
    assert exact.value == 0.1 + 0.2
    assert told(filled) == before


def test_lines_of_json_can_be_imported(filled: Persistence, place: Path) -> None:
    from curio_persistence import InMemoryPersistence

    archive_runs(filled, place, older_than="90d", pace=1, format="ndjson")
    with InMemoryPersistence() as other:
        found = files(place, ".ndjson.gz")
        for path in sorted(found, key=lambda path: "runs" not in path.parts):
            assert import_records(path, other).problems == ()
        assert len(other.get_agent_run_events("child")) == 30
        [event] = [e for e in other.get_agent_run_events("old") if e.event_id]
        assert event.data == AWKWARD
    lines = [line for path in found for line in gzip.decompress(path.read_bytes()).splitlines()]
    kinds = {json.loads(line)["kind"] for line in lines}
    assert kinds == {"run", "event", "usage", "score", "approval", "snapshot"}


def test_runs_are_erased_from_lines_of_json(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1, format="ndjson")
    assert erase_runs(filled, place, ["child"]) == 1
    for path in files(place, ".ndjson.gz"):
        assert b"child" not in gzip.decompress(path.read_bytes())
    with pytest.raises(NotFoundError):
        restore_runs(filled, place, ["child"])
    assert restore_runs(filled, place, ["old"]).events == 3


def test_an_unknown_form_is_refused(filled: Persistence, place: Path) -> None:
    for form in ("csv", "", None, 7):
        with pytest.raises(InvalidValueError, match="format is one of parquet, ndjson"):
            archive_runs(filled, place, older_than="90d", format=form)  # type: ignore[arg-type]
    assert files(place, "") == []


# --- copies ---------------------------------------------------------------------------------------


def test_kept_runs_are_copied_once(filled: Persistence, place: Path) -> None:
    filled.lifecycle.hold("case", run_id="old")
    planned = archive_runs(filled, place, older_than="90d", keep=True, dry_run=True)
    assert files(place, "") == []
    done = archive_runs(filled, place, older_than="90d", keep=True)
    assert (planned.runs, planned.events) == (done.runs, done.events) == (2, 33)
    assert done.to_dict()["runs_copied"] == planned.to_dict()["runs_to_copy"] == 2
    assert names(filled) == ["child", "new", "old"]
    before = files(place, "")
    again = archive_runs(filled, place, older_than="90d", keep=True)
    assert again.runs == 0
    assert files(place, "") == before


def test_copied_runs_are_moved_later_and_archived_once(filled: Persistence, place: Path) -> None:
    before = told(filled)
    archive_runs(filled, place, older_than="90d", keep=True)
    copied = files(place)
    assert archive_runs(filled, place, older_than="90d", pace=1).runs == 2
    assert files(place) == copied
    assert names(filled) == ["new"]
    assert set(archived_rows(place, "events").values()) == {1}
    restore_runs(filled, place, ["old", "child"])
    assert told(filled) == before


@pytest.mark.parametrize("change", ["event", "score", "patch"])
@pytest.mark.thorough
def test_what_has_changed_since_is_copied_again(
    filled: Persistence, place: Path, clock: Hands, change: str
) -> None:
    archive_runs(filled, place, older_than="90d", keep=True)
    clock.move(seconds=1)
    match change:
        case "event":
            filled.append_event("child", "agent", "log", payload="late")
        case "score":
            filled.scores.set("old", "helpful", 0.75)
        case "patch":
            filled.runs.patch("old", metrics={"late": 1})
    before = told(filled)
    assert archive_runs(filled, place, older_than="90d", keep=True).runs == 2
    assert archive_runs(filled, place, older_than="90d", keep=True).runs == 0
    assert archive_runs(filled, place, older_than="90d", pace=1).runs == 2
    restore_runs(filled, place, ["old", "child"])
    assert told(filled) == before


def test_a_damaged_copy_keeps_its_runs(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", keep=True)
    [damaged, *_] = [path for path in files(place) if "events" in path.parts]
    damaged.write_bytes(b"X" + damaged.read_bytes()[1:])
    with pytest.raises(Exception, match="is not as it was archived"):
        archive_runs(filled, place, older_than="90d", pace=1)
    assert names(filled) == ["child", "new", "old"]


def test_runs_since_some_days_are_copied(filled: Persistence, place: Path) -> None:
    assert archive_runs(filled, place, since="30d").runs == 1
    assert archive_runs(filled, place, since=timedelta(days=99, hours=1)).runs == 0
    assert archive_runs(filled, place, since="101d").runs == 2
    assert names(filled) == ["child", "new", "old"]
    with pytest.raises(InvalidValueError, match="older_than or since"):
        archive_runs(filled, place, older_than="1d", since="1d")
    with pytest.raises(InvalidValueError, match="since is"):
        archive_runs(filled, place, since="soon")


def test_policies_tell_what_is_copied(filled: Persistence, place: Path) -> None:
    policy = RetentionPolicy(keep="90d")
    assert archive_runs(filled, place, default=policy, keep=True).runs == 2
    assert names(filled) == ["child", "new", "old"]


# --- merging --------------------------------------------------------------------------------------


def archive_each(persistence: Persistence, clock: Hands, place: Path, count: int) -> None:
    """Archive runs of one day, one at a time."""
    for number in range(count):
        record(persistence, f"run-{number}", days=100, events=3)
        clock.move(seconds=1)
        archive_runs(persistence, place, older_than="90d", pace=1)


def test_small_files_of_a_day_become_one(
    persistence: Persistence, clock: Hands, place: Path
) -> None:
    archive_each(persistence, clock, place, 4)
    [folder] = place.iterdir()
    for name in ("runs", "events", "usage"):
        [file] = DeltaLog(Place(place), f"{folder.name}/{name}", KINDS[name]).files().values()
        assert len(file.batches) == 4
        # Programs that have read the log before still find the others.
        assert len(files(folder / name)) == 5
    assert set(archived_rows(place, "events").values()) == {1}
    assert sum(archived_rows(place, "events").values()) == 12
    assert restore_runs(persistence, place, ["run-1", "run-3"]).events == 6


@pytest.mark.thorough
def test_what_was_merged_is_deleted_after_an_hour(
    persistence: Persistence, clock: Hands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_each(persistence, clock, place, 4)
    monkeypatch.setattr(merging.sweep, "__kwdefaults__", {"replaced": timedelta(0)})
    archive_runs(persistence, place, older_than="90d", pace=1)
    assert len(files(place)) == 3


@pytest.mark.thorough
def test_a_run_that_was_archived_twice_is_not_merged_with_itself(
    persistence: Persistence, clock: Hands, place: Path
) -> None:
    record(persistence, "twice", days=100, events=3)
    for _ in range(5):
        clock.move(seconds=1)
        archive_runs(persistence, place, older_than="90d", pace=1)
        restore_runs(persistence, place, ["twice"])
    archive_runs(persistence, place, older_than="90d", pace=1)
    archive_each(persistence, clock, place, 5)
    restored = restore_runs(persistence, place, ["twice", "run-0", "run-4"])
    assert (restored.runs, restored.events) == (3, 9)


@pytest.mark.thorough
def test_a_merged_archive_is_queried_and_erased(
    persistence: Persistence, clock: Hands, place: Path
) -> None:
    archive_each(persistence, clock, place, 6)
    both = open_archive(persistence, place)
    assert both.count_agent_runs() == 6
    for number in range(6):
        assert len(both.get_agent_run_events(f"run-{number}")) == 3
    assert both.get_agent_run_stats()["total_runs"] == 6
    assert both.sql("SELECT count(*), count(DISTINCT run_id) FROM events").rows == [(18, 6)]
    assert erase_runs(persistence, place, ["run-2"]) == 1
    for path in files(place):
        rows = parquet.read_table(path, columns=["run_id"], partitioning=None)
        assert "run-2" not in rows["run_id"].to_pylist()
    assert restore_runs(persistence, place, [f"run-{n}" for n in (0, 1, 3, 4, 5)]).events == 15


@pytest.mark.thorough
def test_an_interrupted_merge_changes_nothing(
    persistence: Persistence, clock: Hands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_each(persistence, clock, place, 3)
    commit = DeltaLog.commit

    def stop(self: DeltaLog, *arguments: Any, **options: Any) -> None:
        if not options.get("is_change", True):
            raise RuntimeError
        commit(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaLog, "commit", stop)
        record(persistence, "last", days=100, events=3)
        with pytest.raises(RuntimeError):
            archive_runs(persistence, place, older_than="90d", pace=1)
    assert names(persistence) == []
    archive_runs(persistence, place, older_than="90d", pace=1)
    assert set(archived_rows(place, "events").values()) == {1}
    assert restore_runs(persistence, place, ["last", "run-0"]).events == 6


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_long_log_begins_with_its_checkpoint(
    persistence: Persistence, clock: Hands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_log, "_CHECKPOINT_EACH", 2)
    archive_each(persistence, clock, place, 5)
    [folder] = place.iterdir()
    whole = DeltaLog(Place(place), f"{folder.name}/events", KINDS["events"]).files()
    for path in files(place, ".json"):
        # Which Delta Lake allows: readers need the checkpoint only.
        if int(path.stem) < 2 and path.with_name("_last_checkpoint").exists():
            path.unlink()
    log = DeltaLog(Place(place), f"{folder.name}/events", KINDS["events"])
    assert log.files() == whole
    assert log.id
    assert folder.name == folder_of(persistence._store)
    archive_each(persistence, clock, place, 1)
    assert restore_runs(persistence, place, ["run-0", "run-4"]).runs == 2
