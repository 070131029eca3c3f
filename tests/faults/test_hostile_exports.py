"""Damaged exports and other files: each is one clear error, and costs little memory."""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from curio_persistence import (
    AgentRunEvent,
    ImportReport,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    export_records,
    import_records,
)
from curio_persistence.importers.exports import csv as csv_exports
from curio_persistence.importers.exports import jsonl, memory_guards
from curio_persistence.results.arrow import arrow_schema
from curio_persistence.tables import EVENTS
from tests.support.awkward import BEGIN

EVENT = {
    "kind": "event",
    "agent_id": "agent",
    "run_id": "run",
    "timestamp": BEGIN.isoformat(),
    "created_at": BEGIN.isoformat(),
}
RUN = {"kind": "run", "agent_id": "agent", "run_id": "run", "status": "running"} | {
    name: BEGIN.isoformat() for name in ("created_at", "updated_at")
}
ROW = {name: EVENT.get(name) for name in EVENTS.names} | {"timestamp": BEGIN, "created_at": BEGIN}


def imported(path: Path) -> tuple[ImportReport, int]:
    """Return the reported problems and the number of stored events."""
    with InMemoryPersistence() as persistence:
        report = import_records(path, persistence)
        return report, persistence.count_events()


def only_problem(path: Path) -> str:
    report, count = imported(path)
    assert count == report.events == 0
    [problem] = report.problems
    return str(problem)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "is a JSON list, not an object"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"kind": "event", "data": ' + b"[" * 100_000, "is nested too deeply"),
        (b"{}", "has no kind that is known, but None"),
        (b'{"kind": ["event"]}', "has no kind that is known"),
        (b'{"kind": "event"}', "agent_id is required"),
        (json.dumps(EVENT | {"timestamp": None}).encode(), "has no timestamp"),
        (json.dumps(EVENT | {"timestamp": "noon"}).encode(), "has a timestamp that cannot be read"),
        (json.dumps(EVENT | {"timestamp": "2026-11-20T10:00"}).encode(), "needs its offset"),
        (json.dumps(EVENT | {"timestamp": 5}).encode(), "timestamp must be a datetime"),
        (json.dumps(EVENT | {"run_id": "x" * 300}).encode(), "may have 255 characters"),
        (json.dumps(RUN | {"stub": 2}).encode(), "stub must be 1 or 0"),
        (json.dumps(RUN | {"stub": True}).encode(), "stub must be a whole number"),
        (json.dumps(EVENT | {"secret": 1}).encode(), "has unknown fields: secret"),
        (json.dumps(EVENT | {"kind": "usage", "cost_usd": "1e999999"}).encode(), "fields"),
        (b'{"kind": "export", "version": 2}', "version 2"),
        (b'{"kind": "export"}', "version None"),
    ],
    ids=range(19),
)
def test_a_broken_line_loses_only_itself(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "export.jsonl"
    good = json.dumps(EVENT).encode()
    path.write_bytes(b"\n".join([good, line, good, b""]))
    report, count = imported(path)
    problem = report.problems[0]
    assert said in problem.what
    if b"export" not in line:
        assert (problem.file, problem.line, count) == ("export.jsonl", 2, 2)


def test_a_line_that_is_too_long_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE", 1 << 20)
    path = tmp_path / "export.jsonl"
    with path.open("wb") as file:
        file.truncate(3 << 20)
        file.seek(0, 2)
        file.write(b"\n" + json.dumps(EVENT).encode())
    report, count = imported(path)
    assert [problem.what for problem in report.problems] == ["is longer than 1 MiB"]
    assert count == 1


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "character", ["x", "\x01", "\0", "\n", '"', "\\", "\ud800", "\ufdd0", "\u6771"]
)
def test_the_longest_stored_text_fits_into_a_line(
    tmp_path: Path, character: str, ending: str
) -> None:
    sizes = []
    for length in (0, 1_000):
        path = tmp_path / f"{length}.{ending}"
        with InMemoryPersistence() as persistence:
            persistence.append_event("run", "agent", "t", payload=character * length)
            export_records(persistence, path, tables="events")
        sizes.append(path.stat().st_size)
    assert (sizes[1] - sizes[0]) / 1_000 * (64 << 20) + jsonl.MAX_BESIDE < jsonl.MAX_LINE


@pytest.mark.parametrize("bomb", [b"[],", b"1000,", b'"",', b'{"a":1},', b'"a"'])
def test_a_line_that_would_take_much_more_memory_when_parsed_is_not_parsed(
    tmp_path: Path, bomb: bytes
) -> None:
    path = tmp_path / "export.jsonl"
    line = json.dumps(EVENT).encode().replace(b"}", b', "data": [%s0]}' % (bomb * 1_500_000))
    path.write_bytes(line + b"\n" + json.dumps(EVENT).encode())
    report, count = imported(path)
    assert [problem.what for problem in report.problems] == [
        "has more in it than the texts of a record"
    ]
    assert count == 1


