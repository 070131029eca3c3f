"""A snapshot shows several tables at one moment; inserted rows may have ids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Order
from curio_persistence.store.query import ReadRows, query_of
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE


def records(read: ReadRows, table: Table[Any]) -> list[Any]:
    return [each for columns in read(query_of(table), 3) for each in table.decode(columns)]


def write(persistence: Persistence, run_id: str) -> None:
    persistence.create_agent_run(AgentRun("agent", run_id))
    persistence.log_agent_run_event(AgentRunEvent("agent", run_id))
    persistence.log_llm_usage(AgentLLMUsage("agent", run_id))


def test_a_snapshot_excludes_later_writes_of_others(persistence: Persistence, store: Store) -> None:
    write(persistence, "before")
    with ThreadPoolExecutor(1) as pool, store.snapshot() as read:
        after = pool.submit(write, persistence, "after")
        if store.location == "The database :memory:":  # Its only connection is in use.
            after.cancel()
        else:
            after.result()
        for table in (RUNS, EVENTS, USAGE):
            assert [record.run_id for record in records(read, table)] == ["before"]
    assert persistence.get_agent_run("before") is not None


def test_a_snapshot_in_a_transaction_includes_its_writes(
    persistence: Persistence, store: Store
) -> None:
    with persistence.transaction():
        write(persistence, "written")
        with store.snapshot() as read:
            assert [run.run_id for run in records(read, RUNS)] == ["written"]


def test_a_snapshot_is_read_in_chunks_in_any_order(persistence: Persistence, store: Store) -> None:
    persistence.create_agent_runs(AgentRun("agent", f"run-{number}") for number in range(10))
    with store.snapshot() as read:
        newest = (Order("id", descending=True),)
        pieces = list(read(query_of(RUNS, RUNS.where(agent_id="agent"), newest), 4))
        assert [len(piece[0]) for piece in pieces] == [4, 4, 2]
        assert [run.run_id for run in RUNS.decode(pieces[0])] == [f"run-{n}" for n in (9, 8, 7, 6)]
        assert records(read, EVENTS) == []


def row(run_id: str, **more: Any) -> Row:
    now = "2026-11-20T10:00:00.000000+00:00"
    run = RUNS.encode(AgentRun("agent", run_id))
    return {**run, "created_at": now, "updated_at": now, **more}


def test_rows_may_have_ids_and_the_others_get_new_ones(
    persistence: Persistence, store: Store
) -> None:
    store.reserve_ids(RUNS, 70)
    ids = store.insert_many(RUNS, [row("a", id=70), row("b", id=7, session_id="s")])
    assert list(ids) == [70, 7]
    with store.transaction():
        assert list(store.insert_many(RUNS, [row("c", id=5)])) == [5]
    persistence.create_agent_run(AgentRun("agent", "d"))
    assert {run.run_id: run.id for run in persistence.get_agent_runs()} == {
        "a": 70,
        "b": 7,
        "c": 5,
        "d": 71,
    }


def test_no_used_id_is_assigned_again(persistence: Persistence, store: Store) -> None:
    persistence.create_agent_runs(AgentRun("agent", f"run-{number}") for number in range(3))
    store.reserve_ids(RUNS, 2)
    persistence.create_agent_run(AgentRun("agent", "next"))
    run = persistence.get_agent_run("next")
    assert run is not None
    assert run.id is not None
    assert run.id > 3
