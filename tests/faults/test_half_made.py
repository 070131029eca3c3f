"""`repr()` works on half-constructed objects: crash reporters print all locals."""

from __future__ import annotations

import pytest

from curio_persistence import InMemoryPersistence, PostgresPersistence, SQLitePersistence
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.postgres.store import PostgresStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.buffering.persistence import BufferedPersistence, BufferedStore

KINDS = (
    InMemoryPersistence,
    SQLitePersistence,
    PostgresPersistence,
    BufferedPersistence,
    MemoryStore,
    SQLiteStore,
    PostgresStore,
    BufferedStore,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_object_whose_constructor_did_not_run_has_a_repr(kind: type) -> None:
    assert kind.__name__ in repr(kind.__new__(kind))
