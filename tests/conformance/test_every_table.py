"""Every table of records is copied, exported, hashed, deleted and listed.

A new table in `TABLES` fails here until each of these operations handles it.
"""

from __future__ import annotations

import json
from dataclasses import fields
from io import BytesIO

import pytest

from curio_persistence import (
    InMemoryPersistence,
    Persistence,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.capabilities.transfers import KINDS
from curio_persistence.capabilities.transfers.hashes import RunHash
from curio_persistence.cli.commands import export as export_command
from curio_persistence.export.copying import CopyReport
from curio_persistence.export.formats import KIND_OF
from curio_persistence.export.records import ExportReport
from curio_persistence.store.filters import COUNT
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS, TABLES
from tests.support.one_of_each import insert_one_of_each

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@pytest.fixture
def filled(persistence: Persistence) -> Persistence:
    insert_one_of_each(persistence._store)
    return persistence


def count(persistence: Persistence, table: Table[object]) -> int:
    [(rows,)] = persistence._store.aggregate(table, (COUNT,))
    return int(rows)


@every_table
def test_it_is_copied(filled: Persistence, table: Table[object]) -> None:
    with InMemoryPersistence() as copy:
        assert copy_records(filled, copy).ok
        assert count(copy, table) == 1, f"add {table.name} to KINDS in capabilities/transfers"


@every_table
def test_it_is_exported_and_imported(
    filled: Persistence, table: Table[object], tmp_path: object
) -> None:
    path = f"{tmp_path}/exported.jsonl"
    export_records(filled, path, tables=tuple(KINDS))
    with InMemoryPersistence() as copy:
        import_records(path, copy)
        assert count(copy, table) == 1, f"add {table.name} to KINDS and to KIND_OF in export"


@every_table
def test_it_counts_in_the_hash_of_its_run(filled: Persistence, table: Table[object]) -> None:
    before = filled.transfers.hash("run")
    filled._store.delete(table, ())
    assert filled.transfers.hash("run") != before, f"{table.name} is in no hash: see KINDS"


def test_it_is_in_all_data() -> None:
    with InMemoryPersistence() as persistence:
        insert_one_of_each(persistence._store)
        data = persistence.get_all_data()
    assert len(data) == len(TABLES), f"get_all_data() has {[*data]} for {len(TABLES)} tables"
    assert all(data.values())


@every_table
def test_commands_and_reports_name_it(table: Table[object]) -> None:
    [name] = [name for name, known in KINDS.items() if known.name == table.name]
    assert name in export_command._TABLES
    assert table.name in {known.name for known in KIND_OF}
    assert name in {field.name for field in fields(ExportReport)}
    assert {name, f"new_{name}"} <= {field.name for field in fields(CopyReport)}
    assert table is RUNS or name in RunHash._fields


def test_an_export_names_every_kind(filled: Persistence) -> None:
    file = BytesIO()
    export_records(filled, file, format="jsonl", tables=tuple(KINDS))
    kinds = {json.loads(line)["kind"] for line in file.getvalue().splitlines()}
    assert kinds == {"export", "end", *KIND_OF.values()}
