"""Answer SQL that people wrote over a database and its archive.

The views of `schema/duckdb/views.sql` read the Parquet files of the archive, and copies of the
database's tables that are made for the query. A statement is first planned over empty tables: what
its plan does not read is neither copied nor fetched.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from curio_persistence.archive.cold.database import ArchivedDatabase
from curio_persistence.archive.cold.rows import ColdRows
from curio_persistence.archive.cold.sandbox import Answer, Sandbox, listed
from curio_persistence.archive.cold.whereabouts import last_move, moment_of
from curio_persistence.archive.scratch import ScratchFolder, telling_of_scratch
from curio_persistence.backends.sql.migrations import views
from curio_persistence.capabilities.transfers.kinds import KINDS_OF_RUNS
from curio_persistence.capabilities.transfers.reading import BY_ID, Reading
from curio_persistence.export.formats import write_parquet
from curio_persistence.results.arrow import arrow_schema
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables.events import derive_event_columns

_TABLES: Mapping[str, Table[Any]] = {
    KINDS_OF_RUNS[name].name: KINDS_OF_RUNS[name] for name in ("runs", "events", "usage")
}
_RUNS = KINDS_OF_RUNS["runs"].name


class Lookup(NamedTuple):
    """A view that other views join: its table, and the columns that it has besides the run id."""

    table: str
    columns: tuple[str, ...]


_LOOKUPS: Mapping[str, Lookup] = {
    "curio_sums": Lookup(
        "agent_llm_usage", ("llm_calls", "input_tokens", "output_tokens", "cost_usd")
    ),
    "curio_traces": Lookup("agent_run_events", ("trace_id",)),
    "curio_sessions": Lookup("agent_runs", ("session_id", "user_id")),
}
_DISREGARD_ROWS = "SET disabled_optimizers = 'statistics_propagation'"
"""Without this, a plan would leave out tables because they have no rows yet."""
_LEFT_OUT = "curio_left_out"
"""The table of runs whose rows in the files of the archive do not count."""
_MAKE_LEFT_OUT = f"CREATE TABLE {_LEFT_OUT} AS SELECT CAST(unnest(?) AS VARCHAR) AS run_id"


def answer(
    hot: Store, archived: ArchivedDatabase, query: str, params: Sequence[Any], limit: int | None
) -> Answer:
    """Return the columns and rows of a statement; raise QueryRefused if it does not just read."""
    with ScratchFolder() as folder:
        with Sandbox(folder) as planner:
            planner.run(_DISREGARD_ROWS)
            _define(planner, {}, ())
            used = _used(planner.plan(query, params))
        tables = [table for name, table in _TABLES.items() if name in used or name == _RUNS]
        copies, moment = _copied(hot, tables, folder)
        # After the copies: what has left the database by then is in these files.
        with archived.held(tables) as files:
            cold = ColdRows(archived, hot, moment)
            left_out = _add_others(cold, archived, copies, files[_RUNS], folder)
            selects = {
                name: _select(_TABLES[name], copies[name], files[name], bool(left_out))
                for name in copies
            }
            with Sandbox(folder, chain(*copies.values(), *files.values())) as sandbox:
                sandbox.run(_MAKE_LEFT_OUT, [*left_out])
                _define(sandbox, selects, used)
                return sandbox.ask(query, params, limit)


# --- what a statement reads ------------------------------------------------------------------


def _used(plan: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the tables that a plan reads, and the lookups of which it reads values."""
    used: set[str] = set()
    for part in plan:
        name = str(part.get("Table", "")).rpartition(".")[2]
        lookup = _LOOKUPS.get(name)
        if lookup is None:
            used.add(name)
        elif any(column in json.dumps(part) for column in lookup.columns):
            used |= {name, lookup.table}
    return used


# --- files ------------------------------------------------------------------------------------


def _copied(
    hot: Store, tables: Iterable[Table[Any]], folder: Path
) -> tuple[dict[str, list[str]], int]:
    """Write tables of a database to files; return their paths, and the last move until then."""
    before = last_move(hot)
    with hot.snapshot() as read:
        moment = moment_of(read, before)
        rows = Reading(read)
        copies = {
            table.name: [_written(folder, "hot", table, rows.stream(table, order=BY_ID))]
            for table in tables
        }
    return copies, moment


def _written(folder: Path, kind: str, table: Table[Any], pieces: Iterable[Columns]) -> str:
    path = folder / f"{kind}-{table.name}.parquet"
    with telling_of_scratch(), path.open("wb") as file:
        write_parquet(file, table, pieces)
    return str(path)


def _add_others(
    cold: ColdRows,
    archived: ArchivedDatabase,
    copies: Mapping[str, list[str]],
    runs: Sequence[str],
    folder: Path,
) -> set[str]:
    """Return the runs that count in part, or not at all, in files; write the rows that count."""
    elsewhere, both = cold.apart(archived.run_ids(runs))
    others = (both | {*archived.versions.run_ids}) - elsewhere
    for name, paths in copies.items() if others else ():
        table = _TABLES[name]
        rows = cold.columns(table, table.names, (Filter("run_id", "in", tuple(others)),))
        columns: Columns = [*zip(*rows, strict=True)]
        paths.append(_written(folder, "others", table, [columns] if columns else []))
    return elsewhere | others


# --- the tables and views --------------------------------------------------------------------


def _define(sandbox: Sandbox, selects: Mapping[str, str], used: Collection[str]) -> None:
    """Make the tables, of which those without a `select` are empty, and the views."""
    for name, table in _TABLES.items():
        if name in selects:
            sandbox.run(f"CREATE VIEW {name} AS {selects[name]}")
        else:
            sandbox.add_table(name, _columns(table), arrow_schema(table).empty_table())
    sandbox.add_function("curio_tool", _tool, ["VARCHAR", "VARCHAR"], _TOOL)
    sandbox.run(views("duckdb"))
    for name in _LOOKUPS:
        if name not in used:
            sandbox.run(f"CREATE TABLE emptied AS FROM {name} LIMIT 0; DROP VIEW {name}")
            sandbox.run(f"ALTER TABLE emptied RENAME TO {name}")
    sandbox.lock()


def _select(table: Table[Any], copies: list[str], archived: list[str], left_out: bool) -> str:
    """Return the query for the rows of a table: all of the copies, the archived that count."""
    columns = _columns(table)
    text = f"SELECT {columns} FROM {_read(copies)}"
    if archived:
        text += f" UNION ALL SELECT {columns} FROM {_read(archived)}"
    if archived and left_out:
        text += f" WHERE coalesce(run_id, '') NOT IN (FROM {_LEFT_OUT})"
    return text


def _read(paths: Iterable[str]) -> str:
    return f"read_parquet([{listed(paths)}], hive_partitioning = false)"


def _columns(table: Table[Any]) -> str:
    """Return the columns of a table in a file, with times that DuckDB compares with any text."""
    return ", ".join(
        f"make_timestamp(epoch_us({name})) AS {name}" if kind == "time" else name
        for name, kind in table.kinds.items()
    )


_TOOL = "STRUCT(name VARCHAR, failed INTEGER, latency_us BIGINT)"


def _tool(event_type: str, data: str | None) -> dict[str, Any]:
    """Return what the library derives from the payload of a tool call."""
    row: Row = {"event_type": event_type, "data": data}
    derive_event_columns(row)
    return {
        "name": row.get("tool_name"),
        "failed": row.get("tool_error"),
        "latency_us": row.get("tool_latency_us"),
    }
