"""A killed import leaves the old tables unchanged, and the next one completes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import import_curio
from curio_persistence.backends.postgres.legacy import PostgresOriginal
from curio_persistence.backends.sql import legacy
from curio_persistence.backends.sqlite.legacy import SQLiteOriginal
from tests.schema import original
from tests.schema.conftest import Database, Make
from tests.schema.original import EVENT
from tests.schema.test_import_curio import everything
from tests.support import soak
from tests.support.children import Fork

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("make", ["sqlite", "postgres18"], indirect=True),
]

EVENTS = [EVENT | {"id": n, "run_id": f"run-{n % 3}"} for n in range(1, 603)]
_CHANGES_NOTHING = ("SAVEPOINT", "RELEASE", "SELECT")


def import_until(point: int, database: Database) -> bool:
    """Import in another process, killed at this point; False if there are fewer points."""

    def import_and_be_killed() -> None:
        _kill_at(point)
        import_curio(database.url, timezone="UTC")

    try:
        Fork(import_and_be_killed).result()
    except ChildProcessError as error:
        if not str(error).endswith(str(-signal.SIGKILL)):
            raise
        return True
    return False


def _kill_at(point: int) -> None:
    numbers = count()

    def counted(owner: Any, name: str) -> None:
        do: Callable[..., object] = getattr(owner, name)

        def do_or_die(self: object, *given: Any) -> object:
            sql = next((each for each in given if isinstance(each, str)), "")
            changes = not sql.startswith(_CHANGES_NOTHING)
            if changes and next(numbers) == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return do(self, *given)

        setattr(owner, name, do_or_die)

    for store in (SQLiteOriginal, PostgresOriginal):
        for name in ("_write", "_control", "insert_many"):
            counted(store, name)
    counted(SQLiteOriginal, "_copy_file")
    counted(Path, "rename")


def test_an_import_killed_at_any_point_is_completed_by_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legacy, "_ROWS", 250)
    whole = make()
    original.make(whole, events=EVENTS)
    import_curio(whole.url, timezone="UTC")
    with whole.open() as persistence:
        expected = everything(persistence)
    for point in soak.points(2, 5):
        database = make()
        original.make(database, events=EVENTS)
        before = database.ask("SELECT * FROM {schema}.agent_run_events ORDER BY id")
        killed = import_until(point, database)
        if not import_curio(database.url, timezone="UTC", dry_run=True).already:
            after = database.ask("SELECT * FROM {schema}.agent_run_events ORDER BY id")
            assert after == before
            import_curio(database.url, timezone="UTC")
        with database.open() as persistence:
            assert everything(persistence) == expected, f"killed at point {point}"
        assert len(database.catalog()) == len(whole.catalog())
        if not killed:
            break
    assert point > 20
