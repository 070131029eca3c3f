"""Cost ledgers of AGDD and MAGSAG become model calls."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InvalidValueError, NotFoundError, Persistence, import_costs

CALL: dict[str, Any] = {
    "timestamp": "2025-11-20T10:30:00.250000+00:00",
    "model": "acme-large",
    "input_tokens": 1200,
    "output_tokens": 300,
    "total_tokens": 1500,
    "cost_usd": 0.0081,
    "run_id": "mag-1",
    "step": "offer",
    "agent": "offer-mag",
    "metadata": {"provider": "acme", "attempt": 1},
}
PLACEHOLDER = CALL | {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "cost_usd": 0.0,
    "metadata": {"provider": "acme", "placeholder": True},
}


def at(second: int, **others: Any) -> dict[str, Any]:
    return CALL | {"timestamp": f"2025-11-20T10:30:{second:02}+00:00"} | others


def write_lines(path: Path, entries: Iterable[Mapping[str, Any] | bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as ledger:
        for entry in entries:
            ledger.write(entry if isinstance(entry, bytes) else json.dumps(entry).encode())
            ledger.write(b"\n")
    return path


def write_table(path: Path, entries: Iterable[Mapping[str, Any]]) -> Path:
    """Create the table as AGDD does: in WAL mode, with metadata as JSON text or NULL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as ledger:
        ledger.execute("PRAGMA journal_mode = WAL")
        ledger.execute(
            "CREATE TABLE IF NOT EXISTS cost_records (id INTEGER PRIMARY KEY AUTOINCREMENT,"
            " timestamp TEXT NOT NULL, model TEXT NOT NULL, input_tokens INTEGER NOT NULL,"
            " output_tokens INTEGER NOT NULL, total_tokens INTEGER NOT NULL,"
            " cost_usd REAL NOT NULL, run_id TEXT, step TEXT, agent TEXT, metadata TEXT,"
            " created_at TEXT DEFAULT CURRENT_TIMESTAMP)"
        )
        for entry in entries:
            metadata = json.dumps(entry["metadata"]) if entry["metadata"] else None
            ledger.execute(
                "INSERT INTO cost_records (timestamp, model, input_tokens, output_tokens,"
                " total_tokens, cost_usd, run_id, step, agent, metadata)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*list(entry.values())[:-1], metadata),
            )
    return path


@pytest.mark.parametrize("write", [write_lines, write_table])
def test_a_ledger_becomes_model_calls(persistence: Persistence, tmp_path: Path, write: Any) -> None:
    report = import_costs(write(tmp_path / "costs.x", [CALL]), persistence)
    assert (report.usage, report.ok) == (1, True)
    [call] = persistence.get_llm_usage()
    assert (call.agent_id, call.run_id) == ("offer-mag", "mag-1")
    assert (call.provider, call.model) == ("acme", "acme-large")
    assert (call.input_tokens, call.output_tokens) == (1200, 300)
    assert call.cost_usd == Decimal("0.0081")
    assert call.created_at == datetime(2025, 11, 20, 10, 30, 0, 250_000, tzinfo=UTC)
    assert call.get_usage_metrics_dict() == {
        "total_tokens": 1500,
        "step": "offer",
        "metadata": {"provider": "acme", "attempt": 1},
    }
    assert list(tmp_path.glob("costs.x-*")) == []


def test_placeholders_are_skipped_and_counted(persistence: Persistence, tmp_path: Path) -> None:
    told = CALL | {"metadata": {"placeholder": True}}  # It has a cost even so.
    ledger = write_lines(tmp_path / "costs.jsonl", [PLACEHOLDER, told, PLACEHOLDER])
    report = import_costs(ledger, persistence)
    assert (report.usage, report.skipped) == (1, {"placeholders": 2})


def test_calls_in_both_ledgers_are_stored_once(persistence: Persistence, tmp_path: Path) -> None:
    calls = [at(1), at(2, metadata={}), at(2, metadata={}), at(3, cost_usd=0, run_id=None)]
    write_lines(tmp_path / ".runs" / "costs" / "costs.jsonl", calls)
    write_table(tmp_path / ".runs" / "costs.db", calls)
    report = import_costs(tmp_path / ".runs", persistence)
    assert (report.usage, report.skipped) == (4, {"stored before": 4})
    assert persistence.get_agent_run_stats()["total_llm_calls"] == 4


def test_only_the_new_calls_of_a_growing_ledger_are_added(
    persistence: Persistence, tmp_path: Path
) -> None:
    ledger = write_lines(tmp_path / "costs.jsonl", [at(1), at(1)])
    assert import_costs(ledger, persistence).usage == 2
    write_lines(ledger, [at(1), at(2)])
    assert import_costs(ledger, persistence).usage == 2
    moved = ledger.rename(tmp_path / "moved.jsonl")
    assert import_costs(moved, persistence).usage == 0


