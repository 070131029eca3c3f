"""Run SQL that people wrote in a DuckDB which reads given files, and can do nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from curio_persistence.archive.cold.duck import SETTINGS, duckdb_module
from curio_persistence.store.codecs import encode_time

_FUNCTIONS = (
    *("range", "generate_series", "unnest", "repeat"),
    *("duckdb_tables", "duckdb_views", "duckdb_columns", "pragma_table_info"),
)
"""Functions that a statement may read from: of others, some change DuckDB or run statements."""

Answer = tuple[tuple[str, ...], list[tuple[Any, ...]]]
"""The names of columns, and the rows."""


class QueryRefused(Exception):
    """Says why DuckDB does not run a statement."""


class Sandbox:
    """A database of DuckDB in memory, whose settings are locked.

    It writes to a folder what exceeds its memory.
    """

    def __init__(self, folder: Path, files: Iterable[str] = ()) -> None:
        self._duckdb = duckdb_module()
        settings = SETTINGS | {
            "allow_persistent_secrets": False,
            "python_enable_replacements": False,
            "temp_directory": str(folder / "spilled"),
        }
        self._connection = self._duckdb.connect(":memory:", config=settings)
        self.run("SET TimeZone = 'UTC'")
        # Before access ends: later no path can be added.
        self.run(f"SET allowed_paths = [{listed(files)}]")
        self.run("SET enable_external_access = false")

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL of ours, and return its rows."""
        cursor = self._connection.execute(sql, list(values))
        return list(cursor.fetchall())

    def add_table(self, name: str, columns: str, rows: Any) -> None:
        """Make a table of columns of an Arrow table."""
        self._connection.register("given", rows)
        self.run(f"CREATE TABLE {name} AS SELECT {columns} FROM given")
        self._connection.unregister("given")

    def add_function(
        self, name: str, function: Callable[..., Any], types: list[str], returned: str
    ) -> None:
        """Make a function of Python one of SQL."""
        self._connection.create_function(name, function, types, returned, null_handling="special")

    def lock(self) -> None:
        """Forbid changes of settings."""
        self.run("SET lock_configuration = true")

    def plan(self, query: str, params: Sequence[Any]) -> list[Mapping[str, Any]]:
        """Return what is said of each part of the plan of one statement that reads.

        Refuse any other statement.
        """
        try:
            statements = self._connection.extract_statements(query)
        except self._duckdb.Error as error:
            raise _refused(error) from error
        if len(statements) != 1:
            raise QueryRefused(f"it has {len(statements)} statements")
        if statements[0].type != self._duckdb.StatementType.SELECT:
            raise QueryRefused(f"it is of type {statements[0].type.name}, not SELECT")
        _, [(_, plan)] = self.ask(f"EXPLAIN (FORMAT json) {statements[0].query}", params, None)
        parts = [*_parts(json.loads(plan))]
        for part in parts:
            function = str(part.get("Function", "")).strip().lower()
            if function and function not in _FUNCTIONS:
                raise QueryRefused(f"it calls {function}()")
        return parts

    def ask(self, query: str, params: Sequence[Any], limit: int | None) -> Answer:
        """Return the answer to a statement that was planned, in the forms of `SQLResult`."""
        try:
            cursor = self._connection.execute(query, [_bound(value) for value in params])
            rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
        except self._duckdb.Error as error:
            raise _refused(error) from error
        return tuple(name for name, *_ in cursor.description), [
            tuple(map(_returned, row)) for row in rows
        ]


def listed(texts: Iterable[str]) -> str:
    """Return texts as a list of literals."""
    quoted = (text.replace("'", "''") for text in texts)
    return ", ".join(f"'{text}'" for text in quoted)


def _parts(plan: Any) -> Iterator[Mapping[str, Any]]:
    for part in plan if isinstance(plan, list) else [plan]:
        yield part.get("extra_info", {})
        yield from _parts(part.get("children", []))


def _refused(error: Exception) -> QueryRefused:
    return QueryRefused(str(error).strip().split("\n")[0])


def _bound(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _returned(value: Any) -> Any:
    match value:
        case datetime():
            return encode_time(value.replace(tzinfo=UTC) if value.tzinfo is None else value)
        case Decimal():
            return float(value)
        case date() | time() | timedelta() | UUID():
            return str(value)
        case list() | tuple():
            return [_returned(each) for each in value]
        case dict():
            named = {str(name): _returned(each) for name, each in value.items()}
            return json.dumps(named, ensure_ascii=False, default=str)
    return value
