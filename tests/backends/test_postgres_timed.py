"""The `timed` layout: partitions by month, made ahead, in which nothing is lost or twice."""

from __future__ import annotations

import re
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConfigurationError,
    ConflictError,
    HealthCheck,
    PostgresPersistence,
    RetentionPolicy,
    SchemaMismatchError,
    connect,
    copy_records,
)
from curio_persistence.backends.postgres import parted, timed
from curio_persistence.backends.postgres.partitions import month_of
from curio_persistence.backends.sql import migrations
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter
from curio_persistence.tables import EVENTS, USAGE
from tests.backends.conftest import Ask, Open

ROOT = Path(__file__).parents[2]
YEAR_1, YEAR_9999 = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def at(year: int, month: int, day: int = 15) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def it_is(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Let partitions be made as if it were another time."""
    monkeypatch.setattr(timed, "utc_now", lambda: moment)


def store(persistence: PostgresPersistence, *times: datetime) -> None:
    for number, moment in enumerate(times):
        persistence.log_agent_run_event(
            AgentRunEvent("a", "run", timestamp=moment, data=number, event_id=f"{moment:%Y-%m-%d}")
        )
        persistence.log_llm_usage(AgentLLMUsage("a", "run", created_at=moment))


def rows_of(ask: Ask, schema: str, table: str) -> dict[str, int]:
    """Return the number of rows of each partition, but of those without any."""
    found = ask(
        f"SELECT tableoid::regclass::text, count(*) FROM {schema}.{table} GROUP BY tableoid"
    )
    return {name.rpartition(f"{table}_")[2]: count for name, count in found}


def partitions(ask: Ask, schema: str, table: str = "agent_run_events") -> list[str]:
    found = ask(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE inhparent = %s::regclass ORDER BY 1",
        f"{schema}.{table}",
    )
    return [name.removeprefix(f"{table}_") for (name,) in found]


def run_with_psql(dsn: str, statements: str) -> None:
    with closing(psycopg2.connect(dsn)) as other, other, other.cursor() as cursor:
        cursor.execute(statements)


def partitions_check(persistence: PostgresPersistence) -> HealthCheck:
    [found] = [each for each in persistence.diagnose() if each.name == "partitions"]
    return found


def test_months_are_made_ahead(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    open_postgres(layout="timed")
    for table in "agent_run_events", "agent_llm_usage":
        assert partitions(ask, schema_name, table) == [
            *("2026_11", "2026_12", "2027_01", "2027_02", "early", "late")
        ]
    it_is(monkeypatch, at(2027, 1, 31))
    open_postgres()
    for table in "agent_run_events", "agent_llm_usage":
        assert partitions(ask, schema_name, table)[3:6] == ["2027_02", "2027_03", "2027_04"]


def test_every_time_is_stored_and_found_in_order(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    times = [YEAR_1, at(1999, 5), at(2026, 11), at(2026, 12), at(2031, 1), YEAR_9999]
    store(persistence, *reversed(times))
    for table in "agent_run_events", "agent_llm_usage":
        assert rows_of(ask, schema_name, table) == {
            "early": 2, "2026_11": 1, "2026_12": 1, "late": 2
        }  # fmt: skip
    assert [event.timestamp for event in persistence.get_agent_run_events("run")] == times
    newest = [each.created_at for each in persistence.get_llm_usage(run_id="run")]
    assert newest == times[::-1]


def test_pages_from_the_newest_on_read_the_last_months_before_others(
    open_postgres: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    monkeypatch.setattr(parted, "utc_now", lambda: at(2026, 11, 20))
    persistence = open_postgres(layout="timed")
    persistence._store.prepare_times(at(2025, 1))
    months = [(2025, month) for month in range(1, 13)] + [(2026, month) for month in range(1, 12)]
    times = [YEAR_1, at(1999, 5), *(at(*each, day) for each in months for day in (1, 2))]
    times += [at(2027, 1), at(2031, 1), at(2031, 2), YEAR_9999]
    store(persistence, *times)
    asked = dict[str, int]()
    read = persistence._store._read

    def explained(sql: str, params: tuple[object, ...]) -> list[tuple[object, ...]]:
        if "LIMIT" in sql and "agent_run_events" in sql:
            plan = "\n".join(line for (line,) in read(f"EXPLAIN {sql}", params))
            asked[plan] = len({*re.findall(r"agent_run_events_(\d{4}_\d\d|late|early)\b", plan)})
        return read(sql, params)

    monkeypatch.setattr(persistence._store, "_read", explained)
    for filters in ({}, {"agent_id": "a"}, {"until": at(2031, 2)}, {"until": at(2025, 7)}):
        wanted = sorted(t for t in times if t < filters.get("until", at(9999, 12, 31)))[::-1]
        for query in persistence.query_events, persistence.query_llm_usage:
            found, cursor = list[datetime](), None
            while cursor or not found:
                page = query(**filters, limit=3, cursor=cursor)
                found += [getattr(each, "timestamp", None) or each.created_at for each in page]
                cursor = page.next_cursor
            assert found == wanted
    asked.clear()
    first = [*persistence.query_events(limit=3)]
    assert [*asked.values()] == [6]  # Two months, three ahead, and the late ones.
    asked.clear()
    assert len(persistence.query_events(limit=3, agent_id="nobody")) == 0
    assert sorted(asked.values())[0] == 6
    asked.clear()
    assert [*persistence.query_events(limit=3, run_id="run")] == first
    assert len(asked) == 1


def test_rows_of_late_times_move_into_their_month_when_it_is_made(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    times = [at(2026, 12), at(2027, 3), at(2027, 4), at(2027, 9)]
    store(persistence, *times)
    before = persistence.get_agent_run_events("run")
    it_is(monkeypatch, at(2027, 1))
    open_postgres()
    for table in "agent_run_events", "agent_llm_usage":
        assert rows_of(ask, schema_name, table) == {
            "2026_12": 1, "2027_03": 1, "2027_04": 1, "late": 1
        }  # fmt: skip
    assert persistence.get_agent_run_events("run") == before
    store(persistence, *times)
    assert persistence.get_agent_run_events("run") == before
    assert persistence.delete_agent_run("run")
    assert ask(f"SELECT count(*) FROM {schema_name}.agent_run_event_ids") == [(0,)]


def test_months_of_the_past_are_made_for_old_records(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    monkeypatch.setattr(timed, "_MOST", 12)
    persistence = open_postgres(layout="timed")
    store(persistence, at(1950, 1), at(2026, 9))
    persistence._store.prepare_times(at(2026, 8, 1))
    assert rows_of(ask, schema_name, "agent_run_events") == {"early": 1, "2026_09": 1}
    assert partitions(ask, schema_name)[:2] == ["2026_08", "2026_09"]
    persistence._store.prepare_times(YEAR_1)
    assert len(partitions(ask, schema_name)) == 12 + 1 + timed.AHEAD + 2
    assert len(persistence.get_agent_run_events("run")) == 2


def test_a_clock_far_ahead_makes_a_bounded_number_of_months(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    monkeypatch.setattr(timed, "_MOST", 12)
    open_postgres(layout="timed")
    it_is(monkeypatch, at(9999, 12))
    persistence = open_postgres()
    assert len(partitions(ask, schema_name)) < 20
    store(persistence, at(2026, 11), at(9999, 12))
    assert len(persistence.get_agent_run_events("run")) == 2


def test_months_are_not_made_while_another_program_uses_the_table(
    open_postgres: Open, ask: Ask, dsn: str, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    it_is(monkeypatch, at(2026, 12))
    monkeypatch.setattr(timed, "_PAUSE", 0.1)
    with closing(psycopg2.connect(dsn)) as other, other.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {schema_name}.agent_run_events")
        open_postgres()  # Does not fail, and does not wait for long.
        assert "2027_03" not in partitions(ask, schema_name)
        store(persistence, at(2027, 3))
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        persistence._store.prepare_times()
        timer.join()
    assert rows_of(ask, schema_name, "agent_run_events") == {"2027_03": 1}


def test_the_layout_is_found_when_a_database_is_opened(open_postgres: Open) -> None:
    open_postgres(layout="timed").close()
    persistence = open_postgres()
    assert persistence._store.is_timed
    assert open_postgres(read_only=True, layout="timed")._store.is_timed
    with pytest.raises(SchemaMismatchError, match="has the timed layout"):
        open_postgres(layout="plain")


def test_a_plain_database_is_not_opened_as_timed(open_postgres: Open) -> None:
    store(open_postgres(), at(2026, 11))
    with pytest.raises(SchemaMismatchError, match=r"copy .*layout=timed") as refused:
        open_postgres(layout="timed")
    assert (refused.value.found, refused.value.wanted) == ("plain", "timed")
    assert len(open_postgres().get_agent_run_events("run")) == 1


def test_a_url_names_the_layout(dsn: str, schema_name: str) -> None:
    with connect(f"{dsn}&schema={schema_name}&layout=timed") as persistence:
        assert persistence._store.is_timed
    with pytest.raises(ConfigurationError, match='"timed" or "timescale"'):
        connect(f"{dsn}&schema={schema_name}&layout=daily")


def test_programs_that_create_the_tables_at_once_create_them_once(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    opened, failed = [], []

    def open_it() -> None:
        try:
            opened.append(open_postgres(layout="timed")._store.is_timed)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (opened, failed) == ([True] * 4, [])
    assert len(partitions(ask, schema_name)) == timed.AHEAD + 3


_COLUMNS = (
    "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, "
    "pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a "
    "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "WHERE a.attrelid = %s::regclass AND a.attnum > 0 ORDER BY a.attnum"
)
_INDEXES = (
    "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c "
    "ON c.oid = i.indexrelid WHERE i.indrelid = %s::regclass AND NOT i.indisprimary"
)


def test_both_layouts_have_the_same_columns_indexes_and_views(
    dsn: str, ask: Ask, schema_name: str, open_postgres: Open
) -> None:
    plain = f"{schema_name}_plain"
    open_postgres(layout="timed")
    open_postgres(schema=plain)
    try:
        for table in EVENTS, USAGE:
            here, there = f"{schema_name}.{table.name}", f"{plain}.{table.name}"
            assert ask(_COLUMNS, here) == ask(_COLUMNS, there)
            assert {name: text.replace("ON ONLY", "ON") for name, text in ask(_INDEXES, here)} == {
                name: text.replace("UNIQUE ", "").replace(plain, schema_name)
                for name, text in ask(_INDEXES, there)
            }
        views = "SELECT viewname FROM pg_views WHERE schemaname = %s ORDER BY 1"
        assert ask(views, schema_name) == ask(views, plain)
        steps = "SELECT version, name, checksum FROM {}.schema_migrations ORDER BY 1"
        assert ask(steps.format(schema_name)) == ask(steps.format(plain))
    finally:
        ask(f"DROP SCHEMA {plain} CASCADE")


def test_every_unique_value_of_a_plain_table_is_unique_here(open_postgres: Open) -> None:
    """Also for rows of different months."""
    rows = open_postgres(layout="timed")._store
    open_postgres().create_agent_run(AgentRun("a", "run"))
    for key in EVENTS.unique:
        row = EVENTS.encode(AgentRunEvent("a", "run", created_at=at(2026, 11)))
        row |= {name: 1 if EVENTS.kind_of(name) == "integer" else "run" for name in key}
        rows.insert(EVENTS, {**row, "timestamp": encode_time(at(2026, 11))})
        for moment in at(2026, 11, 20), at(2027, 1), at(1990, 1):
            again = {**row, "timestamp": encode_time(moment)}
            with pytest.raises(ConflictError):
                rows.insert(EVENTS, again)
            with pytest.raises(ConflictError):
                rows.insert_many(EVENTS, [again])
    assert rows.count(EVENTS) == len(EVENTS.unique)
    call = USAGE.encode(AgentLLMUsage("a", None, event_id="one", created_at=at(2026, 11)))
    rows.insert(USAGE, call)
    with pytest.raises(ConflictError):
        rows.insert(USAGE, {**call, "created_at": encode_time(at(1990, 1))})


def test_a_deleted_name_may_come_again(open_postgres: Open, ask: Ask, schema_name: str) -> None:
    persistence = open_postgres(layout="timed")
    for _ in range(2):
        store(persistence, at(2026, 11), at(2027, 1), YEAR_1)
        persistence.log_llm_usage(AgentLLMUsage("a", None, event_id="call"))
        assert ask(f"SELECT count(*) FROM {schema_name}.agent_run_event_ids") == [(3,)]
        assert persistence.delete_agent_run("run")
        persistence._store.delete(USAGE, (Filter("event_id", "=", "call"),))
    for registry in "agent_run_event_ids", "agent_llm_usage_ids":
        assert ask(f"SELECT count(*) FROM {schema_name}.{registry}") == [(0,)]


def test_events_that_move_to_another_run_keep_their_positions(open_postgres: Open) -> None:
    persistence = open_postgres(layout="timed", chain=True)
    store(persistence, at(2026, 11))
    persistence.create_agent_run(AgentRun("a", "other"))
    rows = persistence._store
    rows.update(EVENTS, (Filter("run_id", "=", "run"),), {"run_id": "other"})
    moment = at(2027, 1)
    event = EVENTS.encode(AgentRunEvent("a", "run", timestamp=moment, created_at=moment))
    event["chain_position"] = 1
    with pytest.raises(ConflictError):
        rows.insert(EVENTS, {**event, "run_id": "other"})
    rows.insert(EVENTS, {**event, "run_id": "run"})


def test_a_schema_that_was_renamed_works_on(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    open_postgres(layout="timed").close()
    other = f"{schema_name}_renamed"
    ask(f"ALTER SCHEMA {schema_name} RENAME TO {other}")
    try:
        persistence = open_postgres(schema=other)
        store(persistence, at(2026, 11), at(2026, 12))
        with pytest.raises(ConflictError):
            persistence.log_agent_run_events(
                [AgentRunEvent("a", "run", event_id="2026-12-15", data="other")],
                on_conflict="error",
            )
        assert persistence.delete_agent_run("run")
    finally:
        persistence.close()
        ask(f"DROP SCHEMA {other} CASCADE")


def test_the_payload_index_is_built_for_every_month(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    store(persistence, at(2026, 11), YEAR_1)
    assert persistence.create_payload_index()
    assert not persistence.create_payload_index()
    it_is(monkeypatch, at(2026, 12))
    open_postgres()
    indexed = ask(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = %s::regclass",
        f"{schema_name}.agent_run_events_payload",
    )
    assert indexed == [(len(partitions(ask, schema_name)),)]
    assert ask(
        "SELECT bool_and(indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE c.relnamespace = %s::regnamespace",
        schema_name,
    ) == [(True,)]


INDEX = migrations.Migration(
    902,
    "scratch_index",
    "additive",
    "c2",
    "-- additive, concurrent: an index instead of others.\n"
    "CREATE INDEX scratch_by_type ON {schema}.agent_run_events (event_type, data)\n"
    "    WHERE data IS NOT NULL;\n"
    "DROP INDEX {schema}.agent_run_events_metrics;\n"
    "DROP INDEX {schema}.agent_runs_by_parent;\n",
)
COLUMN = migrations.Migration(
    901,
    "scratch_column",
    "additive",
    "c1",
    "-- additive: a column.\nALTER TABLE {schema}.agent_run_events ADD COLUMN scratch TEXT;\n",
)


def test_steps_of_the_schema_are_those_of_the_plain_layout(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    store(persistence, at(2026, 11), at(2026, 12), at(2027, 3))
    steps = (*migrations.migrations("postgres"), COLUMN, INDEX)
    monkeypatch.setattr(migrations, "migrations", lambda dialect: steps)
    it_is(monkeypatch, at(2026, 12))
    persistence = open_postgres()
    assert persistence.schema_version() == 902
    names = {name for (name, _) in ask(_INDEXES, f"{schema_name}.agent_run_events")}
    assert "scratch_by_type" in names
    assert "agent_run_events_metrics" not in names
    for part in partitions(ask, schema_name):
        theirs = str(ask(_INDEXES, f"{schema_name}.agent_run_events_{part}"))
        assert "(event_type, data)" in theirs
        assert "metric_name" not in theirs
    assert rows_of(ask, schema_name, "agent_run_events") == {
        "2026_11": 1, "2026_12": 1, "2027_03": 1
    }  # fmt: skip
    store(persistence, at(2027, 5))


def test_a_month_is_counted_in_utc() -> None:
    east = datetime.fromisoformat("2027-01-01T00:30:00+01:00")
    assert month_of(east) == month_of(at(2026, 12)) == month_of(at(2027, 1)) - 1
    assert month_of(east + timedelta(hours=1)) == month_of(at(2027, 1))


def test_a_check_up_tells_of_the_months(
    open_postgres: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    store(persistence, at(1999, 1), at(2026, 12))

    level, message, _ = partitions_check(persistence)[1:]
    assert level == "ok"
    assert message.startswith("events by month from 2026-11 to 2027-02, most in 2026-12 (")
    assert message.endswith("after them 0.0 MB")
    it_is(monkeypatch, at(2027, 2))
    level, message, _ = partitions_check(persistence)[1:]
    assert (level, message[:40]) == ("warning", "the last month of events is 2027-02: lat")


@pytest.mark.parametrize(
    "gone",
    [
        ("agent_run_events_2026_11",),
        ("agent_run_events_2027_02", "agent_run_events_late"),
        ("agent_llm_usage_early", "agent_llm_usage_2026_10", "agent_run_events_2026_10"),
    ],
    ids=str,
)
def test_months_that_another_program_dropped_are_made_anew_by_what_a_check_up_says(
    open_postgres: Open,
    dsn: str,
    schema_name: str,
    gone: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    persistence._store.prepare_times(at(2026, 9))
    times = [at(1999, 1), at(2026, 10), at(2026, 11), at(2027, 2), at(2031, 1)]
    store(persistence, *times)
    tables = ", ".join(f"{schema_name}.{name}" for name in gone)
    run_with_psql(dsn, f"DROP TABLE {tables}")
    found = partitions_check(persistence)
    assert found.level == "error"
    for name in gone:
        assert found.message.count(name[:15]) == 1
    psql, _, statements = found.advice.partition(": ")
    assert psql == "With psql"
    run_with_psql(dsn, statements)
    assert partitions_check(persistence).level == "ok"
    store(persistence, *times)  # Those that are still there are known by their names.
    assert [event.timestamp for event in persistence.get_agent_run_events("run")] == times


def test_a_month_that_another_program_detached_is_attached_by_what_a_check_up_says(
    open_postgres: Open, dsn: str, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it_is(monkeypatch, at(2026, 11))
    persistence = open_postgres(layout="timed")
    store(persistence, at(2026, 11))
    parent, part = (f"{schema_name}.agent_run_events{end}" for end in ("", "_2026_11"))
    run_with_psql(dsn, f"ALTER TABLE {parent} DETACH PARTITION {part}")
    assert persistence.count_events() == 0
    run_with_psql(dsn, partitions_check(persistence).advice.partition(": ")[2])
    assert persistence.count_events() == 1
    assert partitions_check(persistence).level == "ok"


def test_an_existing_database_is_copied_and_takes_the_name(
    dsn: str, open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/scaling.md says: copy, copy again what came meanwhile, swap the names."""
    it_is(monkeypatch, at(2026, 11))
    plain = open_postgres()
    monkeypatch.setattr(plain.clock, "now", lambda: at(2026, 11))
    store(plain, YEAR_1, at(2026, 8), at(2026, 9), at(2026, 11), at(2031, 1))
    plain.lifecycle.set_policy(RetentionPolicy("old", "1000d"))
    old = AgentRun("a", "expired", status="completed", finished_at=at(2020, 1))
    plain.create_agent_run(old)
    assert plain.lifecycle.expire(check_clock=False).runs == 1
    new, aside = f"{schema_name}_timed", f"{schema_name}_plain"
    timed_one = open_postgres(schema=new, layout="timed")
    report = copy_records(plain, timed_one)
    assert (report.ok, report.kept_ids, report.new_events) == (True, True, 5)
    store(plain, at(2026, 10), at(2026, 12))
    report = copy_records(plain, timed_one)
    assert (report.ok, report.kept_ids, report.new_events) == (True, True, 2)
    kept = plain.get_agent_run_events("run"), plain.get_llm_usage(limit=None)
    stats = plain.get_agent_run_stats()
    plain.close()
    timed_one.close()
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    swap = page[page.index("BEGIN;") : page.index("COMMIT;")] + "COMMIT"
    ask(swap.replace("agent_sdk", schema_name))
    try:
        persistence = open_postgres()
        assert persistence.lifecycle.policies() == [RetentionPolicy("old", "1000d")]
        persistence.lifecycle.hold("court", run_id="run")
        assert persistence._store.is_timed
        assert partitions(ask, schema_name)[0] == "2026_08"
        assert rows_of(ask, schema_name, "agent_run_events") == {
            "early": 1, "2026_08": 1, "2026_09": 1, "2026_10": 1, "2026_11": 1, "2026_12": 1,
            "late": 1,
        }  # fmt: skip
        now = persistence.get_agent_run_events("run"), persistence.get_llm_usage(limit=None)
        assert (now, persistence.get_agent_run_stats()) == (kept, stats)
        store(persistence, at(2026, 12))  # Which is known.
        assert len(persistence.get_agent_run_events("run")) == 7
        event = AgentRunEvent("a", "run", event_type="new")
        persistence.log_agent_run_event(event)
        assert event.id is not None
        assert event.id > max(each.id or 0 for each in kept[0])
    finally:
        ask(f"DROP SCHEMA {aside} CASCADE")
