"""Exports in JSON lines, packed or not, or through a pipe."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.errors import InvalidValueError
from curio_persistence.export.formats import KIND_OF, OWN_KIND
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.exports.memory_guards import MAX_LINE
from curio_persistence.importers.exports.values import ParsedRecord, check_version, parsed
from curio_persistence.store.table import Table

MAX_BESIDE = 1 << 20
"""Bytes of a line that are in no text. Parsed, they take a multiple of that."""

_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TABLE_OF = {kind: table for table, kind in KIND_OF.items()}


def read_jsonl(
    path: Path, file: str, table: Table[Any] | None, report: ReportBuilder
) -> Iterator[ParsedRecord]:
    with path.open("rb") as lines:
        yield from records_of_lines(lines_in(lines), file, report)


def read_packed(
    path: Path, file: str, table: Table[Any] | None, report: ReportBuilder
) -> Iterator[ParsedRecord]:
    import gzip
    import zlib

    with BufferedReader(gzip.open(path)) as lines:
        try:
            yield from records_of_lines(lines_in(lines), file, report)
        except (EOFError, zlib.error) as error:
            raise InvalidValueError(f"was cut off, or is damaged: {error}") from error


def lines_of_json(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a stream, whose name does not say what it holds."""
    for number, line in enumerate(lines_in(stream)):
        if number == 0 and not line.lstrip().startswith(b"{"):
            raise InvalidValueError(
                "does not begin as JSON lines do. Import other formats from a file, and unpack "
                "what is compressed: zcat … | curio-persistence import records -"
            )
        yield line


def records_of_lines(
    lines: Iterable[bytes], file: str, report: ReportBuilder
) -> Iterator[ParsedRecord]:
    is_open = False
    counts: Counter[str] = Counter()
    for number, line in enumerate(lines, start=1):
        try:
            values = object_in(line)
        except InvalidValueError as error:
            if not line.isspace():
                report.problem(file, number, error)
            continue
        match kind := values.pop("kind", None):
            case "export":
                check_version(values)
                is_open = True
                counts.clear()
            case "end":
                is_open = False
                _check_counts(file, number, values, counts, report)
            case str() if kind in _TABLE_OF:
                counts[kind] += 1
                yield from _record(file, number, _TABLE_OF[kind], values, report)
            case _:
                report.problem(file, number, f"has no kind that is known, but {kind!r}")
    if is_open:
        report.problem(file, None, "was cut off: its last line is missing. Export it again")


def _check_counts(
    file: str, number: int, told: Mapping[str, Any], counts: Counter[str], report: ReportBuilder
) -> None:
    """Report a problem if the last line of an export tells another number of records."""
    for name, table in KINDS.items():
        count = counts[KIND_OF[table]]
        if name in told and told[name] != count:
            report.problem(file, number, f"tells of {told[name]} {name}, but there are {count}")


def _record(
    file: str, number: int, table: Table[Any], values: dict[str, Any], report: ReportBuilder
) -> Iterator[ParsedRecord]:
    if OWN_KIND in values and "kind" in table.names:
        values["kind"] = values.pop(OWN_KIND)
    unknown = values.keys() - set(table.names)
    if unknown:
        report.problem(file, number, f"has unknown fields: {', '.join(sorted(unknown))}")
        return
    yield from parsed(file, number, table, values, report)


def lines_in(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines; of one that is too long, no more than shows that it is."""
    while line := file.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE + 1)


def object_in(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise InvalidValueError(f"is longer than {MAX_LINE >> 20} MiB")
    if len(line) > MAX_BESIDE and _has_much_beside_texts(line):
        raise InvalidValueError("has more in it than the texts of a record")
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise InvalidValueError("is nested too deeply") from error
    except ValueError as error:
        raise InvalidValueError(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidValueError(f"is a JSON {type(value).__name__}, not an object")
    return value


def _has_much_beside_texts(line: bytes) -> bool:
    beside = end = 0
    for text in _TEXT.finditer(line):
        beside += text.start() - end + len('""')
        end = text.end()
        if beside > MAX_BESIDE:
            return True
    return beside + len(line) - end > MAX_BESIDE