def test_a_table_that_is_being_written_to_is_read(persistence: Persistence, tmp_path: Path) -> None:
    path = write_table(tmp_path / "costs.db", [at(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute(
            "UPDATE cost_records SET model = 'later'"
        )  # Only in the write-ahead log so far.
        assert import_costs(path, persistence).usage == 1
    [call] = persistence.get_llm_usage()
    assert call.model == "later"


def test_times_without_a_zone_are_utc(persistence: Persistence, tmp_path: Path) -> None:
    ledger = write_lines(tmp_path / "costs.jsonl", [CALL | {"timestamp": "2025-11-20T10:30:00"}])
    import_costs(ledger, persistence)
    [call] = persistence.get_llm_usage()
    assert call.created_at == datetime(2025, 11, 20, 10, 30, tzinfo=UTC)


def test_broken_lines_are_reported_and_the_others_imported(
    persistence: Persistence, tmp_path: Path
) -> None:
    broken: list[Mapping[str, Any] | bytes] = [
        b"{",
        b"null",
        CALL | {"timestamp": None},
        CALL | {"model": None},
        CALL | {"model": "x" * 256},
        CALL | {"input_tokens": "many"},
        CALL | {"input_tokens": 1.5},
        CALL | {"cost_usd": float("nan")},
        CALL | {"cost_usd": 10**400},
        CALL | {"cost_usd": "0.1"},
        CALL | {"metadata": "text"},
        CALL | {"metadata": []},
        CALL | {"agent": ["a"]},
    ]
    ledger = write_lines(tmp_path / "costs.jsonl", [at(1), *broken, at(2)])
    report = import_costs(ledger, persistence)
    assert sorted(line or 0 for _, line, _ in report.problems) == list(range(2, 15))
    assert report.usage == 2


def test_broken_rows_of_a_table_are_reported_too(persistence: Persistence, tmp_path: Path) -> None:
    path = write_table(tmp_path / "costs.db", [at(1), at(2), at(3)])
    with closing(sqlite3.connect(path, isolation_level=None)) as ledger:
        ledger.execute("UPDATE cost_records SET model = CAST(x'FF' AS TEXT) WHERE id = 1")
        ledger.execute("UPDATE cost_records SET metadata = '{' WHERE id = 2")
    report = import_costs(path, persistence)
    assert sorted(line or 0 for _, line, _ in report.problems) == [1, 2]
    assert report.usage == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE TABLE others (id)", "has no table cost_records"),
        (
            "CREATE VIEW cost_records AS WITH RECURSIVE n(i) AS"
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
            "has no table cost_records",
        ),
    ],
)
def test_a_database_that_is_not_a_ledger_is_reported(
    persistence: Persistence, tmp_path: Path, sql: str, said: str
) -> None:
    path = tmp_path / "costs.db"
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute(sql)
    report = import_costs(path, persistence)
    [problem] = report.problems
    assert said in problem.what


def test_a_truncated_database_is_reported(persistence: Persistence, tmp_path: Path) -> None:
    path = write_table(tmp_path / "costs.db", [at(n % 60) for n in range(500)])
    os.truncate(path, 16_384)
    report = import_costs(path, persistence)
    assert [(file, line) for file, line, _ in report.problems] == [("costs.db", None)]


@pytest.mark.parametrize("begin", [b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"\x28\xb5\x2f\xfd"])
def test_a_compressed_file_is_reported_once(
    persistence: Persistence, tmp_path: Path, begin: bytes
) -> None:
    path = tmp_path / "costs.jsonl.gz"
    path.write_bytes(begin + b"\n\n\x00\n" * 100)
    [problem] = import_costs(path, persistence).problems
    assert str(problem) == "costs.jsonl.gz: cannot be read: it is compressed; unpack it first"


def test_links_out_of_a_folder_are_not_followed(persistence: Persistence, tmp_path: Path) -> None:
    outside = write_lines(tmp_path / "outside" / "costs.jsonl", [at(1)])
    runs = tmp_path / ".runs"
    write_lines(runs / "costs.jsonl", [at(2)])
    (runs / "costs").symlink_to(outside.parent)
    report = import_costs(runs, persistence)
    assert [file for file, _, _ in report.problems] == ["costs"]
    assert report.usage == 1


def test_a_dry_run_counts_the_calls(tmp_path: Path) -> None:
    ledger = write_lines(tmp_path / "costs.jsonl", [at(1), PLACEHOLDER, at(2, model=7)])
    report = import_costs(ledger, None)
    assert (report.usage, report.dry_run) == (1, True)
    assert report.skipped == {"placeholders": 1}
    assert [line for _, line, _ in report.problems] == [3]


def test_an_invalid_source_is_refused(persistence: Persistence, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        import_costs(tmp_path / "missing", persistence)
    with pytest.raises(InvalidValueError, match=r"has no costs\.jsonl or costs\.db"):
        import_costs(tmp_path, persistence)


def test_a_whole_number_is_the_same_call_in_either_ledger(
    persistence: Persistence, tmp_path: Path
) -> None:
    calls = [at(second, cost_usd=cost) for second, cost in enumerate((1, 0, 0.5, 1.0, 2))]
    write_lines(tmp_path / "costs.jsonl", calls)
    write_table(tmp_path / "costs.db", calls)
    import_costs(tmp_path / "costs.jsonl", persistence)
    assert import_costs(tmp_path / "costs.db", persistence).usage == 0
    assert sum(call.cost_usd or 0 for call in persistence.query_llm_usage()) == Decimal("4.5")
