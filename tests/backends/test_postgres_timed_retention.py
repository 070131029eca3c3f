"""Months of the `timed` layout whose runs have all expired are emptied and dropped as a whole."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, PostgresPersistence
from curio_persistence.backends.postgres import timed
from curio_persistence.clock import Clock
from curio_persistence.store.base import Partition
from curio_persistence.tables import EVENTS, TOMBSTONES, USAGE
from tests.backends.conftest import Ask, Open
from tests.support.hands import Hands
from tests.support.meanings import Meanings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def persistence(open_postgres: Open, monkeypatch: pytest.MonkeyPatch) -> PostgresPersistence:
    """A schema with months since January, in which each run has events and model calls."""
    monkeypatch.setattr(timed, "utc_now", lambda: NOW)
    monkeypatch.setattr(timed, "_PAUSE", 0.01)
    clock = Hands()
    clock.put(NOW)
    opened = open_postgres(layout="timed", clock=Clock(clock))
    opened._store.prepare_times(datetime(2026, 1, 1, tzinfo=UTC))
    return opened


def record(persistence: PostgresPersistence, name: str, begin: datetime, days: int = 0) -> None:
    end = begin + timedelta(days=days)
    run = AgentRun("agent", name, status="completed", created_at=begin, updated_at=end)
    run.started_at, run.finished_at = begin, end
    persistence.create_agent_run(run)
    for number, at in enumerate((begin, end)):
        persistence.log_agent_run_event(
            AgentRunEvent(
                *("agent", name), event_type="tool_call", timestamp=at, event_id=f"{name}/{number}",
                data={"tool": "search", "latency_ms": 5},
            )
        )  # fmt: skip
        persistence.log_llm_usage(
            AgentLLMUsage("agent", name, model="m", input_tokens=3, cost_usd=0.5, created_at=at)  # type: ignore[arg-type]
        )


def day(month: int, number: int = 10) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


def sizes(ask: Ask, schema: str, table: str = "agent_run_events") -> dict[str, int]:
    """Return the bytes of each month that has some."""
    found = ask(
        "SELECT c.relname, pg_relation_size(c.oid) FROM pg_inherits i "
        "JOIN pg_class c ON c.oid = i.inhrelid WHERE inhparent = %s::regclass",
        f"{schema}.{table}",
    )
    return {name.removeprefix(f"{table}_"): size for name, size in found if size}


def months(ask: Ask, schema: str) -> list[str]:
    found = ask(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE inhparent = %s::regclass ORDER BY 1",
        f"{schema}.agent_run_events",
    )
    return [name.removeprefix("agent_run_events_") for (name,) in found]


def test_expired_months_are_emptied_and_the_first_ones_dropped(
    persistence: PostgresPersistence, ask: Ask, schema_name: str
) -> None:
    for month in 1, 2, 4, 5, 11:
        record(persistence, f"run-{month}", day(month))
    record(persistence, "long", day(3), days=200)
    persistence.log_llm_usage(AgentLLMUsage("agent", None, created_at=day(2)))
    before = persistence.get_agent_run_stats(), persistence.get_agent_run_stats("agent")
    report = persistence.lifecycle.expire("90d")
    assert (report.runs, report.events, report.usage) == (4, 8, 9)
    after = persistence.get_agent_run_stats(), persistence.get_agent_run_stats("agent")
    assert after == before
    for table in "agent_run_events", "agent_llm_usage":
        assert sizes(ask, schema_name, table).keys() == {"2026_03", "2026_09", "2026_11"}
    assert months(ask, schema_name)[0] == "2026_03"
    assert ask(f"SELECT DISTINCT run_id FROM {schema_name}.agent_run_events ORDER BY 1") == [
        *[("long",), ("run-11",)]
    ]
    names = f"SELECT split_part(event_id, '/', 1) FROM {schema_name}.agent_run_event_ids"
    assert sorted(ask(names)) == [*[("long",)] * 2, *[("run-11",)] * 2]
    buried = persistence._store.select_columns(TOMBSTONES, ("run_id", "reason"))
    assert sorted(buried) == [(f"run-{month}", "expired") for month in (1, 2, 4, 5)]
    # What is older than the first month is stored as early.
    record(persistence, "old", day(1))
    assert {"early", "2026_03"} <= sizes(ask, schema_name).keys()
    assert persistence.lifecycle.expire("90d").events == 2


def test_a_month_with_a_run_that_is_kept_loses_the_rows_of_others(
    persistence: PostgresPersistence, ask: Ask, schema_name: str
) -> None:
    record(persistence, "expired", day(2))
    record(persistence, "held", day(2, 20))
    persistence.lifecycle.hold("court", run_id="held")
    persistence.lifecycle.expire("90d")
    assert [event.run_id for event in persistence.iter_agent_run_events()] == ["held"] * 2
    assert sizes(ask, schema_name)["2026_02"]
    assert persistence.lifecycle.release("court")
    persistence.lifecycle.expire("90d")
    assert sizes(ask, schema_name) == {}


def test_model_calls_without_a_run_keep_their_month_while_a_policy_keeps_them(
    persistence: PostgresPersistence, ask: Ask, schema_name: str
) -> None:
    record(persistence, "expired", day(7))
    persistence.log_llm_usage(AgentLLMUsage("agent", None, created_at=day(8, 29)))
    persistence.log_llm_usage(AgentLLMUsage("agent", None, created_at=day(7, 29)))
    assert persistence.lifecycle.expire("90d").usage == 3
    assert sizes(ask, schema_name, "agent_llm_usage").keys() == {"2026_08"}
    assert persistence._store.count(USAGE) == 1


def test_a_month_whose_runs_changed_just_now_loses_its_rows_one_by_one(
    persistence: PostgresPersistence, ask: Ask, schema_name: str
) -> None:
    record(persistence, "run", day(2))
    [run] = persistence.get_agent_runs()
    run.objective = "changed"
    persistence.update_agent_run("run", run)
    assert persistence.lifecycle.expire("90d").events == 2
    assert persistence._store.count(EVENTS) == 0
    assert sizes(ask, schema_name)["2026_02"]


def test_a_month_that_others_read_all_the_time_loses_its_rows_one_by_one(
    persistence: PostgresPersistence,
    dsn: str,
    ask: Ask,
    schema_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(persistence, "run", day(2))
    monkeypatch.setattr(timed, "_TRIES", 1)
    monkeypatch.setattr(timed, "_LOCK_TIMEOUT", "50ms")
    before = persistence.get_agent_run_stats()
    with closing(psycopg2.connect(dsn)) as other, other.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {schema_name}.agent_run_events")
        report = persistence.lifecycle.expire("90d")
    assert (report.runs, report.events) == (1, 2)
    assert sizes(ask, schema_name)["2026_02"]
    assert persistence.get_agent_run_stats() == before
    assert ask(f"SELECT count(*) FROM {schema_name}.agent_run_event_ids") == [(0,)]


def test_words_of_a_month_are_forgotten_with_it(
    persistence: PostgresPersistence, ask: Ask, schema_name: str
) -> None:
    record(persistence, "run", day(2))
    record(persistence, "new", day(11))
    assert len(persistence.search_text("search")) == 4
    persistence.lifecycle.expire("90d")
    assert {hit.run_id for hit in persistence.search_text("search")} == {"new"}
    assert ask(f"SELECT count(*) FROM {schema_name}.agent_search_documents WHERE kind = 2") <= [
        (2,)
    ]


def test_vectors_of_a_month_go_with_it(
    open_postgres: Open, persistence: PostgresPersistence, ask: Ask, schema_name: str
) -> None:
    record(persistence, "run", day(2))
    event = AgentRunEvent("agent", "run", timestamp=day(2), message="a slow network")
    persistence.log_agent_run_event(event)
    with open_postgres(embed=Meanings()) as embedding:
        embedding.similarity.index_pending()
    vectors = f"SELECT count(*) FROM {schema_name}.agent_embeddings"
    assert ask(vectors) == [(1,)]
    persistence.lifecycle.expire("90d")
    assert "2026_02" not in sizes(ask, schema_name)
    assert ask(vectors) == [(0,)]


def test_a_month_is_not_embedded_while_it_is_emptied(
    open_postgres: Open,
    persistence: PostgresPersistence,
    ask: Ask,
    schema_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(persistence, "run", day(2))
    event = AgentRunEvent("agent", "run", timestamp=day(2), message="a slow network")
    persistence.log_agent_run_event(event)
    embedding = open_postgres(embed=Meanings())
    empty = persistence._store.empty_partition

    def empty_later(part: Partition) -> None:
        embedding.similarity.index_pending()
        empty(part)

    monkeypatch.setattr(persistence._store, "empty_partition", empty_later)
    persistence.lifecycle.expire("90d")
    assert "2026_02" not in sizes(ask, schema_name)
    assert ask(f"SELECT count(*) FROM {schema_name}.agent_embeddings") == [(0,)]


def test_expiry_makes_the_months_of_the_next_records(
    persistence: PostgresPersistence, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = NOW + timedelta(days=40)
    monkeypatch.setattr(timed, "utc_now", lambda: later)
    persistence.lifecycle.expire("90d", check_clock=False)
    assert "2027_03" in months(ask, schema_name)
