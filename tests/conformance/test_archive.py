"""Archived runs are deleted here only when they are there, and come back as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    CorruptDatabaseError,
    InvalidValueError,
    NotFoundError,
    Persistence,
    RetentionPolicy,
    SchemaMismatchError,
    UnavailableError,
    archive_runs,
    erase_runs,
    restore_runs,
)
from curio_persistence.archive.archiver import Archiver
from curio_persistence.archive.delta_log import DeltaLog
from curio_persistence.capabilities.lifecycle import expiring
from curio_persistence.capabilities.lifecycle.expiring import Expiry
from curio_persistence.places import Place
from curio_persistence.tables import TOMBSTONES
from tests.conformance.test_retention import names, record
from tests.support.hands import Hands

pytestmark = pytest.mark.slow

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
AWKWARD = "words\0 \ud800 \ufdd0 \N{SNOWMAN} 'quoted'\r"


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


@pytest.fixture
def filled(persistence: Persistence, clock: Hands) -> Persistence:
    record(persistence, "old", days=100, session_id="s", tags=["a"], metadata={"k": [1, None]})
    record(persistence, "child", days=99, parent_run_id="old", objective=AWKWARD, events=30)
    record(persistence, "new", days=1)
    persistence.append_event("old", "agent", "log", payload=AWKWARD, event_id="e1")
    persistence.scores.set("old", "helpful", 0.5, comment=AWKWARD)
    persistence.approvals.request("old", "delete", AWKWARD, ticket_id="t1")
    persistence.approvals.resolve("t1", "denied", by="ada", reason=AWKWARD)
    persistence.snapshots.save("old", "one", AWKWARD)
    persistence.snapshots.save("child", "one", {"n": [1, None]})
    clock.move(seconds=1)
    return persistence


def told(persistence: Persistence) -> list[Any]:
    """What is known of the runs, but for the ids of their rows."""
    return [
        persistence.get_agent_run_stats(),
        [*persistence.runs.hashes(["old", "child"])],
        [(e.data, e.timestamp, e.event_id) for e in persistence.get_agent_run_events("old")],
        [score.comment for score in persistence.scores.list("old")],
        [(ticket.status, ticket.reason) for ticket in persistence.approvals.list("old")],
        [
            each.state
            for run_id in ("old", "child")
            if (each := persistence.snapshots.latest(run_id))
        ],
        [total.cost_usd for total in persistence.usage.totals(group_by=("session", "day"))],
    ]


def reasons(persistence: Persistence) -> set[str]:
    """The reasons of tombstones."""
    stones = TOMBSTONES.decode(persistence._store.select(TOMBSTONES))
    return {stone.reason for stone in stones}


def files(place: Path, end: str = ".parquet") -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.name.endswith(end))


def test_archived_runs_come_back_as_they_were(filled: Persistence, place: Path) -> None:
    before = told(filled)
    done = archive_runs(filled, place, older_than="90d", pace=1)
    assert (done.runs, done.events, done.usage, done.scores) == (2, 33, 2, 1)
    assert (done.approvals, done.snapshots) == (1, 2)
    assert names(filled) == ["new"]
    assert filled.get_agent_run_stats()["total_runs"] == 3
    stones = TOMBSTONES.decode(filled._store.select(TOMBSTONES))
    assert {stone.archived_in for stone in stones} == {str(folder) for folder in (place).iterdir()}
    restored = restore_runs(filled, place, ["old", "child"])
    assert (restored.runs, restored.events, restored.usage, restored.scores) == (2, 33, 2, 1)
    assert (restored.approvals, restored.snapshots) == (1, 2)
    assert told(filled) == before
    assert reasons(filled) == {"restored"}
    again = restore_runs(filled, place, ["old"])
    assert (again.runs, again.events) == (0, 0)
    assert told(filled) == before


def test_what_is_archived_again_is_found_once(filled: Persistence, place: Path) -> None:
    for _ in range(2):
        archive_runs(filled, place, older_than="90d", pace=1)
        restore_runs(filled, place, ["old", "child"])
    assert len(filled.get_agent_run_events("child")) == 30
    assert filled.get_agent_run_stats()["total_runs"] == 3


def test_a_dry_run_writes_nothing(filled: Persistence, place: Path) -> None:
    planned = archive_runs(filled, place, older_than="90d", dry_run=True)
    assert planned.runs == 2
    assert files(place, "") == []
    assert names(filled) == ["child", "new", "old"]


def test_policies_and_holds_decide(filled: Persistence, place: Path) -> None:
    filled.lifecycle.hold("case", run_id="child")
    assert archive_runs(filled, place, default=RetentionPolicy(keep="90d"), pace=1).runs == 0
    filled.lifecycle.release("case")
    assert archive_runs(filled, place, default=RetentionPolicy(keep="90d"), pace=1).runs == 2


def test_large_trees_are_archived_in_several_files(
    persistence: Persistence, clock: Hands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curio_persistence.archive.archiver._BYTES", 100)
    record(persistence, "large", days=100, events=950)
    clock.move(seconds=1)
    archive_runs(persistence, place, older_than="90d", pace=1)
    assert names(persistence) == []
    assert restore_runs(persistence, place, ["large"]).events == 950


class _StopError(Exception):
    pass


STEPS: dict[str, tuple[type, str]] = {
    "put": (Place, "put_new"),
    "get": (Place, "get"),
    "commit": (DeltaLog, "commit"),
    "delete": (Expiry, "_delete_runs"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("step", STEPS)
def test_what_was_interrupted_is_completed(
    filled: Persistence, place: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever the step, the next call completes it, and every row is archived once."""
    before = told(filled)
    kind, method = STEPS[step]
    original = getattr(kind, method)
    for calls in range(6):
        left = iter(range(calls))

        def stop(*arguments: Any, left: Iterator[int] = left) -> Any:
            if next(left, None) is None:
                raise _StopError
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(kind, method, stop)
            try:
                archive_runs(filled, place, older_than="90d", pace=1)
            except _StopError:
                assert filled.get_agent_run_stats()["total_runs"] == 3
    archive_runs(filled, place, older_than="90d", pace=1)
    assert names(filled) == ["new"]
    restored = restore_runs(filled, place, ["old", "child"])
    assert (restored.runs, restored.events, restored.usage, restored.scores) == (2, 33, 2, 1)
    assert told(filled) == before


