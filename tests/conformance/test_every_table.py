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
from curio_persistence.capabilities.transfers.hashes import RunHash
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.cli.kinds import WORDS
from curio_persistence.export.copying import CopyReport
from curio_persistence.export.formats import KIND_OF
from curio_persistence.export.records import ExportReport
from curio_persistence.importers.common.report import ImportReport
from curio_persistence.store.filters import COUNT
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS, TABLES, TABLES_OF_RUNS
from tests.support.one_of_each import insert_one_of_each

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
every_table_of_runs = pytest.mark.parametrize("table", TABLES_OF_RUNS, ids=lambda table: table.name)


@pytest.fixture
def filled(persistence: Persistence) -> Persistence:
    insert_one_of_each(persistence._store)
    return persistence


def count(persistence: Persistence, table: Table[object]) -> int:
    [(rows,)] = persistence._store.aggregate(table, (COUNT,))
    return int(rows)


def name_of(table: Table[object]) -> str:
    """The table's name in exports and reports."""
    names = [name for name, known in KINDS.items() if known.name == table.name]
    assert names, f"add {table.name} to KINDS in capabilities/transfers/kinds.py"
    return names[0]


@every_table
def test_a_record_from_elsewhere_is_recognised(filled: Persistence, table: Table[object]) -> None:
    known = KINDS[name_of(table)]
    has_versions = bool(known.unique) and "updated_at" in known.names
    assert has_versions or not filled._transfers.changes(known), (
        f"{table.name} needs a unique key and updated_at, or its Appends in Transfers"
    )


@every_table
def test_it_is_copied(filled: Persistence, table: Table[object]) -> None:
    with InMemoryPersistence() as copy:
        report = copy_records(filled, copy)
        assert report.ok
        assert count(copy, table) == 1
        name, told = name_of(table), report.to_dict()
        assert told.get(name) == told.get(f"new_{name}") == 1, f"{name} is missing in CopyReport"


@every_table
def test_it_can_be_picked(filled: Persistence, table: Table[object]) -> None:
    where = filled._transfers.where(KINDS[name_of(table)], {"run_id": "another"})
    assert filled._transfers.count(table, where) == 0


@every_table
def test_it_is_exported_and_imported(
    filled: Persistence, table: Table[object], tmp_path: object
) -> None:
    path, name = f"{tmp_path}/exported.jsonl", name_of(table)
    exported = export_records(filled, path).to_dict()
    assert exported.get(name) == 1, f"{name} is missing in export_records(tables=)"
    with InMemoryPersistence() as copy:
        imported = import_records(path, copy).to_dict()
        assert imported.get(name) == 1, f"{name} is missing in ImportReport or in its to_dict()"
        assert count(copy, table) == 1


@every_table_of_runs
def test_it_counts_in_the_hash_of_its_run(filled: Persistence, table: Table[object]) -> None:
    before = filled.runs.hash("run")
    filled._store.delete(table, ())
    assert filled.runs.hash("run") != before, f"{table.name} is in no hash"


@every_table_of_runs
def test_nothing_of_it_stays_with_a_deleted_run(filled: Persistence, table: Table[object]) -> None:
    assert filled.delete_agent_run("run")
    rows = table.rows(filled._store.select(table))
    assert not [row for row in rows if row["run_id"] == "run"], f"give {table.name} `references`"
    assert not [name for row in rows for name in table.content if row.get(name)]


def test_it_is_in_all_data() -> None:
    with InMemoryPersistence() as persistence:
        insert_one_of_each(persistence._store)
        data = persistence.get_all_data()
    assert len(data) == len(TABLES), f"get_all_data() has {[*data]} for {len(TABLES)} tables"
    assert all(data.values())


@every_table
def test_reports_and_commands_name_it(table: Table[object]) -> None:
    name = name_of(table)
    assert name in WORDS, f"add {name} to WORDS in cli/kinds.py"
    assert table.name in {known.name for known in KIND_OF}, f"add {name} to KIND_OF in export"
    for report in (ExportReport, ImportReport, CopyReport):
        known = {field.name for field in fields(report)}
        assert name in known, f"{name} is missing in {report.__name__}"
    if table in TABLES_OF_RUNS and table is not RUNS:
        assert name in RunHash._fields, f"{name} is missing in RunHash"


def test_an_export_names_every_kind(filled: Persistence) -> None:
    file = BytesIO()
    export_records(filled, file, format="jsonl", tables=tuple(KINDS))
    kinds = {json.loads(line)["kind"] for line in file.getvalue().splitlines()}
    assert kinds == {"export", "end", *KIND_OF.values()}
