"""Each import leaves one line in the audit log, and none fails because it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from curio_persistence import (
    AgentRun,
    ImportReport,
    InMemoryPersistence,
    Persistence,
    PersistenceError,
    UnavailableError,
    export_records,
    import_agdd,
    import_agentlens,
    import_agiwo,
    import_costs,
    import_records,
)
from curio_persistence.capabilities import deletions
from curio_persistence.importers.exports import _Arriving
from tests.support import agiwo_file
from tests.support.entries import user
from tests.support.lens import event, write_database
from tests.support.run_folders import RunFolder

LOG = b'{"timestamp": "2026-11-20T10:30:00+00:00", "event": "start", "data": {}}'
COST = '{"timestamp": "2026-11-20T10:30:00+00:00", "model": "m", "cost_usd": 0.5}'
Imported = Callable[[Path, Persistence | None], ImportReport]


def run_folders(path: Path) -> None:
    path.mkdir()
    RunFolder(path, "mag-1").line("logs.jsonl", LOG)


def ledger(path: Path) -> None:
    path.write_text(COST)


def lens(path: Path) -> None:
    write_database(path, [event()])


def agiwo(path: Path) -> None:
    agiwo_file.write_database(path, [agiwo_file.row_of(user("u", session_id="chat", sequence=1))])


def exported(path: Path) -> None:
    with InMemoryPersistence() as source:
        source.create_agent_run(AgentRun("agent", "run"))
        export_records(source, path, format="jsonl")


SOURCES = {
    "agdd": (import_agdd, run_folders, "runs"),
    "costs": (import_costs, ledger, "usage"),
    "agentlens": (import_agentlens, lens, "events"),
    "agiwo": (import_agiwo, agiwo, "events"),
    "records": (import_records, exported, "runs"),
}
every_source = pytest.mark.parametrize("kind", SOURCES)


@every_source
def test_an_import_leaves_one_line(persistence: Persistence, kind: str, tmp_path: Path) -> None:
    imported, write, counted = SOURCES[kind]
    path = tmp_path / "source.jsonl"
    write(path)
    report = imported(path, None)
    assert persistence.audit.count() == 0, "a dry run imports nothing"
    with persistence.audit.acting_as("ada"):
        report = imported(path, persistence)
    [line] = persistence.audit.query()
    assert (line.action, line.resource, line.resource_type) == ("import", str(path), "file")
    assert line.actor_id == "ada"
    about = line.get_metadata_dict()
    assert about["kind"] == kind
    assert about[counted] == getattr(report, counted) == 1
    imported(path, persistence)
    again = persistence.audit.query()[0].get_metadata_dict()
    assert again["kind"] == kind
    assert counted not in again, "nothing came"
    assert persistence.audit.count() == 2
    assert persistence.audit.verify().ok


def test_an_open_file_has_no_name(persistence: Persistence, tmp_path: Path) -> None:
    exported(tmp_path / "source.jsonl")
    import_records(BytesIO((tmp_path / "source.jsonl").read_bytes()), persistence)
    [line] = persistence.audit.query()
    assert line.resource == "an open file"


def test_an_import_that_fails_halfway_has_its_line(
    persistence: Persistence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with InMemoryPersistence() as source:
        source.create_agent_run(AgentRun("agent", "run"))
        source.append_event("run", "agent", "log")
        export_records(source, tmp_path / "all.jsonl")
    stored = _Arriving.flush

    def failing(self: _Arriving) -> None:
        if self._table.name == "agent_run_events":
            raise ZeroDivisionError
        stored(self)

    monkeypatch.setattr(_Arriving, "flush", failing)
    with pytest.raises(ZeroDivisionError):
        import_records(tmp_path / "all.jsonl", persistence)
    [line] = persistence.audit.query()
    assert line.get_metadata_dict() == {"agents": 1, "kind": "records", "runs": 1}


def test_an_import_that_fails_before_anything_is_stored_has_no_line(
    persistence: Persistence, tmp_path: Path
) -> None:
    for source in (tmp_path, tmp_path / "nothing.jsonl"):
        with pytest.raises(PersistenceError):
            import_records(source, persistence)
    assert persistence.audit.count() == 0


def test_an_import_does_not_fail_where_no_line_can_be_written(
    persistence: Persistence,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refusing:
        def __init__(self, *_: object) -> None:
            pass

        def insert(self, _: object) -> None:
            raise UnavailableError("too busy")

    monkeypatch.setattr(deletions, "Chains", Refusing)
    exported(tmp_path / "source.jsonl")
    assert import_records(tmp_path / "source.jsonl", persistence).runs == 1
    assert "has no line of this import: too busy" in caplog.text
    assert json.loads(json.dumps(persistence.get_agent_runs()[0].to_dict()))["run_id"] == "run"