def test_a_late_event_keeps_its_run(
    filled: Persistence, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Archiver.store

    def store_and_log(self: Archiver, *arguments: Any) -> None:
        store(self, *arguments)
        filled.append_event("child", "agent", "log", payload="late")

    monkeypatch.setattr(Archiver, "store", store_and_log)
    assert archive_runs(filled, place, older_than="90d", pace=1).runs == 0
    monkeypatch.undo()
    assert archive_runs(filled, place, older_than="90d", pace=1).runs == 2
    restore_runs(filled, place, ["child"])
    assert [event.data for event in filled.get_agent_run_events("child")][-1] == "late"
    assert len(filled.get_agent_run_events("child")) == 31


def test_a_run_that_is_updated_meanwhile_is_kept(
    filled: Persistence, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Archiver.store

    def store_and_patch(self: Archiver, *arguments: Any) -> None:
        store(self, *arguments)
        filled.runs.patch("child", metrics={"late": 1})

    with monkeypatch.context() as patch:
        patch.setattr(Archiver, "store", store_and_patch)
        assert archive_runs(filled, place, older_than="90d", pace=1).runs == 0
    run = filled.get_agent_run("child")
    assert run is not None
    assert run.metrics == '{"late": 1}'


def test_files_that_were_changed_are_refused(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    for path in files(place):
        path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(CorruptDatabaseError, match="is not as it was archived"):
        restore_runs(filled, place, ["old"])
    assert names(filled) == ["new"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"add": {"path": "../../etc/passwd"}}, CorruptDatabaseError),
        ({"add": {"path": "/etc/dt=2026-01-01/x.parquet"}}, CorruptDatabaseError),
        ({"add": {}}, CorruptDatabaseError),
        ({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7}}, SchemaMismatchError),
        ("text", CorruptDatabaseError),
    ],
    ids=str,
)
@pytest.mark.thorough
def test_a_changed_log_is_refused_and_nothing_is_deleted(
    filled: Persistence, place: Path, change: Any, error: type[Exception]
) -> None:
    archive_runs(filled, place, older_than="99d", pace=1)
    record(filled, "more", days=100)
    archive_runs(filled, place, older_than="90d", pace=1)
    record(filled, "last", days=100)
    [log] = [path for path in files(place, ".json") if path.parts[-3] == "runs"][-1:]
    lines = log.read_text().splitlines()
    action = json.loads(lines[-1])
    if isinstance(change, dict):
        [(kind, values)] = change.items()
        action = {kind: {**action.get(kind, {}), **values} if values else {}}
        lines[-1] = json.dumps(action)
    else:
        lines[-1] = change
    log.write_text("\n".join(lines))
    with pytest.raises(error):
        archive_runs(filled, place, older_than="90d", pace=1)
    assert "last" in names(filled)


