"""Export: records of one moment as JSON lines, CSV, Parquet or Arrow files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from io import TextIOBase
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from curio_persistence.atomic_files import MANIFEST, file_in, whole_file, whole_folder
from curio_persistence.capabilities.deletions import audit_reading
from curio_persistence.capabilities.transfers import Transfers
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.capabilities.transfers.reading import Reading
from curio_persistence.clock import utc_now
from curio_persistence.errors import InvalidValueError, UnsupportedError
from curio_persistence.export.formats import FORMATS, VERSION, Write, json_line
from curio_persistence.export.proof import check_whole_chains, write_proof
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress, is_told
from curio_persistence.store.filters import Filter, Op, Select, Where
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import EVENTS

_MAKERS = {"agents": "agent_id", "sessions": "session_id"}
"""The kinds of records that runs make, and the columns in which runs name them."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The number of records written, and the path: a file, or a folder with a file for each kind.

    `path` is None where they went to a file that was open.
    """

    path: str | None
    format: str
    runs: int
    events: int
    usage: int
    scores: int
    approvals: int
    snapshots: int
    spans: int
    sources: int
    agents: int
    sessions: int

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return asdict(self)


def export_records(
    persistence: Persistence,
    path: str | os.PathLike[str] | BinaryIO,
    *,
    format: str | None = None,
    tables: Collection[str] = (
        "agents",
        "sessions",
        "runs",
        "events",
        "usage",
        "scores",
        "approvals",
        "snapshots",
        "spans",
        "sources",
    ),
    overwrite: bool = False,
    snapshot: bool = True,
    with_proof: bool = False,
    progress: Progress | None = None,
    **filters: Any,
) -> ExportReport:
    """Write all records as they are now, or those of some `tables` that pass the filters.

    `format` is "jsonl", "csv", "parquet" or "arrow"; without it the ending of `path` tells. JSON
    lines are one file. The others are one file if there is one table, else a folder with
    `runs.csv` and so on. `path` may be a binary file that is open. The filters are those of
    `query_agent_runs`, `query_events` and `query_llm_usage`; each must be one that all the tables
    have. Nothing has its name before it is complete. With `snapshot=False` records are read page by
    page, each as it is then, which holds back nothing in a database that is written to. With the
    events of a window come their runs, whenever these were created, with runs come their agents and
    sessions, and with spans their sources.

    With `with_proof`, `path` becomes a folder of JSON lines that also has the audit log, the heads
    of hash chains, and `verify.py`, which verifies them with nothing but Python. Only `run_id` may
    filter then; the audit log is left out with it.

    If the persistence may be written to, its audit log gets a line first.
    """
    transfers = checked_persistence(persistence)._transfers
    chosen, target = _chosen(tables), checked_target(path)
    if with_proof:
        check_whole_chains(chosen, format, filters)
        format = "jsonl"
    wheres = _wheres(transfers, chosen, filters)
    proof = partial(write_proof, run_id=filters.get("run_id")) if with_proof else None
    export = _Export(chosen, wheres, _checked_format(format, target), progress, proof)
    _tell(persistence, target, filters, export.format, chosen)
    if is_told(progress):
        export.total = sum(
            transfers.count(chosen[name], where) for name in chosen for where in wheres[name]
        )
    with transfers.reading(snapshot=snapshot) as reading:
        export.write(reading, target, overwrite=overwrite)
    return export.report(target)


def _tell(
    persistence: Persistence,
    target: Path | BinaryIO,
    filters: Mapping[str, Any],
    format: str,
    tables: Collection[str],
) -> None:
    """Add a line to the audit log."""
    where = str(target.absolute()) if isinstance(target, Path) else "an open file"
    given = {name: value for name, value in filters.items() if value is not None}
    about = {"format": format, "filters": given, "tables": [*tables]}
    audit_reading(persistence._store, persistence.clock, "export", where, "file", **about)


def _wheres(
    transfers: Transfers, tables: Mapping[str, Table[Any]], filters: Mapping[str, Any]
) -> dict[str, list[Where]]:
    """Return the filters of each table; records that pass all of one of them are exported.

    With the events of a window come their runs, whenever these were created: an import would take
    a run that is missing for one that is still running. With runs come their agents and sessions,
    and with spans their sources.
    """
    with_runs = _MAKERS if "runs" in tables and any(v is not None for v in filters.values()) else {}
    wheres = {
        name: [transfers.where(table, filters)]
        for name, table in tables.items()
        if name not in with_runs
    }
    if "runs" in wheres and "events" in wheres:
        wheres["runs"] += _runs_outside(tables["runs"], wheres["runs"][0], wheres["events"][0])
    if "sources" in wheres and "spans" in wheres and with_runs:
        wheres["sources"] = [_sources_of(tables["spans"], wheres["spans"][0])]
    for name in with_runs.keys() & tables.keys():
        wheres[name] = list(_made_by(with_runs[name], tables["runs"], wheres["runs"]))
    return wheres


def _made_by(column: str, table: Table[Any], runs: Sequence[Where]) -> Iterator[Where]:
    """Yield filters of those whose id runs have in a column, each of them by one filter."""
    before: Where = ()
    for where in runs:
        made = Select(table, column, (*where, Filter(column, "is not null")))
        yield (*before, Filter(column, "in", made))
        before = (*before, Filter(column, "not in", made))


def _sources_of(table: Table[Any], spans: Where) -> Where:
    """Return the filter of the senders of spans, whenever these sent their first one."""
    received = (*spans, Filter("source_id", "is not null"))
    return (Filter("source_id", "in", Select(table, "source_id", received)),)


def _runs_outside(table: Table[Any], runs: Where, events: Where) -> list[Where]:
    """Return the filters of the runs of these events that were created before or after a window."""
    inverse: Mapping[str, Op] = {">=": "<", "<": ">="}
    bounds = [each for each in runs if each.column == table.ages_by and each.op in inverse]
    others = tuple(each for each in runs if each not in bounds)
    of_events = Filter("run_id", "in", Select(EVENTS, "run_id", events))
    return [(*others, bound._replace(op=inverse[bound.op]), of_events) for bound in bounds]


def checked_persistence(persistence: Any) -> Persistence:
    """One whose records can all be read, and added to, at once."""
    if not isinstance(persistence, Persistence):
        raise UnsupportedError(
            "Only a Persistence of this package is exported, imported into and copied, not a "
            f"{type(persistence).__name__}. With one that is awaited: await aio.export_records(…)."
        )
    return persistence


class _Export:
    def __init__(
        self,
        tables: dict[str, Table[Any]],
        wheres: dict[str, list[Where]],
        format: str,
        progress: Progress | None,
        proof: Callable[[Path, Reading], None] | None,
    ) -> None:
        self.total: int | None = None
        self._tables = tables
        self._wheres = wheres
        self.format = format
        self._progress = progress
        self._proof = proof
        self._counts = dict.fromkeys(KINDS, 0)

    def write(self, reading: Reading, target: Path | BinaryIO, *, overwrite: bool) -> None:
        one_file = self._proof is None and (self.format == "jsonl" or len(self._tables) == 1)
        if not isinstance(target, Path):
            if not one_file:
                if self._proof is not None:
                    raise InvalidValueError("A proof needs a folder: pass a path.", field="path")
                raise InvalidValueError(
                    f"{self.format} needs a file for each table: choose one table, or jsonl.",
                    field="tables",
                )
            self._write_file(reading, target)
        elif one_file:
            with whole_file(target, overwrite=overwrite) as file:
                self._write_file(reading, file)
        else:
            with whole_folder(target, overwrite=overwrite) as folder:
                self._write_folder(reading, folder)

    def _write_file(self, reading: Reading, file: BinaryIO) -> None:
        if self.format == "jsonl":
            file.write(json_line({"kind": "export", **self._header()}))
        for name in self._tables:
            self._write_table(reading, name, file)
        if self.format == "jsonl":
            file.write(json_line({"kind": "end", **self._written()}))

    def _write_folder(self, reading: Reading, folder: Path) -> None:
        for name in self._tables:
            with file_in(folder, f"{name}.{self.format}") as file:
                self._write_table(reading, name, file)
        if self._proof is not None:
            self._proof(folder, reading)
        with file_in(folder, MANIFEST) as file:
            file.write(json_line({**self._header(), **self._written()}))

    def _write_table(self, reading: Reading, name: str, file: BinaryIO) -> None:
        table = self._tables[name]
        write: Write = FORMATS[self.format]
        pieces = chain.from_iterable(reading.stream(table, each) for each in self._wheres[name])
        write(file, table, self._counted(name, pieces))

    def _counted(self, name: str, pieces: Iterator[Columns]) -> Iterator[Columns]:
        for columns in pieces:
            yield columns
            self._counts[name] += len(columns[0])
            if self._progress is not None:
                self._progress(sum(self._counts.values()), self.total)

    def _header(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "format": self.format,
            "exported_at": utc_now().isoformat(),
        }

    def _written(self) -> dict[str, int]:
        return {name: self._counts[name] for name in self._tables}

    def report(self, target: Path | BinaryIO) -> ExportReport:
        where = str(target) if isinstance(target, Path) else None
        return ExportReport(where, self.format, **self._counts)


def _chosen(tables: Collection[str]) -> dict[str, Table[Any]]:
    names = [tables] if isinstance(tables, str) or not isinstance(tables, Iterable) else [*tables]
    if not names or not all(name in [*KINDS] for name in names):
        raise InvalidValueError(
            f"tables are some of {', '.join(KINDS)}, not {names!r}.", field="tables"
        )
    return {name: table for name, table in KINDS.items() if name in names}


def checked_target(path: Any) -> Path | BinaryIO:
    """Return the path to write to, or the file that is open."""
    if isinstance(path, TextIOBase):
        raise InvalidValueError("path is a file of text: open it as binary.", field="path")
    if hasattr(path, "write"):
        file: BinaryIO = path
        return file
    try:
        target = Path(os.fsdecode(path))
        with suppress(OSError):  # What is missing, or cannot be reached, is told later.
            target.stat()
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{path!r} is not a path: {error}.", field="path") from error
    return target


def _checked_format(format: str | None, target: Path | BinaryIO) -> str:
    if format is None and isinstance(target, Path):
        format = target.suffix.removeprefix(".").lower()
    if not isinstance(format, str) or format not in FORMATS:
        raise InvalidValueError(
            f"format is one of {', '.join(FORMATS)}, not {format!r}: pass it, or give the path "
            "such an ending.",
            field="format",
        )
    return format