def test_a_long_text_may_look_like_anything(tmp_path: Path) -> None:
    text = json.dumps([[], 1, "a\\\n\0\ud800", {'"': 1}] * 100_000)
    path = tmp_path / "export.jsonl"
    with InMemoryPersistence() as persistence:
        persistence.append_event("run", "agent", "step", payload=text)
        export_records(persistence, path)
    with InMemoryPersistence() as other:
        assert import_records(path, other).ok
        assert [event.data for event in other.iter_agent_run_events()] == [text]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "arrow"])
def test_a_truncated_file_is_reported(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"events.{ending}"
    with InMemoryPersistence() as persistence:
        persistence.log_agent_run_events(AgentRunEvent("agent", "run") for _ in range(500))
        export_records(persistence, path, tables="events")
    whole = path.read_bytes()
    for size in (0, 3, 7, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        report, _ = imported(path)
        if size or ending != "jsonl":  # An empty file of lines has no lines.
            assert not report.ok
    path.write_bytes(whole)
    assert imported(path)[0].ok


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_a_folder_with_changed_files_is_reported(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"export.{ending}"
    with InMemoryPersistence() as persistence:
        persistence.append_event("run", "agent", "step")
        export_records(persistence, path)
    secret = tmp_path / f"secret.{ending}"
    (path / f"events.{ending}").rename(secret)
    assert "cannot be read" in only_problem_but_runs(path)
    (path / f"events.{ending}").symlink_to(secret)
    assert "leads out of" in only_problem_but_runs(path)
    (path / f"events.{ending}").unlink()
    secret.rename(path / f"events.{ending}")
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"events":1', '"events":2'))
    report, count = imported(path)
    assert (count, str(report.problems[0])) == (1, f"events.{ending}: has 1 records, not 2")
    manifest.unlink()
    with pytest.raises(InvalidValueError, match=r"no manifest\.json"):
        imported(path)


def only_problem_but_runs(path: Path) -> str:
    report, count = imported(path)
    assert (report.runs, count) == (1, 0)
    return str(report.problems[0])


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow"])
def test_a_pipe_is_refused_without_waiting(tmp_path: Path, ending: str) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"version": 1, "format": ending, "events": 0})
    )
    os.mkfifo(tmp_path / f"events.{ending}")
    assert only_problem(tmp_path) == f"events.{ending}: cannot be read: it is not an ordinary file"


def test_a_manifest_that_names_paths_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"version": 1, "format": "csv"}')
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "manifest.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(InvalidValueError, match=r"manifest\.json is a link that leads out of"):
        imported(folder)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_compressed_file_is_one_problem(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"events.{ending}"
    with InMemoryPersistence() as persistence:
        persistence.log_agent_run_events(AgentRunEvent("agent", "run") for _ in range(500))
        export_records(persistence, path, tables="events")
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert only_problem(path).endswith("cannot be read: it is compressed; unpack it first")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("end_of_line", [b"\r\n", b"\n\n", b"\n \n\n"])
def test_other_line_ends_are_accepted_and_empty_lines_skipped(
    tmp_path: Path, ending: str, end_of_line: bytes
) -> None:
    if (ending, end_of_line) == ("csv", b"\n \n\n"):
        pytest.skip("a space is a field to it")
    path = tmp_path / f"events.{ending}"
    with InMemoryPersistence() as persistence:
        persistence.log_agent_run_events(AgentRunEvent("agent", "run") for _ in range(3))
        export_records(persistence, path, tables="events")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", end_of_line))
    report, count = imported(path)
    assert (report.problems, count) == ((), 3)


def test_removed_lines_are_detected(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    with InMemoryPersistence() as persistence:
        persistence.log_agent_run_events(AgentRunEvent("agent", "run") for _ in range(5))
        export_records(persistence, path)
    header, agent, run, event, *others = path.read_bytes().splitlines(keepends=True)
    begin = [header, agent, run]
    path.write_bytes(b"".join([*begin, *others]) + b"".join([*begin, event]))
    report, count = imported(path)
    assert count == 5
    assert [problem.what for problem in report.problems] == [
        "tells of 5 events, but there are 4",
        "was cut off: its last line is missing. Export it again",
    ]


def test_a_file_that_is_not_an_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no export")
    for path in (tmp_path / "notes.txt", tmp_path):
        with pytest.raises(InvalidValueError, match="not an export"):
            imported(path)
    with pytest.raises(NotFoundError):
        imported(tmp_path / "nowhere.jsonl")


# --- CSV ------------------------------------------------------------------------------------------

HEADER = "agent_id,run_id,agent_name,timestamp,event_type,data,created_at"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns that are not those"),
        (",".join(map(str, range(1_000_000))), "columns"),
        ("a,b\n1,2", "columns that are not those"),
        ('"a","b\n1,2', "columns that are not those"),
        (f"{HEADER},run_id\n", "columns that are not those"),
        (f"{HEADER}\nonly,two\n", "has 2 fields, not 7"),
        (
            f'{HEADER}\na,b,c,d,e,"never closed\n' + "x" * 100,
            "events.csv:3: cannot be read: unexpected end of data",
        ),
        (f"{HEADER}\n\x00\x00", "has 1 fields"),
        (f"{HEADER}\na,b,,noon,,,noon\n", "events.csv:2: has a timestamp that cannot be read"),
    ],
    ids=range(9),
)
def test_a_csv_file_of_another_program_is_reported(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text)
    assert said in only_problem(path)