def test_unknown_runs_and_odd_destinations_are_refused(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    with pytest.raises(NotFoundError, match="has no run nothing"):
        restore_runs(filled, place, ["old", "nothing"])
    assert names(filled) == ["new"]
    for source in ("../x", "", 7, "a//b"):
        with pytest.raises(InvalidValueError if source else NotFoundError):
            restore_runs(filled, place if source else place.parent / "no", ["old"], source=source)  # type: ignore[arg-type]
    assert not (place.parent / "no").exists()


@pytest.mark.before_io
def test_odd_destinations_are_refused(persistence: Persistence, tmp_path: Path) -> None:
    for destination in (
        "",
        7,
        None,
        "ftp://h/x",
        "memory:///",
        "s3://key:secret@b/x",
        "s3://b?a=1",
    ):
        with pytest.raises(InvalidValueError, match="destination is a directory"):
            archive_runs(persistence, destination, older_than="1d")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises((UnavailableError, AccessDeniedError)):
        Place(tmp_path / "file" / "x").put_new("x", b"")
    with pytest.raises(NotFoundError):
        Place(tmp_path / "nothing").get("x")
    assert not (tmp_path / "nothing").exists()


def interrupted(persistence: Persistence, place: Path, kind: type, method: str) -> None:
    """Archive until this method is called."""

    def stop(*arguments: Any) -> Any:
        raise _StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, method, stop)
        with pytest.raises(_StopError):
            archive_runs(persistence, place, older_than="90d", pace=1)


def test_files_that_are_gone_are_archived_again(filled: Persistence, place: Path) -> None:
    before = told(filled)
    interrupted(filled, place, DeltaLog, "commit")
    for path in files(place):
        path.unlink()
    assert archive_runs(filled, place, older_than="90d", pace=1).runs == 2
    restore_runs(filled, place, ["old", "child"])
    assert told(filled) == before


def test_policies_decide_again_after_an_interruption(filled: Persistence, place: Path) -> None:
    interrupted(filled, place, Expiry, "_delete_runs")
    assert archive_runs(filled, place, older_than="900d", pace=1).runs == 0
    assert names(filled) == ["child", "new", "old"]


@pytest.mark.parametrize("method", ["commit", "_delete_runs"])
@pytest.mark.thorough
def test_a_run_that_is_erased_after_an_interruption_is_gone(
    filled: Persistence, place: Path, method: str
) -> None:
    interrupted(filled, place, DeltaLog if method == "commit" else Expiry, method)
    archive_runs(filled, place, older_than="900d", pace=1)  # Settles what was interrupted.
    interrupted(filled, place, DeltaLog if method == "commit" else Expiry, method)
    filled.delete_agent_run("child")
    assert archive_runs(filled, place, older_than="90d", pace=1).runs == 1
    assert erase_runs(filled, place, ["child"]) == 0
    with pytest.raises(NotFoundError, match="has no run child"):
        restore_runs(filled, place, ["child"])
    assert restore_runs(filled, place, ["old"]).events == 3


