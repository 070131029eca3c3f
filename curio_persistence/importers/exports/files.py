"""Read exports that may be cut off, edited by hand, or meant to do harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from curio_persistence.atomic_files import MANIFEST
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError
from curio_persistence.importers.common.json_lines import open_ordinary, read_object
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.exports.columnar import read_arrow, read_parquet
from curio_persistence.importers.exports.csv import read_csv
from curio_persistence.importers.exports.jsonl import (
    lines_of_json,
    read_jsonl,
    read_packed,
    records_of_lines,
)
from curio_persistence.importers.exports.values import ParsedRecord, check_version
from curio_persistence.store.table import Table

_PACKED = (".jsonl.gz", ".ndjson.gz")

_Reader = Callable[[Path, str, Table[Any] | None, ReportBuilder], Iterator[ParsedRecord]]
_READERS: Mapping[str, _Reader] = {
    "jsonl": read_jsonl,
    "jsonl.gz": read_packed,
    "ndjson": read_jsonl,
    "ndjson.gz": read_packed,
    "csv": read_csv,
    "parquet": read_parquet,
    "arrow": read_arrow,
}


def read_records(path: Path, report: ReportBuilder) -> Iterator[ParsedRecord]:
    """Yield all records of a file, or of a folder that was exported."""
    if path.is_dir():
        yield from _read_folder(path, report)
        return
    name = path.name.lower()
    format = next((format for format in _READERS if name.endswith(f".{format}")), None)
    if format is None or not path.is_file():
        raise InvalidValueError(
            f"{path} is not an export: its name ends with one of {', '.join(_READERS)}, or it is a "
            f"folder with a {MANIFEST}.",
            field="source",
        )
    found = _READERS[format](path, path.name, None, report)
    yield from _told(path.name, report, found if name.endswith(_PACKED) else _ordinary(path, found))


def read_stream(stream: BinaryIO, report: ReportBuilder) -> Iterator[ParsedRecord]:
    """Yield all records of JSON lines that come from an open file or a pipe."""
    name = str(getattr(stream, "name", "the stream"))
    yield from _told(name, report, records_of_lines(lines_of_json(stream), name, report))


def _read_folder(path: Path, report: ReportBuilder) -> Iterator[ParsedRecord]:
    if not (path / MANIFEST).is_file():
        raise InvalidValueError(
            f"{path} has no {MANIFEST}: it is not an export, or was cut off. Export it again.",
            field="source",
        )
    _check_inside(path, MANIFEST)
    manifest = read_object(path / MANIFEST, MANIFEST, report) or {}
    check_version(manifest)
    format = str(manifest.get("format"))
    if format not in _READERS:
        raise InvalidValueError(f"{path / MANIFEST} has an unknown format: {format!r}.")
    for name, table in KINDS.items():
        if name in manifest:
            file = f"{name}.{format}"
            read = _READERS[format](path / file, file, table, report)
            count = 0
            for found in _told(file, report, _inside(path, file, read)):
                count += 1
                yield found
            if count != manifest[name]:
                report.problem(file, None, f"has {count} records, not {manifest[name]}")


def _inside(folder: Path, file: str, read: Iterator[ParsedRecord]) -> Iterator[ParsedRecord]:
    _check_inside(folder, file)
    yield from _ordinary(folder / file, read)


def _check_inside(folder: Path, file: str) -> None:
    if (folder / file).resolve().parent != folder:
        raise InvalidValueError(f"{file} is a link that leads out of {folder}")


def _ordinary(path: Path, read: Iterator[ParsedRecord]) -> Iterator[ParsedRecord]:
    """Yield what was read of a file; refuse a packed one, and a pipe, which would block."""
    with open_ordinary(path):
        pass
    yield from read


def _told(
    file: str, report: ReportBuilder, found: Iterator[ParsedRecord]
) -> Iterator[ParsedRecord]:
    """Yield what is found, up to where the file cannot be read, which is reported."""
    try:
        yield from found
    except OSError as error:
        report.problem(file, None, f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        report.problem(file, None, f"is not UTF-8 text: {error}")
    except (InvalidValueError, CorruptDatabaseError) as error:
        report.problem(file, None, error)
