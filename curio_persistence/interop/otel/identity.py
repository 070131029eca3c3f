"""The database from which a span was sent, so that none comes back to where it is from."""

from __future__ import annotations

from curio_persistence.interop.otel.spans import Source
from curio_persistence.store.base import Store
from curio_persistence.trace_ids import span_id_of

DATABASE = "curio.database"
"""The attribute of a resource that has the identity of a database."""


def database_id(store: Store) -> str:
    """Return the identity of a database, in whatever process, with or without an archive."""
    return span_id_of(store.identity.partition(" ")[0])


def is_from(source: Source, database: str) -> bool:
    """Return whether spans were made of the records of a database."""
    return source.resource.get(DATABASE) == database