def test_a_large_run_that_changes_meanwhile_is_archived_in_two_parts(
    persistence: Persistence, clock: Hands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(persistence, "large", days=100, events=950)
    clock.move(seconds=1)
    delete = Expiry._delete_batch
    late = [1]

    def delete_and_log(self: Expiry, *arguments: Any) -> bool:
        deleted = delete(self, *arguments)
        if late:
            persistence.append_event("large", "agent", "log", payload=f"late {late.pop()}")
        return deleted

    with monkeypatch.context() as patch:
        patch.setattr(Expiry, "_delete_batch", delete_and_log)
        patch.setattr(expiring, "_LARGE_BATCH", expiring.BATCH)
        assert archive_runs(persistence, place, older_than="90d", pace=1).runs == 0
    clock.move(seconds=1)
    assert archive_runs(persistence, place, older_than="90d", pace=1).runs == 1
    assert restore_runs(persistence, place, ["large"]).events == 951


def test_only_runs_are_archived(filled: Persistence, place: Path) -> None:
    call = AgentLLMUsage("agent", None, model="m", created_at=NOON - timedelta(days=100))
    filled.log_llm_usage(call)
    archive_runs(filled, place, older_than="90d", pace=1)
    assert filled.count_llm_usage() == 2


def test_a_run_that_was_recorded_again_is_not_replaced(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    record(filled, "old", days=1)
    before = told(filled)
    assert restore_runs(filled, place, ["old"]).runs == 0
    assert told(filled) == before
    assert restore_runs(filled, place, ["old", "child"]).events == 30


def test_a_log_with_a_gap_is_refused(filled: Persistence, place: Path, clock: Hands) -> None:
    archive_runs(filled, place, older_than="99d", pace=1)
    archive_runs(filled, place, older_than="90d", pace=1)
    record(filled, "more", days=100)
    clock.move(seconds=1)
    archive_runs(filled, place, older_than="90d", pace=1)
    [first, *_] = [path for path in files(place, ".json") if path.parts[-3] == "runs"]
    first.unlink()
    with pytest.raises(CorruptDatabaseError, match="version 0 is missing"):
        restore_runs(filled, place, ["old"])


def test_erased_runs_leave_nothing_in_the_archive(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    before = files(place)
    assert erase_runs(filled, place, ["child", "nothing"]) == 1
    assert len(before) > len(files(place)) > 0
    for path in files(place):
        rows = parquet.read_table(path, partitioning=None)
        assert "child" not in rows["run_id"].to_pylist()
    with pytest.raises(NotFoundError):
        restore_runs(filled, place, ["child"])
    assert restore_runs(filled, place, ["old"]).events == 3
    assert erase_runs(filled, place, ["old", "new"]) == 2
    assert files(place) == []
    assert names(filled) == []
    assert erase_runs(filled, place, ["old"]) == 0


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_the_runs_of_a_window_come_back(filled: Persistence, place: Path, form: str) -> None:
    before = told(filled)
    archive_runs(filled, place, older_than="90d", pace=1, format=form)
    end = NOON - timedelta(days=100)  # When `old` finished, a minute after it was created.
    assert restore_runs(filled, place, until=end - timedelta(minutes=1)).runs == 0
    report = restore_runs(filled, place, until=end)
    assert (report.runs, report.events, report.scores) == (1, 3, 1)
    assert names(filled) == ["new", "old"]
    report = restore_runs(filled, place, since="100d", until="1d")
    assert (report.runs, report.events) == (1, 30)
    assert told(filled) == before
    assert restore_runs(filled, place, since="200d").skipped == {"stored before": 2}


def test_a_restore_names_runs_or_a_window(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    for given in ({}, {"run_ids": ["old"], "since": "1d"}, {"since": "soon"}):
        with pytest.raises(InvalidValueError, match=r"Give run_ids, or since|since is a datetime"):
            restore_runs(filled, place, **given)
    assert names(filled) == ["new"]


def test_a_run_of_another_database_can_be_restored(filled: Persistence, place: Path) -> None:
    from curio_persistence import InMemoryPersistence

    archive_runs(filled, place, older_than="90d", pace=1)
    [folder] = place.iterdir()
    with InMemoryPersistence() as other:
        with pytest.raises(NotFoundError):
            restore_runs(other, place, ["old"])
        assert restore_runs(other, place, ["old"], source=folder.name).events == 3
        assert other.get_agent_run_stats()["total_runs"] == 1
        assert isinstance(other.get_agent_run("old"), AgentRun)
