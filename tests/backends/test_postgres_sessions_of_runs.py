"""On PostgreSQL a trigger makes the sessions and agents of runs, which do not wait for others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

from psycopg2.sql import SQL, Identifier

from curio_persistence import AgentRun, PostgresPersistence
from tests.backends.conftest import Ask, Open

LATER = datetime.now(UTC) + timedelta(hours=1)


def test_a_run_does_not_wait_for_an_open_transaction_with_the_same_agent(
    open_postgres: Open,
) -> None:
    first, second = open_postgres(), open_postgres(statement_timeout=2)
    first.create_agent_run(AgentRun("agent", "r0", session_id="s"))
    with first.transaction():
        # Later, so that the transaction changes the times of both, and locks their rows.
        first.create_agent_run(AgentRun("agent", "r1", session_id="s", created_at=LATER))
        run = AgentRun("agent", "r2", session_id="s", created_at=LATER)
        second.create_agent_run(run)
        run.finished_at = LATER + timedelta(minutes=1)
        second.update_agent_run("r2", run)
    found = second.sessions.get("s")
    assert found is not None
    assert (found.runs, found.last_event_at) == (3, LATER + timedelta(minutes=1))


def test_batches_that_make_the_same_sessions_in_other_orders_do_not_deadlock(
    open_postgres: Open,
) -> None:
    both_begin = Barrier(2)

    def create(persistence: PostgresPersistence, prefix: str, order: Sequence[int]) -> None:
        for batch in range(2):
            both_begin.wait(30)
            persistence.create_agent_runs(
                [
                    AgentRun(
                        f"a{batch}-{n}", f"{prefix}-{batch}-{at:03}", session_id=f"{batch}-{n}"
                    )
                    for at, n in enumerate(order)
                ]
            )

    with ThreadPoolExecutor(2) as threads:
        orders = range(300), range(299, -1, -1)
        for done in [
            threads.submit(create, open_postgres(), prefix, order)
            for prefix, order in zip("xy", orders, strict=True)
        ]:
            done.result()
    persistence = open_postgres()
    assert (persistence.sessions.count(), persistence.agents.count()) == (600, 600)


def test_a_schema_that_was_renamed_has_its_own_sessions(
    open_postgres: Open, schema_name: str, ask: Ask
) -> None:
    open_postgres().create_agent_run(AgentRun("agent", "r1", session_id="before"))
    renamed = f"{schema_name}_2"
    ask(SQL("ALTER SCHEMA {} RENAME TO {}").format(*map(Identifier, (schema_name, renamed))))
    try:
        again, moved = open_postgres(), open_postgres(schema=renamed)
        moved.create_agent_run(AgentRun("agent", "r2", session_id="after"))
        assert {each.session_id for each in moved.sessions.query()} == {"before", "after"}
        assert again.sessions.count() == 0
    finally:
        ask(SQL("DROP SCHEMA {} CASCADE").format(Identifier(renamed)))
