"""If a program is killed while it creates or migrates tables, the next one completes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from curio_persistence import AgentRun
from curio_persistence.backends.postgres.store import PostgresStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from tests.schema.conftest import Database, Make, Versions
from tests.schema.test_versions import FLAVOUR, SWEET, applied
from tests.support import soak
from tests.support.children import Fork

# One server is enough: all of them roll back an abandoned transaction.
pytestmark = pytest.mark.parametrize("make", ["sqlite", "postgres18"], indirect=True)

_CHANGES_NOTHING = ("SAVEPOINT", "RELEASE")


def open_until(statement: int, database: Database) -> bool:
    """Open it in a process killed before it sends this statement; False if there are fewer."""

    def open_and_be_killed() -> None:
        for store in (SQLiteStore, PostgresStore):
            _kill_before(statement, store)
        database.open().close()

    try:
        Fork(open_and_be_killed).result()
    except ChildProcessError as error:
        if not str(error).endswith(str(-signal.SIGKILL)):
            raise
        return True
    return False


def _kill_before(statement: int, store: Any) -> None:
    numbers = count()

    def counted(send: Callable[..., object]) -> Callable[..., object]:
        def send_or_die(self: object, *arguments: object) -> object:
            sql = next(each for each in arguments if isinstance(each, str))
            if not sql.startswith(_CHANGES_NOTHING) and next(numbers) == statement:
                os.kill(os.getpid(), signal.SIGKILL)
            return send(self, *arguments)

        return send_or_die

    # Statements that write, and those that begin and end transactions.
    store._write = counted(store._write)
    store._control = counted(store._control)


def test_half_created_tables_are_completed_by_the_next_start(make: Make) -> None:
    whole = make()
    whole.open().close()
    for statement in soak.points(2, 3):
        database = make()
        killed = open_until(statement, database)
        with database.open() as persistence:
            persistence.create_agent_run(AgentRun("agent", "run"))
        assert database.catalog() == whole.catalog(), f"killed before statement {statement}"
        assert applied(database) == applied(whole)
        if not killed:
            break
    assert statement > 3


def test_half_done_steps_are_completed_by_the_next_start(make: Make, versions: Versions) -> None:
    whole = make()
    with versions.having(flavour=FLAVOUR, sweet=SWEET):
        whole.open().close()
    for statement in soak.points(2, 3):
        database = make()
        with database.open() as persistence:
            persistence.create_agent_run(AgentRun("agent", "run"))
        with versions.having(flavour=FLAVOUR, sweet=SWEET):
            killed = open_until(statement, database)
            with database.open() as persistence:
                assert len(persistence.get_agent_runs()) == 1
        assert database.catalog() == whole.catalog(), f"killed before statement {statement}"
        assert applied(database) == applied(whole)
        assert database.ask("SELECT flavour, sour FROM {schema}.agent_runs") == [("sweet", "no")]
        if not killed:
            break
    assert statement > 5
