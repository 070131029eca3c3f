"""Create and use an index of embeddings: an HNSW of the extension pgvector."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any
from zlib import crc32

from curio_persistence.backends.postgres.ddl import PostgresDDL
from curio_persistence.backends.postgres.pool import Connection
from curio_persistence.errors import UnsupportedError
from curio_persistence.store.base import Nearest
from curio_persistence.tables import EMBEDDINGS

_EXTENSION = (
    "SELECT n.nspname, e.extversion FROM pg_catalog.pg_extension e "
    "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
)
_AVAILABLE = "SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = 'vector'"
_HOME = (
    "SELECT h.nspname FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid AND i.indisvalid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_extension e ON e.extname = 'vector' "
    "JOIN pg_catalog.pg_namespace h ON h.oid = e.extnamespace "
    "WHERE n.nspname = %s AND c.relname = %s"
)
"""The schema of pgvector, if there is an index of that name."""
_OLDEST = (0, 8)
"""The first version that goes on searching until enough rows have passed a filter."""
_MOST_NUMBERS = 4_000
_MEMORY = "256MB"
"""Building takes a multiple of the time if the graph does not fit into it; some 100,000 do."""
_SEARCHING = "SET LOCAL hnsw.ef_search = {}; SET LOCAL hnsw.iterative_scan = strict_order; "
"""Holds for the one statement after it, or until the caller's transaction ends."""
_CANDIDATES, _MOST_CANDIDATES = 200, 1_000
"""The candidates that a search keeps at a time, so that it misses few of the nearest, and at most.

Fewer rows are returned: for each the distance is computed once more, which takes 0.1 ms.
"""


class PostgresVectors(PostgresDDL):
    """Finds the embeddings that are nearest to a vector."""

    def create_vector_index(self, model: str, dim: int) -> bool:
        self.check_outside("creating an index")
        self._check_writable()
        if dim > _MOST_NUMBERS:
            raise UnsupportedError(
                f"An index of pgvector is of vectors with at most {_MOST_NUMBERS:,} numbers; "
                f"those of {model} have {dim:,}, and are compared in memory."
            )
        with self._patient_connection() as connection:
            self._run(connection, f"SET maintenance_work_mem = '{_MEMORY}'", ())
            home = self._extension(connection)
            table = self._table(EMBEDDINGS)
            is_new = self._build_index(
                connection,
                _name(model),
                f'CREATE INDEX CONCURRENTLY "{_name(model)}" ON {table} '
                f"USING hnsw (({self._halfvec(home, dim)}) {home}.halfvec_cosine_ops) "
                f"WHERE model = {_literal(model)}",
            )
            if is_new:
                # Or the planner would take the rows for few, and sort them.
                self._run(connection, f"ANALYZE {table}", ())
        return is_new

    def _extension(self, connection: Connection) -> str:
        """Return the schema of pgvector, which is created if it can be."""
        if not self._run(connection, _AVAILABLE, ())[0]:
            raise UnsupportedError(
                "This server has no pgvector: vectors are compared in memory. Its package is "
                "often named postgresql-18-pgvector."
            )
        self._run(connection, "CREATE EXTENSION IF NOT EXISTS vector", ())
        [(home, version)], _ = self._run(connection, _EXTENSION, ())
        if tuple(map(int, version.split(".")[:2])) < _OLDEST:
            raise UnsupportedError(
                f"This database has pgvector {version}; an index needs 0.8: "
                "ALTER EXTENSION vector UPDATE."
            )
        return _quoted(home)

    def _halfvec(self, home: str, dim: int) -> str:
        """Return the expression that the index is made of; see schema/postgres/embeddings.sql."""
        return f"{self._qualified('curio_reals')}(vector)::{home}.halfvec({dim:d})"

    def vector_index(self, model: str) -> Nearest | None:
        found = self._read(_HOME, (self._schema_name, _name(model)))
        return partial(self._nearest, model, _quoted(found[0][0])) if found else None

    def _nearest(
        self, model: str, home: str, vector: Sequence[float], kind: str | None, limit: int
    ) -> list[int]:
        """Return the ids of the embeddings that the index finds nearest to a vector."""
        of_kind: tuple[Any, ...] = () if kind is None else (kind,)
        rows = self._read(
            _SEARCHING.format(min(max(limit, _CANDIDATES), _MOST_CANDIDATES))
            + f"SELECT id FROM {self._table(EMBEDDINGS)} "
            f"WHERE model = %s {'AND kind = %s' if of_kind else ''} "
            f"ORDER BY {self._halfvec(home, len(vector))} OPERATOR({home}.<=>) "
            f"%s::{home}.halfvec({len(vector):d}) LIMIT %s",
            (model, *of_kind, str([*map(float, vector)]), limit),
        )
        return [ident for (ident,) in rows]


def _name(model: str) -> str:
    """Return the name of the index of a model's vectors."""
    return f"agent_embeddings_near_{crc32(model.encode()):08x}"


def _literal(text: str) -> str:
    """Return a text as a literal in which only letters and digits of ASCII stand for themselves."""
    escaped = re.sub("[^0-9A-Za-z]", lambda found: rf"\U{ord(found[0]):08x}", text)
    return f"E'{escaped}'"


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
