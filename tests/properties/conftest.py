"""A PostgreSQL for properties: one schema, emptied for each example."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from curio_persistence.backends.postgres.dsn import parse_dsn
from curio_persistence.backends.postgres.store import PostgresStore
from curio_persistence.store.base import Store
from tests.support.backends import PostgresSchema


@pytest.fixture(scope="module")
def postgres(postgres18: str) -> Iterator[tuple[Store, Callable[[], None]]]:
    """A store, and a function that empties it."""
    schema = PostgresSchema(postgres18)
    store = PostgresStore(parse_dsn(postgres18), schema_name=schema.name)
    yield store, schema.empty
    store.close()
    schema.drop()