def test_a_header_may_be_quoted(tmp_path: Path) -> None:
    """Other programs write it that way."""
    path = tmp_path / "events.csv"
    header = HEADER.replace(",", '","')
    path.write_text(f'"{header}"\na,b,,{BEGIN.isoformat()},step,,{BEGIN.isoformat()}\n')
    assert imported(path)[1] == 1


@pytest.mark.parametrize("filler", [",", "x", "x,"])
def test_a_line_of_csv_that_never_ends_is_not_read_into_memory(
    tmp_path: Path, filler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_exports, "MAX_LINE", 1 << 20)
    path = tmp_path / "events.csv"
    row = f"a,b,,{BEGIN.isoformat()},step,,{BEGIN.isoformat()}\n"
    path.write_text(f"{HEADER}\n{row}" + filler * 4_000_000)
    report, count = imported(path)
    assert (str(report.problems[0]), count) == (
        "events.csv:3: cannot be read: the line is longer than a record",
        1,
    )


@pytest.mark.parametrize("length", [(1 << 20) - n for n in range(60, 90, 3)])
def test_long_texts_of_csv_are_complete_at_any_chunk_boundary(tmp_path: Path, length: int) -> None:
    path = tmp_path / "events.csv"
    texts = ['"' * length, "," * (length // 2) + "\n" * 3, "x" * length, 'a","' * 400_000]
    with InMemoryPersistence() as persistence:
        for text in texts:
            persistence.append_event("run", "agent", "step", message="x" * length, payload=text)
        export_records(persistence, path, tables="events")
    with InMemoryPersistence() as other:
        assert import_records(path, other).problems == ()
        assert [event.data for event in other.iter_agent_run_events(order="oldest")] == texts


def test_a_table_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(f"{HEADER}\na,b,".encode() + b"\xff\xff,c\n")
    assert "is not UTF-8" in only_problem(path)


# --- Parquet and Arrow ----------------------------------------------------------------------------


def write_parquet(path: Path, table: Any, **options: Any) -> None:
    pyarrow.parquet.write_table(table, path, **options)


def write_arrow(path: Path, table: Any) -> None:
    with pyarrow.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def table_of(column: str, value: Any, arrow_type: Any) -> Any:
    """Return a table of one event with another value in one column."""
    at = EVENTS.names.index(column)
    schema = arrow_schema(EVENTS).set(at, pa.field(column, arrow_type))
    return pa.Table.from_pylist([ROW | {column: value}], schema)


STRANGE = [
    (pa.table({}), "columns that are not those"),
    (pa.table({f"c{number}": [1] for number in range(5_000)}), "5,000 columns"),
    (table_of("data", ["a"], pa.list_(pa.string())), "lists or structures"),
    (table_of("data", {"a": {"b": 1}}, pa.struct({"a": pa.struct({"b": pa.int64()})})), "lists or"),
    (table_of("timestamp", BEGIN.replace(tzinfo=None), pa.timestamp("us")), "needs its offset"),
    (table_of("timestamp", None, pa.timestamp("us", "UTC")), "has no timestamp"),
    (table_of("run_id", 5, pa.int64()), "run_id must be text"),
    (table_of("data", b"\xff", pa.binary()), ""),
]


@pytest.mark.parametrize("number", range(len(STRANGE)))
@pytest.mark.parametrize(("ending", "write"), [("parquet", write_parquet), ("arrow", write_arrow)])
def test_unknown_columns_are_reported(
    tmp_path: Path, ending: str, write: Callable[..., None], number: int
) -> None:
    table, said = STRANGE[number]
    path = tmp_path / f"events.{ending}"
    write(path, table)
    report, _ = imported(path)
    assert said in "".join(map(str, report.problems))


def test_a_row_group_with_a_huge_declared_size_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.parquet"
    text = "x" * (4 << 20)
    rows = [ROW | {"data": f"{number}{text}"} for number in range(8)]
    write_parquet(path, pa.Table.from_pylist(rows, arrow_schema(EVENTS)), compression="zstd")
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(memory_guards, "MAX_GROUP", 16 << 20)
    assert "has a group of rows that takes more than 16 MiB in memory" in only_problem(path)


def test_pages_are_measured_independent_of_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.parquet"
    rows = [ROW | {"data": "x" * (8 << 20)}]
    write_parquet(path, pa.Table.from_pylist(rows, arrow_schema(EVENTS)), compression="zstd")
    column = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(5)
    assert column.path_in_schema == "data"
    size = varint(column.total_uncompressed_size)
    whole = path.read_bytes()
    assert whole.count(size) >= 1
    path.write_bytes(whole.replace(size, b"\x80" * (len(size) - 1) + b"\x00"))
    lying = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(5)
    assert lying.total_uncompressed_size == 0
    assert imported(path)[1] == 1
    monkeypatch.setattr(memory_guards, "MAX_GROUP", 4 << 20)
    assert "has a group of rows that takes more than 4 MiB in memory" in only_problem(path)


def varint(number: int) -> bytes:
    """Encode an integer as Thrift's compact protocol does."""
    number <<= 1
    written = []
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


@pytest.mark.parametrize("page", [b"\xff" * 100, b"\x1c" * 5_000, b"\x18\xff\xff\xff\x7f"])
def test_invalid_pages_are_reported(tmp_path: Path, page: bytes) -> None:
    path = tmp_path / "events.parquet"
    rows = [ROW | {"data": "x" * 10_000}]
    write_parquet(
        path,
        pa.Table.from_pylist(rows, arrow_schema(EVENTS)),
        compression="none",
        use_dictionary=[],
    )
    column = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(5)
    whole = bytearray(path.read_bytes())
    begin = column.data_page_offset
    whole[begin : begin + len(page)] = page
    path.write_bytes(whole)
    assert "has damaged pages" in (said := only_problem(path)) or "cannot be read" in said


def test_a_text_repeated_in_every_row_is_in_memory_once(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    text = "x" * (8 << 20)
    columns = {name: pa.array([ROW[name]] * 500) for name in EVENTS.names if ROW[name]}
    # 4 GB, if each row had its own copy.
    columns["data"] = pa.DictionaryArray.from_arrays(pa.array([0] * 500), [text])
    limit = 64 << 20
    write_parquet(path, pa.table(columns), compression="zstd", dictionary_pagesize_limit=limit)
    report = import_records(path, None)
    assert report.ok
    assert report.events == 500
    assert pa.default_memory_pool().max_memory() < 1 << 30


def compressed(path: Path, rows: int, text: str) -> None:
    """Return an Arrow file that is much larger when unpacked."""
    schema = arrow_schema(EVENTS)
    table = pa.table(
        [pa.array([({**ROW, "data": text})[name]] * rows, schema.field(name).type) for name in ROW],
        schema=schema,
    )
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_file(path, schema, options=options) as writer:
        writer.write_table(table)


def test_an_arrow_file_that_is_huge_when_unpacked_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_guards, "MAX_GROUP", 4 << 20)
    path = tmp_path / "events.arrow"
    compressed(path, 5_000, "x" * 1_000)
    assert path.stat().st_size < 1 << 20
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        assert "has a group of rows that takes more than 4 MiB in memory" in only_problem(path)
        assert pool.max_memory() < 1 << 20
    finally:
        pa.set_memory_pool(before)


def test_an_arrow_file_with_a_huge_dictionary_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_guards, "MAX_GROUP", 4 << 20)
    path = tmp_path / "events.arrow"
    table = pa.Table.from_pylist([ROW | {"data": "x" * 5_000_000}], arrow_schema(EVENTS))
    at = table.schema.get_field_index("data")
    table = table.set_column(at, "data", table["data"].dictionary_encode())
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)
    assert "has a group of rows that takes more than 4 MiB in memory" in only_problem(path)
    monkeypatch.setattr(memory_guards, "MAX_GROUP", 8 << 20)
    assert imported(path)[1] == 1


def test_a_compressed_arrow_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.arrow"
    compressed(path, 1_500, "x" * 100)
    report, count = imported(path)
    assert (report.problems, count) == ((), 1_500)


def test_a_footer_with_a_huge_declared_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100 + struct.pack("<I", 0xFFFFFFF0) + b"PAR1")
    assert "has a footer of more than 16 MiB" in only_problem(path)


def test_changed_bytes_do_not_crash(tmp_path: Path) -> None:
    """For any changed byte there is a typed error, or the changed value can be stored."""
    for ending, write in (("parquet", write_parquet), ("arrow", write_arrow)):
        path = tmp_path / f"events.{ending}"
        rows = [ROW | {"data": f"text {number}"} for number in range(50)]
        write(path, pa.Table.from_pylist(rows, arrow_schema(EVENTS)))
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 150)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
            report, count = imported(path)
            assert count <= 50
            assert report.ok or report.problems
