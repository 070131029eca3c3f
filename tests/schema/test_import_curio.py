"""The import of an original Curio's database: every row, every id."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    BusyError,
    CorruptDatabaseError,
    CurioImportReport,
    InvalidValueError,
    Persistence,
    SchemaMismatchError,
    aio,
    import_curio,
)
from curio_persistence.backends.sql.legacy import Original
from curio_persistence.tables import USAGE as USAGE_TABLE
from tests.schema import original
from tests.schema.conftest import Database, Make
from tests.schema.original import EVENT, RUN, USAGE
from tests.support.loops import HeldProgress

pytestmark = pytest.mark.parametrize("make", ["sqlite", "postgres18"], indirect=True)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def everything(persistence: Persistence) -> tuple[list[Any], list[Any], list[Any]]:
    return (
        list(persistence.iter_agent_runs(order="oldest")),
        list(persistence.iter_agent_run_events(order="oldest")),
        list(persistence.iter_llm_usage(order="oldest")),
    )


def test_every_row_has_its_id_and_its_values(database: Database) -> None:
    original.make(database)
    report = import_curio(database.url, timezone="Europe/Paris")
    with database.open() as persistence:
        runs, events, usage = everything(persistence)
        stats = persistence.get_agent_run_stats()
    names = set(RUN) - {"started_at", "finished_at", "created_at", "updated_at"}
    assert {name: getattr(runs[0], name) for name in names} == {name: RUN[name] for name in names}
    assert runs[0].started_at == at("2024-05-01T08:00:00.25")
    assert runs[0].finished_at == at("2024-05-01T08:00:07")
    assert runs[0].created_at == at("2024-05-01T08:00:00.3")
    assert runs[0].updated_at == at("2024-05-01T08:00:07.1")
    assert (events[0].id, events[0].data) == (11, EVENT["data"])
    assert events[0].timestamp == at("2024-05-01T08:00:01.5")
    assert events[0].created_at == at("2024-05-01T08:00:01.6")
    assert (usage[0].id, usage[0].prompt, usage[0].latency_ms) == (21, "Which room?", 420)
    assert usage[0].created_at == at("2024-05-01T08:00:02")
    assert list(map(len, (runs, events, usage))) == [1, 1, 1]
    assert (report.runs, report.events, report.usage, report.stubs) == (1, 1, 1, 0)
    assert (report.unreadable, report.ambiguous, report.missing) == (0, 0, 0)
    # Derived values, computed when a row is written, are there too.
    assert str(stats["total_cost_usd"]) == "0.000300"
    assert stats["tool_metrics"]["search"]["total_latency_ms"] == 12


def test_an_import_leaves_a_line_in_the_audit_log(database: Database) -> None:
    original.make(database)
    import_curio(database.url, dry_run=True)
    report = import_curio(database.url)
    assert import_curio(database.url).already
    with database.open() as persistence:
        [line] = persistence.audit.query()
    assert (line.action, line.resource) == ("import", report.kept_in)
    about = {"events": 1, "kind": "curio", "runs": 1, "usage": 1}
    assert line.get_metadata_dict() == about


def test_an_import_can_be_awaited_and_cancelled(database: Database) -> None:
    events = [EVENT | {"id": number} for number in range(1, 3_001)]
    original.make(database, events=events)
    before, held = database.state(), HeldProgress()

    async def main() -> CurioImportReport:
        await held.cancel(aio.import_curio(database.url, timezone="UTC", progress=held))
        assert len(held.told) == 1
        assert database.state() == before
        return await aio.import_curio(database.url, timezone="UTC")

    assert asyncio.run(main()).events == len(events)


def test_the_tables_equal_those_of_a_new_database(make: Make) -> None:
    fresh, database = make(), make()
    fresh.open().close()
    original.make(database)
    import_curio(database.url, timezone="UTC")
    ours = {row for row in database.catalog() if not _is_old(row)}
    assert set(fresh.catalog()) - ours == set()
    assert [row for row in ours - set(fresh.catalog()) if "an_original_curio" not in str(row)] == []


def _is_old(row: tuple[Any, ...]) -> bool:
    return any(
        name in str(value)
        for value in row
        for name in ("_before_import", "audit_logs", "cost_entries", "sqlite_sequence", "idx_")
    )


def test_records_written_afterwards_get_new_ids(database: Database) -> None:
    original.make(database)
    import_curio(database.url)
    with database.open() as persistence:
        run, event = AgentRun("planner", "run-2"), AgentRunEvent("planner", "run-2")
        persistence.create_agent_run(run)
        persistence.log_agent_run_events([event])
        usage = AgentLLMUsage("planner", "run-2")
        persistence.log_llm_usage(usage)
    assert (run.id, event.id, usage.id) == (4, 12, 22)


def test_other_tables_are_not_changed(database: Database) -> None:
    original.make(database)
    import_curio(database.url)
    assert database.ask("SELECT run_id, action, hash FROM {schema}.audit_logs") == [
        ("run-1", "started", "f00")
    ]
    assert database.ask("SELECT run_id, cost_usd FROM {schema}.cost_entries") == [("run-1", 0.25)]


def test_the_constructor_names_the_command(database: Database) -> None:
    original.make(database)
    for read_only in (False, True):
        with pytest.raises(SchemaMismatchError, match="an original Curio") as caught:
            database.open(read_only=read_only)
        assert (caught.value.command or "").startswith("curio-persistence import curio ")
        assert str(caught.value).endswith(str(caught.value.command))


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_current_database_is_not_changed(database: Database, dry_run: bool) -> None:
    original.make(database)
    import_curio(database.url)
    with database.open() as persistence:
        before = everything(persistence)
    state = database.state()
    report = import_curio(database.url, dry_run=dry_run)
    assert (report.already, report.runs, report.kept_in) == (True, 0, None)
    assert database.state() == state
    with database.open() as persistence:
        assert everything(persistence) == before


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE {schema}.users (name TEXT)",
        "CREATE TABLE {schema}.agent_runs (what TEXT)",
        "CREATE TABLE {schema}.agent_runs (id INTEGER, agent_id TEXT, run_id TEXT, event_id TEXT, "
        "session_id TEXT)",
    ],
    ids=["others", "of that name", "ours without its notes"],
)
def test_a_database_without_old_or_new_tables_is_refused_and_not_changed(
    database: Database, script: str
) -> None:
    database.run(script)
    before = database.state()
    with pytest.raises(SchemaMismatchError, match="no tables of an original Curio"):
        import_curio(database.url)
    assert database.state() == before


def test_a_dry_run_reports_the_changes_and_makes_none(database: Database) -> None:
    stray = EVENT | {"id": 12, "run_id": "gone"}
    original.make(database, events=[EVENT, stray])
    before = database.state()
    seen: list[tuple[int, int | None]] = []
    looked = import_curio(
        database.url,
        timezone="Europe/Paris",
        dry_run=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert database.state() == before
    assert seen[-1] == (4, 4)
    done = import_curio(database.url, timezone="Europe/Paris")
    assert looked.dry_run
    assert looked.kept_in is None
    counts = ("runs", "events", "usage", "stubs", "ambiguous", "missing", "unreadable")
    assert [getattr(looked, c) for c in counts] == [getattr(done, c) for c in counts]


def test_events_of_unknown_runs_get_stub_runs(database: Database) -> None:
    strays = [
        EVENT | {"id": 30 + n, "run_id": f"stray-{n % 3}", "agent_id": f"agent-{n % 3}"}
        for n in range(9)
    ]
    original.make(database, events=[EVENT, *strays])
    report = import_curio(database.url, timezone="UTC")
    assert (report.runs, report.stubs, report.events) == (1, 3, 10)
    with database.open() as persistence:
        stub = persistence.get_agent_run("stray-1")
        assert stub is not None
        assert (stub.agent_id, stub.status, stub.id) == ("agent-1", "running", 5)
        assert stub.started_at == at("2024-05-01T10:00:01.5")
        assert len(persistence.get_agent_run_events("stray-1")) == 3
        # It is an ordinary stub: its run may still be created.
        persistence.create_agent_run(AgentRun("agent-1", "stray-1", objective="Late"))


def test_more_rows_than_one_batch_are_copied(database: Database) -> None:
    events = [EVENT | {"id": 1 + 2 * n, "run_id": f"run-{n % 700}"} for n in range(2203)]
    original.make(database, runs=[], usage=[], events=events)
    seen: list[int] = []
    report = import_curio(database.url, progress=lambda done, total: seen.append(done))
    assert (report.events, report.stubs) == (2203, 700)
    assert seen == [2000, 2203]
    with database.open() as persistence:
        stored = persistence.iter_agent_run_events()
        assert sorted(event.id or 0 for event in stored) == [event["id"] for event in events]


# --- times ------------------------------------------------------------------------------------


@contextmanager
def living_in(zone: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


def times_of_events(database: Database) -> list[datetime | None]:
    with database.open() as persistence:
        events = persistence.iter_agent_run_events()
        return [event.timestamp for event in sorted(events, key=lambda event: event.id or 0)]


def with_times(database: Database, *texts: str | None) -> None:
    events = [EVENT | {"id": n, "timestamp": text} for n, text in enumerate(texts, start=1)]
    original.make(database, events=events, usage=[], runs=[RUN])


def test_the_default_zone_is_this_machines_and_the_report_says_so(database: Database) -> None:
    with_times(database, "2024-01-15 12:00:00", "2024-07-15 12:00:00")
    with living_in("America/New_York"):
        report = import_curio(database.url)
    assert (report.timezone, report.timezone_assumed) == ("America/New_York", True)
    assert times_of_events(database) == [at("2024-01-15T17:00"), at("2024-07-15T16:00")]


def test_a_zone_may_be_a_name_or_an_object(make: Make) -> None:
    for zone in ("+05:45", "Asia/Kathmandu", ZoneInfo("Asia/Kathmandu")):
        database = make()
        with_times(database, "2024-01-15 12:00:00.000001", "2024-01-15 12:00:30.000001")
        if zone == "+05:45":
            zone = timezone(timedelta(hours=5, minutes=45))
        report = import_curio(database.url, timezone=zone)
        assert not report.timezone_assumed
        assert times_of_events(database) == [
            at("2024-01-15T06:15:00.000001"),
            at("2024-01-15T06:15:30.000001"),
        ]


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../../etc/passwd", "", "\0"])
def test_an_unknown_zone_is_refused_before_anything_is_done(database: Database, zone: str) -> None:
    original.make(database)
    before = database.state()
    with pytest.raises(InvalidValueError, match="Use a name such as Europe/Paris") as caught:
        import_curio(database.url, timezone=zone)
    assert caught.value.field == "timezone"
    assert database.state() == before


def test_a_skipped_hour_is_read_as_if_the_clock_had_not_been_set(
    database: Database,
) -> None:
    with_times(database, "2024-03-31 01:59:59", "2024-03-31 02:30:00", "2024-03-31 03:30:00")
    report = import_curio(database.url, timezone="Europe/Paris")
    assert (report.missing, report.ambiguous) == (1, 0)
    assert times_of_events(database) == [
        at("2024-03-31T00:59:59"),
        at("2024-03-31T01:30:00"),
        at("2024-03-31T01:30:00"),
    ]


def test_a_repeated_hour_is_resolved_by_the_order_of_storing(
    database: Database,
) -> None:
    with_times(
        database,
        "2024-10-27 02:15:00",
        "2024-10-27 02:55:00",
        "2024-10-27 02:54:59.999999",
        "2024-10-27 02:05:00",
        "2024-10-27 02:50:00",
        "2024-10-27 03:00:00",
    )
    report = import_curio(database.url, timezone="Europe/Paris")
    assert (report.missing, report.ambiguous) == (0, 5)
    assert times_of_events(database) == [
        at("2024-10-27T00:15:00"),
        at("2024-10-27T00:55:00"),
        at("2024-10-27T00:54:59.999999"),
        at("2024-10-27T01:05:00"),
        at("2024-10-27T01:50:00"),
        at("2024-10-27T02:00:00"),
    ]


def test_a_missing_time_is_replaced_by_another_of_the_row(
    database: Database,
) -> None:
    undated = {"created_at": None, "updated_at": None}
    original.make(
        database,
        runs=[RUN | undated, {"agent_id": "a", "run_id": "never"} | undated],
        events=[EVENT | {"timestamp": None}, EVENT | {"id": 12, "created_at": None}],
        usage=[USAGE | {"created_at": None}],
    )
    import_curio(database.url, timezone="UTC")
    with database.open() as persistence:
        runs = {run.run_id: run for run in persistence.iter_agent_runs()}
        events = {event.id: event for event in persistence.iter_agent_run_events()}
        [usage] = persistence.iter_llm_usage()
    assert runs["run-1"].created_at == at("2024-05-01T10:00:00.25")
    assert runs["run-1"].updated_at == at("2024-05-01T10:00:07")
    assert runs["never"].created_at == usage.created_at == at("1970-01-01")
    assert runs["never"].started_at is None
    assert events[11].timestamp == at("2024-05-01T10:00:01.6")
    assert events[12].created_at == at("2024-05-01T10:00:01.5")


# --- values -----------------------------------------------------------------------------------


def test_values_that_new_writes_would_refuse_are_preserved(database: Database) -> None:
    long, empty = "x" * 300, ""
    text = "NUL no, but \ufdd0 and \N{PILE OF POO}"
    original.make(
        database,
        runs=[RUN | {"run_id": long, "agent_id": empty, "status": long, "objective": text}],
        events=[EVENT | {"run_id": long, "event_type": long, "agent_id": empty, "data": "{not"}],
        usage=[USAGE | {"status": empty, "model": long, "run_id": empty}],
    )
    report = import_curio(database.url)
    assert (report.stubs, report.unreadable) == (0, 0)
    with database.open() as persistence:
        [run], [event], [usage] = everything(persistence)
    assert (run.run_id, run.agent_id, run.status, run.objective) == (long, empty, long, text)
    assert (event.run_id, event.event_type, event.data) == (long, long, "{not")
    assert (usage.status, usage.model, usage.run_id) == (empty, long, empty)


def test_null_becomes_the_default_of_the_column(database: Database) -> None:
    original.make(
        database,
        runs=[{"agent_id": "a", "run_id": "r", "status": None, "total_iterations": None}],
        events=[{"agent_id": "a", "run_id": "r", "timestamp": "2024-05-01"}],
        usage=[{"model": None, "agent_id": None, "latency_ms": None}],
    )
    import_curio(database.url, timezone="UTC")
    with database.open() as persistence:
        [run], [event], [usage] = everything(persistence)
    assert (run.agent_name, run.objective, run.status, run.total_iterations) == ("", "", "", 0)
    assert (event.event_type, event.data, event.level) == ("", None, "info")
    assert event.timestamp == at("2024-05-01")
    assert (usage.model, usage.agent_id, usage.latency_ms, usage.status) == (
        "",
        None,
        None,
        "success",
    )


def test_columns_may_be_missing_and_others_added(database: Database) -> None:
    database.run(
        """
        CREATE TABLE {schema}.agent_runs (
            id INTEGER PRIMARY KEY, run_id TEXT, agent_id TEXT, mood TEXT
        );
        INSERT INTO {schema}.agent_runs VALUES (7, 'run-1', 'planner', 'good');
        """
    )
    report = import_curio(database.url)
    assert (report.runs, report.events, report.left_out) == (1, 0, ("agent_runs.mood",))
    with database.open() as persistence:
        assert [run.id for run in persistence.get_agent_runs()] == [7]
        persistence.log_agent_run_event(AgentRunEvent("planner", "run-1"))


# --- other programs ---------------------------------------------------------------------------


def test_an_old_program_that_continues_to_write_gets_an_error(database: Database) -> None:
    original.make(database)
    import_curio(database.url)
    before = database.state()
    now = {} if database.dialect == "postgres" else {"created_at": "2024-05-02T09:00:00.1"}
    run = {"agent_id": "old", "run_id": "old", "started_at": "2024-05-02 09:00:00"}
    event = {"agent_id": "old", "run_id": "run-1", "timestamp": "2024-05-02 09:00:00"}
    for table, row in (
        ("agent_runs", run),
        ("agent_run_events", event),
        ("agent_llm_usage", {"agent_id": "old", "provider": "acme", "model": "acme-1"}),
    ):
        with pytest.raises(Exception, match="constraint"):
            original.add(database, table, [row | now])
    clock = "CURRENT_TIMESTAMP" if database.dialect == "postgres" else "'2024-05-02T09:00:00.1'"
    with pytest.raises(Exception, match="constraint"):
        database.run(
            "UPDATE {schema}.agent_runs SET finished_at = '2024-05-02 09:00:00', "
            f"status = 'completed', updated_at = {clock} WHERE run_id = 'run-1'"
        )
    assert database.state() == before


def test_an_old_program_that_waits_for_the_import_gets_an_error_too(database: Database) -> None:
    original.make(database)
    begun, told = threading.Event(), []

    def write() -> None:
        begun.wait()
        now = {} if database.dialect == "postgres" else {"created_at": "2024-05-02T09:00:00"}
        try:
            event = {"agent_id": "old", "run_id": "run-1", "timestamp": "2024-05-02 09:00:00"}
            original.add(database, "agent_run_events", [event | now])
        except Exception as error:
            told.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()

    def wait_for_writer(done: int, total: int | None) -> None:
        begun.set()
        writer.join(0.2)

    report = import_curio(database.url, progress=wait_for_writer)
    writer.join()
    assert report.events == 1
    assert "constraint" in told[0]
    with database.open() as persistence:
        assert len(persistence.get_agent_run_events("run-1")) == 1


def test_one_of_two_concurrent_imports_does_the_work(database: Database) -> None:
    original.make(database, events=[EVENT | {"run_id": "stray"}])
    reports: list[CurioImportReport] = []
    told: list[str] = []

    def import_too() -> None:
        try:
            reports.append(import_curio(database.url))
        except BusyError as error:
            told.append(str(error))

    others = [threading.Thread(target=import_too) for _ in range(2)]

    def let_others_begin(done: int, total: int | None) -> None:
        if done == 1:
            for other in others:
                other.start()
        others[0].join(0.2)

    reports.append(import_curio(database.url, progress=let_others_begin))
    for other in others:
        other.join()
    assert [report.events for report in reports if not report.already] == [1]
    assert all("by another process at this moment" in text for text in told)
    with database.open() as persistence:
        persistence.create_agent_run(AgentRun("planner", "stray"))  # It is still a stub.


def test_an_old_program_that_starts_afterwards_does_no_harm(database: Database) -> None:
    """It would create missing tables, of which there are none, and its indexes."""
    original.make(database)
    import_curio(database.url)
    script = original.tables(database.dialect).partition("INSERT")[0]
    script = script.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
    database.run(script.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
    with database.open() as persistence:
        assert [run.run_id for run in persistence.get_agent_runs()] == ["run-1"]


def test_imported_records_are_found_by_search(database: Database) -> None:
    original.make(database)
    import_curio(database.url)
    with database.open() as persistence:
        assert len(persistence.search_text("zimmer")) == 2


def test_imported_records_can_be_updated_and_deleted(database: Database) -> None:
    original.make(database)
    import_curio(database.url)
    with database.open() as persistence:
        run = persistence.get_agent_run("run-1")
        assert run is not None
        run.objective = "It says updated_at = CURRENT_TIMESTAMP"
        persistence.update_agent_run("run-1", run)
        assert persistence.delete_agent_run("run-1")
        assert not persistence.get_agent_run_events("run-1")


def test_rows_that_read_back_differently_stop_the_import_curio(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause may be faulty memory, a faulty disk or a bug of ours."""
    original.make(database)
    before = database.ask("SELECT * FROM {schema}.agent_run_events")
    keep = Original.keep

    def lose(self: Original, table: Any, *rows: Any) -> None:
        keep(self, table, *rows)
        if table is USAGE_TABLE:
            self._write(f"DELETE FROM {self._table(table)}", ())

    def alter(self: Any, table: Any, *rows: Any) -> None:
        insert = self.insert_many

        def insert_altered(*given: Any) -> None:
            insert(*given)
            self._write(f"UPDATE {self._table(table)} SET agent_id = 'altered'", ())

        monkeypatch.setattr(self, "insert_many", insert_altered)
        keep(self, table, *rows)

    for fault, said in ((lose, "has 0 rows and not 1"), (alter, "do not read back")):
        monkeypatch.setattr(Original, "keep", fault)
        with pytest.raises(CorruptDatabaseError, match=f"{said}. Nothing was changed"):
            import_curio(database.url)
    assert database.ask("SELECT * FROM {schema}.agent_run_events") == before
    monkeypatch.undo()
    assert import_curio(database.url).events == 1
