"""The table of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from curio_persistence.models import AgentRun
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import M, Row, Table
from curio_persistence.tables.columns import (
    finite_number,
    identifier,
    integer,
    json_text,
    name,
    object_in,
    optional_identifier,
    status,
    stored_time,
    text,
    time,
)
from curio_persistence.tables.sessions import MADE_BY_RUNS
from curio_persistence.tables.translation import translator
from curio_persistence.trace_ids import tells_its_trace, trace_id_of

_NEWEST_FIRST = (Order("created_at", descending=True), Order("id", descending=True))


def _numbers_in(stored: str) -> str | None:
    """Return the finite numbers of an object, by name."""
    values = {name: finite_number(value) for name, value in object_in(stored).items()}
    numbers = {name: number for name, number in values.items() if number is not None}
    return codecs.encode_json(numbers) if numbers else None


ORIGIN = ("source", "project", "branch")
"""The members of a run's metadata that say where it was made: the tool, the project, its branch.

They are columns too, so that runs are selected and costs added up by them.
"""


def _origin_in(stored: str) -> str | None:
    """Return where a run was made, as JSON: it is no text of people or models."""
    known = {name: value for name, value in object_in(stored).items() if name in ORIGIN}
    return codecs.encode_json(known) if known else None


_RUN_COLUMNS = (
    identifier("agent_id"),
    identifier("run_id"),
    name("agent_name"),
    text("objective", default=""),
    json_text("additional_context"),
    time("started_at"),
    time("finished_at"),
    integer("total_iterations", default=0),
    text("final_synthesis_output"),
    json_text("execution_history"),
    status("status"),
    text("error_message"),
    json_text("metadata")._replace(without_content=_origin_in),
    integer("id"),
    stored_time("created_at"),
    stored_time("updated_at"),
    optional_identifier("session_id"),
    optional_identifier("parent_run_id"),
    Column("tags", codecs.encode_tags, codecs.decode_tags, optional=True),
    json_text("metrics", optional=True)._replace(without_content=_numbers_in),
    optional_identifier("user_id"),
)
# 1 while the run is known only from an event.
_STUB = Column("stub", codecs.encode_mark, optional=True)
# The `updated_at` of the run as the search index has it.
_INDEXED = stored_time("indexed_at")
# 1 when a retention policy has removed the run's words.
_STRIPPED = Column("stripped", codecs.encode_mark, optional=True)
# The id of the trace of a run whose run_id does not tell it.
_TRACE_ID = Column("trace_id", codecs.encode_optional_id, optional=True)
# Labels, because a redactor has to see them too.
_ORIGIN = tuple(Column(member, codecs.encode_label, optional=True) for member in ORIGIN)
_INTERNAL = (_INDEXED, _STRIPPED, _TRACE_ID, *_ORIGIN)


def _derive(row: Row) -> None:
    derive_trace(row)
    metadata = row.get("metadata")
    if metadata is not None and any(f'"{name}"' in str(metadata) for name in ORIGIN):
        _derive_origin(row, object_in(metadata))


def _derive_origin(row: Row, metadata: Mapping[str, Any]) -> None:
    """Keep the members that are short texts as columns."""
    for member in ORIGIN:
        with suppress(ValueError, TypeError):
            if value := codecs.encode_optional_id(metadata.get(member)):
                row[member] = value


def derive_trace(row: Row) -> None:
    """Keep the id of the trace of a run whose run_id does not tell it."""
    run_id = str(row["run_id"])
    if tells_its_trace(run_id):
        row.pop("trace_id", None)  # That of another run: stubs are copies of one row.
    else:
        row["trace_id"] = trace_id_of(run_id)


def _runs(model: type[M], columns: Sequence[Column], internal: Sequence[Column]) -> Table[M]:
    return Table(
        "agent_runs",
        model,
        columns,
        internal=internal,
        derive=_derive,
        order=_NEWEST_FIRST,
        ages_by="created_at",
        lookups=("run_id", "parent_run_id"),
        ddl="runs.sql",
        unique=(("run_id",),),
        makes=MADE_BY_RUNS,
        translate=translator(
            model, rest="metadata", names={"final_synthesis_output": "final_output"}
        ),
    )


RUNS = _runs(AgentRun, _RUN_COLUMNS, (_STUB, *_INTERNAL))


@dataclass
class RunOrStub(AgentRun):
    """A run with its hidden columns, which are copied and exported with it."""

    stub: int | None = None


RunOrStub.__name__ = AgentRun.__name__  # Redactors and errors name its fields after this.
RUNS_AND_STUBS = _runs(RunOrStub, (*_RUN_COLUMNS, _STUB), _INTERNAL)
"""The same table with the hidden columns, for transfers between databases."""
