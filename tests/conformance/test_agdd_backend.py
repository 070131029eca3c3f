"""The AGDD storage API works completely, on every backend."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    ClosedError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    Persistence,
    SQLitePersistence,
    UnsupportedError,
)
from curio_persistence.compat import agdd
from curio_persistence.compat.agdd import (
    ApprovalTicketRecord,
    CurioStorageBackend,
    RunSnapshotRecord,
    SQLiteStorageBackend,
    StorageBackend,
    StorageCapabilities,
    close_storage_backend,
    get_storage_backend,
)
from tests.support.hands import Hands

pytestmark = pytest.mark.slow  # Not in the inner loop.

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Work = Callable[[CurioStorageBackend], Coroutine[Any, Any, None]]


def awaiting(persistence: Persistence, work: Work) -> None:
    """Run `work` on this persistence in an event loop."""
    asyncio.run(work(CurioStorageBackend(lambda: persistence)))


async def listed(events: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event async for event in events]


def test_a_run_is_returned_as_published(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.initialize()
        assert await storage.get_run("run") is None
        await storage.create_run("parent", "main-mag")
        await storage.create_run("run", "sub-sag", "parent", NOON, tags=["nightly"])
        assert await storage.get_run("run") == {
            "run_id": "run",
            "agent_slug": "sub-sag",
            "parent_run_id": "parent",
            "started_at": "2026-11-20T12:00:00+00:00",
            "ended_at": None,
            "status": "running",
            "metrics": {},
            "tags": ["nightly"],
        }
        end = NOON + timedelta(seconds=1.5)
        await storage.update_run("run", "succeeded", end, {"duration_ms": 1500})
        run = await storage.get_run("run")
        assert run is not None
        assert run["ended_at"] == "2026-11-20T12:00:01.500000+00:00"
        assert (run["status"], run["metrics"]) == ("succeeded", {"duration_ms": 1500})

    awaiting(persistence, work)
    run = persistence.get_agent_run("run")
    assert run is not None
    assert (run.status, run.parent_run_id) == ("completed", "parent")


def test_an_update_changes_the_given_fields_and_replaces_metrics(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.create_run("run", "agent", started_at=NOON, tags=["t"])
        await storage.update_run("run", metrics={"a": 1, "b": 2})
        await storage.update_run("run", metrics={"c": 3})
        await storage.update_run("run", status="failed")
        await storage.update_run("run")
        run = await storage.get_run("run")
        assert run is not None
        assert (run["metrics"], run["status"], run["tags"]) == ({"c": 3}, "failed", ["t"])
        await storage.update_run("run", metrics={})
        assert (await storage.get_run("run") or {})["metrics"] == {}
        with pytest.raises(NotFoundError, match="'nobody'"):
            await storage.update_run("nobody", "succeeded")
        with pytest.raises(ConflictError):
            await storage.create_run("run", "agent")

    awaiting(persistence, work)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("running", "running"),
        ("succeeded", "completed"),
        ("failed", "error"),
        ("canceled", "cancelled"),
        ("paused", "paused"),
    ],
)
def test_status_words_are_translated_in_both_directions(
    persistence: Persistence, theirs: str, ours: str
) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.create_run("run", "agent", status=theirs)
        assert [run["status"] for run in await storage.list_runs(status=theirs)] == [theirs]
        assert await storage.list_runs(status="another") == []

    awaiting(persistence, work)
    [run] = persistence.query_agent_runs()
    assert run.status == ours


@pytest.mark.parametrize(("ours", "theirs"), [("timeout", "failed"), ("pending", "running")])
def test_a_status_without_a_counterpart_becomes_the_nearest_one(
    persistence: Persistence, ours: str, theirs: str
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", status=ours))

    async def work(storage: CurioStorageBackend) -> None:
        assert [run["status"] for run in await storage.list_runs(status=theirs)] == [theirs]

    awaiting(persistence, work)


def test_runs_are_listed_newest_first_by_when_they_began(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        for hour in (2, 0, 3, 1):
            slug = "even" if hour % 2 == 0 else "odd"
            await storage.create_run(f"run {hour}", slug, started_at=NOON + timedelta(hours=hour))

        async def listing(**filters: Any) -> list[str]:
            return [run["run_id"][-1] for run in await storage.list_runs(**filters)]

        assert await listing() == ["3", "2", "1", "0"]
        assert await listing(agent_slug="odd") == ["3", "1"]
        assert await listing(since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3)) == [
            "2",
            "1",
        ]
        assert await listing(limit=2, offset=1) == ["2", "1"]
        assert await listing(limit=None, offset=3) == ["0"]
        assert await listing(offset=9) == []
        with pytest.raises(InvalidValueError, match="offset may not be negative"):
            await storage.list_runs(offset=-1)

    awaiting(persistence, work)


def test_events_are_streamed_in_their_envelope(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.append_event(
            "run",
            "agent",
            "mcp.call",
            NOON,
            "warn",
            "it was slow",
            {"server": "s", "tool": "t"},
            "span",
            "parent span",
            "contract",
            "1",
            "s3://bucket/key",
        )
        assert await listed(storage.get_events("run")) == [
            {
                "ts": "2026-11-20T12:00:00.000000Z",
                "run_id": "run",
                "agent_slug": "agent",
                "type": "mcp.call",
                "level": "warn",
                "msg": "it was slow",
                "payload": {"server": "s", "tool": "t"},
                "span_id": "span",
                "parent_span_id": "parent span",
                "contract_id": "contract",
                "contract_version": "1",
                "artifact_uri": "s3://bucket/key",
            }
        ]

    awaiting(persistence, work)


def test_events_are_oldest_first_and_can_be_filtered(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        for second in (1, 0, 3, 2):
            await storage.append_event(
                "run",
                "agent",
                "log" if second else "start",
                NOON + timedelta(seconds=second),
                level="error" if second == 3 else None,
                message=str(second),
            )

        async def words(*filters: Any, **more: Any) -> list[str]:
            return [e["msg"] for e in await listed(storage.get_events("run", *filters, **more))]

        assert await words() == ["0", "1", "2", "3"]
        assert await words("log") == ["1", "2", "3"]
        assert await words(level="error") == ["3"]
        assert await words(level="info", limit=2) == ["0", "1"]
        assert await words(limit=0) == []
        assert await listed(storage.get_events("another")) == []
        [first] = await listed(storage.get_events("run", limit=1))
        assert first["payload"] == {}
        with pytest.raises(InvalidValueError, match="limit may not be negative"):
            await words(limit=-1)

    awaiting(persistence, work)


@pytest.mark.parametrize("kept", ["warn", "WARN", "warning"])
def test_a_warning_is_returned_as_warn(persistence: Persistence, kept: str) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.append_event("run", "agent", "log", NOON, level=kept)
        for asked in ("warn", "warning"):
            [event] = await listed(storage.get_events("run", level=asked))
            assert event["level"] == "warn"

    awaiting(persistence, work)
    assert persistence.count_events(level="warning") == 1


def test_an_empty_filter_is_no_filter(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.create_run("run", "agent")
        payload = {"name": "m", "value": 1}
        await storage.append_event("run", "agent", "metric", NOON, message="hi", payload=payload)
        assert len(await storage.list_runs(agent_slug="", status="")) == 1
        assert len(await listed(storage.get_events("run", event_type="", level=""))) == 1
        assert len(await storage.search_text("hi", agent_slug="")) == 1
        assert len(await storage.query_metrics("m", agent_slug="")) == 1

    awaiting(persistence, work)


def test_every_run_has_a_start_time(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", created_at=NOON))

    async def work(storage: CurioStorageBackend) -> None:
        assert (await storage.get_run("run") or {})["started_at"] == NOON.isoformat()

    awaiting(persistence, work)


@pytest.mark.before_io
@pytest.mark.parametrize("status", [["running"], 1, {"a": 1}])
def test_a_status_that_is_not_text_is_refused(persistence: Persistence, status: Any) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.create_run("run", "agent")
        with pytest.raises(InvalidValueError, match=r"AgentRun\.status must be text"):
            await storage.create_run("other", "agent", status=status)
        with pytest.raises(InvalidValueError, match=r"AgentRun\.status must be text"):
            await storage.update_run("run", status)
        with pytest.raises(InvalidValueError, match=r"AgentRun\.status must be text"):
            await storage.list_runs(status=status)

    awaiting(persistence, work)


def test_search_finds_words_in_events(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.initialize()
        assert storage.capabilities.search_text
        await storage.create_run("run", "agent")
        for n in range(5):
            moment = NOON + timedelta(seconds=n)
            await storage.append_event("run", "agent", "log", moment, message=f"rate limit {n}")
        await storage.append_event("run", "other", "log", NOON, payload={"error": "rate limit"})
        found = await storage.search_text("rate limit", agent_slug="agent", limit=2)
        assert [event["msg"] for event in found] == ["rate limit 4", "rate limit 3"]
        assert len(await storage.search_text("RATE", limit=None)) == 6
        later = await storage.search_text("rate", since=NOON + timedelta(seconds=3))
        assert len(later) == 2
        assert await storage.search_text('nowhere "') == []
        assert await storage.search_text("rate", limit=0) == []

    awaiting(persistence, work)


def test_only_events_are_found_however_many_others_there_are(persistence: Persistence) -> None:
    persistence.append_event("event", "agent", "log", message="needle", timestamp=NOON)
    persistence.create_agent_runs(
        AgentRun("agent", f"run {n}", "needle", "needle") for n in range(9)
    )

    async def work(storage: CurioStorageBackend) -> None:
        [event] = await storage.search_text("needle", limit=2)
        assert event["run_id"] == "event"

    awaiting(persistence, work)


def test_metrics_are_summed_by_the_hour(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        for minutes, value in ((0, 10), (30, 20), (60, 40)):
            payload = {"name": "duration_ms", "value": value}
            moment = NOON + timedelta(minutes=minutes)
            await storage.append_event("run", "agent", "metric", moment, payload=payload)
        assert await storage.query_metrics("duration_ms", "agent") == [
            {
                "metric_name": "duration_ms",
                "timestamp": "2026-11-20T12:00:00+00:00",
                "value": 15.0,
                "count": 2,
            },
            {
                "metric_name": "duration_ms",
                "timestamp": "2026-11-20T13:00:00+00:00",
                "value": 40.0,
                "count": 1,
            },
        ]
        [day] = await storage.query_metrics("duration_ms", aggregation="sum", bucket="1d")
        assert day["value"] == 70
        assert await storage.query_metrics("duration_ms", until=NOON) == []

    awaiting(persistence, work)


def test_old_runs_are_vacuumed(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        for name, days in (("old", 8), ("new", 6)):
            begin = datetime.now(UTC) - timedelta(days=days)
            await storage.create_run(name, "agent", started_at=begin)
            await storage.append_event(name, "agent", "log", begin)
            await storage.update_run(name, "succeeded", begin)
        planned = await storage.vacuum(dry_run=True)
        assert (planned["dry_run"], planned["runs_to_delete"], planned["events_to_delete"]) == (
            True,
            1,
            1,
        )
        done = await storage.vacuum(hot_days=7)
        assert (done["dry_run"], done["runs_deleted"], done["events_deleted"]) == (False, 1, 1)
        assert done["cutoff"] is not None
        assert [run["run_id"] for run in await storage.list_runs()] == ["new"]
        assert (await storage.vacuum(max_disk_mb=1_000))["runs_deleted"] == 0
        assert (await storage.vacuum(max_disk_mb=0, dry_run=True))["runs_to_delete"] == 1
        assert (await storage.vacuum(7, 0))["runs_deleted"] == 1
        with pytest.raises(InvalidValueError):
            await storage.vacuum(max_disk_mb="all")  # type: ignore[arg-type]

    awaiting(persistence, work)


@pytest.mark.slow
def test_runs_of_the_last_days_are_archived(persistence: Persistence, tmp_path: Path) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        assert storage.capabilities.lifecycle_policy
        assert storage.capabilities.archive_artifacts
        for name, days in (("new", 1), ("old", 40)):
            end = datetime.now(UTC) - timedelta(days=days)
            await storage.create_run(name, "agent", started_at=end)
            await storage.append_event(name, "agent", "log", end, message="m")
            await storage.update_run(name, status="succeeded", ended_at=end)
        place = str(tmp_path / "archive")
        done = await storage.archive(place)
        assert (done["destination"], done["runs_copied"], done["events_copied"]) == (place, 1, 1)
        assert (await storage.archive(place, since_days=60))["runs_copied"] == 1
        assert (await storage.archive(place, 60, "ndjson"))["runs_copied"] == 2
        assert len(await storage.list_runs()) == 2
        with pytest.raises(InvalidValueError):
            await storage.archive(place, since_days=-1)

    awaiting(persistence, work)


def a_ticket(ticket_id: str, **fields: Any) -> ApprovalTicketRecord:
    given: dict[str, Any] = {
        "run_id": "run",
        "agent_slug": "payer-sag",
        "tool_name": "pay",
        "masked_args": {"amount": 5, "api_key": "***redacted***"},
        "args_hash": "a" * 64,
        "requested_at": NOON,
        "expires_at": NOON + timedelta(minutes=30),
        "status": "pending",
    }
    return ApprovalTicketRecord(ticket_id=ticket_id, **{**given, **fields})


def test_tickets_are_returned_as_they_were_stored(persistence: Persistence, clock: Hands) -> None:
    clock.put(NOON)

    async def work(storage: CurioStorageBackend) -> None:
        assert await storage.get_approval_ticket("t1") is None
        with pytest.raises(NotFoundError, match="No run 'run' exists"):
            await storage.create_approval_ticket(a_ticket("t1"))
        await storage.create_run("run", "payer-mag")
        first = a_ticket("t1", step_id="s", metadata={"why": ["because"]})
        second = a_ticket("t2", agent_slug="another", requested_at=NOON + timedelta(seconds=1))
        for ticket in (second, first):
            await storage.create_approval_ticket(ticket)
        assert await storage.get_approval_ticket("t1") == first
        assert await storage.list_approval_tickets() == [first, second]
        assert await storage.list_approval_tickets(limit=1, offset=1) == [second]
        assert await storage.list_approval_tickets(run_id="run", agent_slug="another") == [second]
        assert await storage.list_approval_tickets(status="denied") == []
        assert await storage.list_approval_tickets("", "", "pending", None) == [first, second]
        with pytest.raises(ConflictError):
            await storage.create_approval_ticket(first)

    awaiting(persistence, work)


def test_a_ticket_is_updated_once(persistence: Persistence, clock: Hands) -> None:
    clock.put(NOON)

    async def work(storage: CurioStorageBackend) -> None:
        await storage.create_run("run", "payer-mag")
        for name in ("t1", "t2", "t3"):
            await storage.create_approval_ticket(a_ticket(name))
        decided = a_ticket(
            "t1",
            status="approved",
            resolved_at=NOON,
            resolved_by="ada",
            decision_reason="fine",
            response={"most": 3},
        )
        await storage.update_approval_ticket(decided)
        stored = await storage.get_approval_ticket("t1")
        assert stored == replace(decided, resolved_at=stored and stored.resolved_at)
        late = a_ticket("t1", status="denied", resolved_by="bob")
        with pytest.raises(ConflictError, match="was approved by ada"):
            await storage.update_approval_ticket(late)
        with pytest.raises(UnsupportedError, match="request another one"):
            await storage.update_approval_ticket(a_ticket("t2", expires_at=NOON))
        clock.move(hours=1)
        expired = a_ticket("t2", status="expired", resolved_by="system:auto-expire")
        for _ in range(2):
            await storage.update_approval_ticket(expired)
        found = await storage.list_approval_tickets(status="expired")
        assert [(t.ticket_id, t.resolved_by) for t in found] == [
            ("t2", "system:auto-expire"),
            ("t3", None),
        ]
        with pytest.raises(ConflictError, match="was approved by ada"):
            await storage.update_approval_ticket(a_ticket("t1", status="expired"))

    awaiting(persistence, work)


def test_snapshots_are_returned_as_they_were_stored(persistence: Persistence) -> None:
    def a_snapshot(step_id: str, minutes: int, **state: Any) -> RunSnapshotRecord:
        return RunSnapshotRecord(
            snapshot_id=f"id-{step_id}-{minutes}",
            run_id="run",
            step_id=step_id,
            state=state,
            metadata={"n": minutes} if minutes else {},
            created_at=NOON + timedelta(minutes=minutes),
        )

    async def work(storage: CurioStorageBackend) -> None:
        with pytest.raises(NotFoundError, match="No run 'run' exists"):
            await storage.upsert_run_snapshot(a_snapshot("one", 0))
        await storage.create_run("run", "agent")
        assert await storage.get_latest_run_snapshot("run") is None
        one, two, again = a_snapshot("one", 0, a=1), a_snapshot("two", 1), a_snapshot("one", 2, b=2)
        for record in (two, one, one):
            await storage.upsert_run_snapshot(record)
        assert await storage.list_run_snapshots("run") == [one, two]
        assert await storage.get_latest_run_snapshot("run") == two
        await storage.upsert_run_snapshot(again)
        assert await storage.get_latest_run_snapshot("run") == again
        assert await storage.get_run_snapshot("run", "one") == again
        assert await storage.get_run_snapshot("run", "three") is None
        assert await storage.list_run_snapshots("run") == [two, again]
        assert await storage.delete_run_snapshots("run") == 2
        assert await storage.list_run_snapshots("run") == []

    awaiting(persistence, work)


def test_our_snapshots_have_an_id_there(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.snapshots.save("run", "one", [1])

    async def work(storage: CurioStorageBackend) -> None:
        latest = await storage.get_latest_run_snapshot("run")
        assert latest is not None
        assert (latest.snapshot_id, latest.state) == ("run:one", {"value": [1]})

    awaiting(persistence, work)


def test_a_closed_backend_refuses_every_call(persistence: Persistence) -> None:
    async def work(storage: CurioStorageBackend) -> None:
        await storage.initialize()
        await storage.close()
        await storage.close()
        with pytest.raises(ClosedError):
            await storage.get_run("run")
        with pytest.raises(ClosedError):
            await storage.initialize()
        unused = CurioStorageBackend(lambda: pytest.fail("it was opened"))
        await unused.close()
        with pytest.raises(ClosedError):
            await unused.list_runs()

    awaiting(persistence, work)


def test_tasks_that_begin_together_open_it_once(persistence: Persistence) -> None:
    opened = []

    def open_it() -> Persistence:
        opened.append(persistence)
        return persistence

    async def work() -> None:
        storage = CurioStorageBackend(open_it)
        await asyncio.gather(*(storage.create_run(f"run {n}", "agent") for n in range(9)))
        assert len(await storage.list_runs()) == 9

    asyncio.run(work())
    assert len(opened) == 1


def test_a_persistence_opened_during_close_is_closed(persistence: Persistence) -> None:
    opening, may_open = threading.Event(), threading.Event()

    def open_it() -> Persistence:
        opening.set()
        may_open.wait()
        return persistence

    async def work() -> None:
        storage = CurioStorageBackend(open_it)
        first = asyncio.create_task(storage.list_runs())
        await asyncio.to_thread(opening.wait)
        await storage.close()
        may_open.set()
        with pytest.raises(ClosedError):
            await first

    asyncio.run(work())
    assert not persistence.health_check()


# --- not on every backend -------------------------------------------------------------------------


def test_the_sqlite_backend_creates_its_file_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "storage.db"

    async def work() -> None:
        storage = SQLiteStorageBackend(db_path=path, enable_fts=True)
        assert storage.capabilities.search_text
        assert not path.exists()
        await storage.create_run("run", "agent")
        assert storage.capabilities.search_text
        await storage.close()

    asyncio.run(work())
    with SQLitePersistence(path, read_only=True) as persistence:
        assert persistence.get_agent_run("run") is not None


def test_without_full_text_search_it_cannot_search(tmp_path: Path) -> None:
    async def work() -> None:
        storage = SQLiteStorageBackend(db_path=tmp_path / "storage.db", enable_fts=False)
        await storage.initialize()
        assert not storage.capabilities.search_text
        with pytest.raises(UnsupportedError):
            await storage.search_text("anything")
        await storage.close()

    asyncio.run(work())


def test_the_environment_names_the_one_backend_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURIO_DATABASE_URL", f"sqlite:///{tmp_path}/first.db")

    async def work() -> None:
        first, same = await asyncio.gather(get_storage_backend(), get_storage_backend())
        assert first is same
        await first.create_run("run", "agent")
        await first.close()
        monkeypatch.setenv("CURIO_DATABASE_URL", f"sqlite:///{tmp_path}/second.db")
        second = await get_storage_backend()
        assert await second.list_runs() == []
        await close_storage_backend()
        await close_storage_backend()

    asyncio.run(work())
    assert (tmp_path / "first.db").exists()


class DictBackend(StorageBackend):
    """A backend as a user would write it."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []

    @property
    def capabilities(self) -> StorageCapabilities:
        return StorageCapabilities(append_event=True, search_text=True, vector_search=False)

    async def initialize(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def create_run(self, run_id: str, agent_slug: str, *args: Any, **kwargs: Any) -> None:
        self.runs[run_id] = {"run_id": run_id, "agent_slug": agent_slug, **kwargs}

    async def append_event(
        self, run_id: str, agent_slug: str, event_type: str, *args: Any, **kwargs: Any
    ) -> None:
        self.events.append({"run_id": run_id, "type": event_type, **kwargs})

    async def update_run(self, run_id: str, *args: Any, **kwargs: Any) -> None:
        self.runs[run_id] |= kwargs

    async def get_run(self, run_id: str) -> dict[str, Any] | None:
        return self.runs.get(run_id)

    async def list_runs(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return list(self.runs.values())

    async def get_events(
        self, run_id: str, *args: Any, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        for event in self.events:
            if event["run_id"] == run_id:
                yield event

    async def search_text(self, query: str, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return [event for event in self.events if query in event["message"]]


def test_users_can_subclass_the_backend() -> None:
    async def work() -> None:
        storage: StorageBackend = DictBackend()
        await storage.initialize()
        await storage.create_run("run", "agent")
        await storage.append_event("run", "agent", "log", NOON, message="hello")
        assert [event["type"] async for event in storage.get_events("run")] == ["log"]
        assert len(await storage.search_text("hell")) == 1
        assert storage.capabilities == StorageCapabilities(search_text=True)
        with pytest.raises(NotImplementedError):
            await storage.query_metrics("m")
        with pytest.raises(NotImplementedError):
            await storage.get_approval_ticket("t")

    asyncio.run(work())


def test_an_incomplete_backend_cannot_be_instantiated() -> None:
    class Half(StorageBackend):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


def test_our_methods_have_the_same_names_and_docstrings() -> None:
    for name, member in vars(StorageBackend).items():
        if inspect.isfunction(member):
            theirs = list(inspect.signature(member).parameters.values())
            ours = list(inspect.signature(getattr(CurioStorageBackend, name)).parameters.values())
            assert ours[: len(theirs)] == theirs, name
    for name in agdd.__all__:
        assert inspect.getdoc(getattr(agdd, name)), name
