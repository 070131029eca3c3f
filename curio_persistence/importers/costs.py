"""Cost ledgers of AGDD and MAGSAG, as model calls.

They keep two: `costs.jsonl`, a line for each call, and the table `cost_records` of a SQLite file,
with the same calls.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curio_persistence.errors import InvalidValueError, PersistenceError
from curio_persistence.importers.agdd.run import text_in
from curio_persistence.importers.common.audit import audited
from curio_persistence.importers.common.folders import Source, listed, shown, source_path
from curio_persistence.importers.common.json_lines import moment, open_ordinary, parse, read_objects
from curio_persistence.importers.common.limits import MAX_BYTES
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.importers.common.writer import ImportedRecord, ImportWriter, SourceLocation
from curio_persistence.models import AgentLLMUsage
from curio_persistence.progress import Progress

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_LEDGERS = {"costs.db", "costs.jsonl"}
_FOLDER = "costs"
_MAGIC = b"SQLite format 3\0"
_TABLE = "cost_records"
_NUMBERS = ("input_tokens", "output_tokens", "cost_usd")
_CONTENT = ("timestamp", "model", *_NUMBERS, "total_tokens", "run_id", "step", "agent", "metadata")
_FAILED = {"error", "exception", "failed", "failure"}


def import_costs(
    source: Source, persistence: Persistence | None, *, progress: Progress | None = None
) -> ImportReport:
    """Import a ledger, or those of a folder `.runs`; without a persistence, only check them.

    It can be repeated, and the two ledgers of the same calls can both be imported: each call is
    stored once. What cannot be read is told in the report, and everything else imported all the
    same.
    """
    path = source_path(source)
    root = path if path.is_dir() else path.parent
    report = ReportBuilder()
    writer = ImportWriter(persistence, report, progress)
    ledgers = _ledgers_in(root, report) if path.is_dir() else [path]
    if not ledgers:
        raise InvalidValueError(
            f"{source} has no costs.jsonl or costs.db. Name the file itself.", field="source"
        )
    with audited(persistence, "costs", path, report):
        writer.take(_found_in(ledgers, root, report))
    return report.build(dry_run=persistence is None)


def _ledgers_in(root: Path, report: ReportBuilder) -> list[Path]:
    found = listed(root, root, report, only={*_LEDGERS, _FOLDER})
    folder = found.pop(_FOLDER, None)
    below = listed(Path(folder.path), root, report, only=_LEDGERS) if folder else {}
    return [Path(entry.path) for entry in chain(found.values(), below.values())]


def _found_in(
    ledgers: Sequence[Path], root: Path, report: ReportBuilder
) -> Generator[ImportedRecord]:
    for ledger in ledgers:
        yield from _found(ledger, shown(ledger, root), report)


def _found(path: Path, name: str, report: ReportBuilder) -> Iterator[ImportedRecord]:
    ids = _Ids()
    for number, entry in _entries(path, name, report):
        location = SourceLocation(name, number)
        try:
            entry["metadata"] = _metadata(entry.get("metadata"))
            usage = _usage(entry)
        except InvalidValueError as error:
            report.problem(*location, error)
            continue
        usage.event_id = ids.of(entry)
        if entry["metadata"].get("placeholder") and not any(map(entry.get, _NUMBERS)):
            report.skip("placeholders")
        else:
            yield usage, location


def _entries(path: Path, name: str, report: ReportBuilder) -> Iterator[tuple[int, dict[str, Any]]]:
    if not _is_database(path):
        yield from read_objects(path, name, report)
        return
    from curio_persistence.importers.common.sqlite_tables import read_rows

    try:
        for number, row in enumerate(read_rows(path, _TABLE, most_bytes=MAX_BYTES), start=1):
            report.bytes_read += sum(len(value) for value in row.values() if isinstance(value, str))
            yield number, row
    except PersistenceError as error:
        report.problem(name, None, error)


def _is_database(path: Path) -> bool:
    try:
        with open_ordinary(path) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False  # Why, is told when it is read.


def _metadata(value: Any) -> dict[str, Any]:
    """Return the metadata, which is JSON text in the table."""
    if isinstance(value, str):
        value = parse(value.encode("utf-8", "surrogateescape"))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidValueError("has metadata that is not an object")
    return value


def _usage(entry: dict[str, Any]) -> AgentLLMUsage:
    metadata = entry["metadata"]
    rest = {name: entry.get(name) for name in ("total_tokens", "step")} | {"metadata": metadata}
    return AgentLLMUsage(
        entry.get("agent"),
        entry.get("run_id"),
        provider=text_in(metadata, "provider") or "",
        model=_model(entry),
        input_tokens=entry.get("input_tokens"),
        output_tokens=entry.get("output_tokens"),
        usage_metrics={name: value for name, value in rest.items() if value not in (None, {})},
        status="error" if text_in(metadata, "status") in _FAILED else "success",
        error_message=text_in(metadata, "error"),
        created_at=moment(entry.get("timestamp")),
        cost_usd=entry.get("cost_usd"),
    )


def _model(entry: dict[str, Any]) -> str:
    model = text_in(entry, "model")
    if model is None:
        raise InvalidValueError("names no model")
    return model


class _Ids:
    """The event ids of one ledger's calls, made of what is said of each.

    So that the same call has the same id in either ledger, wherever that is. Equal calls, which
    have the same time and stand together, are numbered.
    """

    def __init__(self) -> None:
        self._timestamp: Any = None
        self._seen: Counter[str] = Counter()

    def of(self, entry: dict[str, Any]) -> str:
        if entry["timestamp"] != self._timestamp:
            self._timestamp = entry["timestamp"]
            self._seen.clear()
        digest = _digest(entry)
        self._seen[digest] += 1
        return f"cost/{digest}/{self._seen[digest]}"


def _as_float(value: Any) -> Any:
    """Return a number as a float: the table has 1.0 where the file may have 1."""
    if isinstance(value, int) and not isinstance(value, bool):
        with suppress(OverflowError):
            return float(value)
    return value


def _digest(entry: dict[str, Any]) -> str:
    from hashlib import sha256

    content = {name: _as_float(entry.get(name)) for name in _CONTENT}
    text = json.dumps(content, sort_keys=True, default=repr)
    return sha256(text.encode()).hexdigest()[:32]
