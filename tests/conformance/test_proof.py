"""An export with a proof is verified without this library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentRunEvent,
    InvalidValueError,
    Persistence,
    SQLitePersistence,
    export_records,
    import_records,
)
from curio_persistence.hash_chain import CONTENT, FIELDS
from curio_persistence.tables import AUDIT_LOG, EVENTS

KEY = "a key of the auditors"


@pytest.fixture
def evidence(open_again: Callable[..., Persistence], tmp_path: Path) -> Path:
    persistence = open_again(chain=True, audit_key=KEY)
    persistence.log_agent_run_events(
        AgentRunEvent("planner", f"run-{n % 2}", data={"n": n, "é": "\0\ud800"}) for n in range(8)
    )
    persistence.audit.log("look", "report", metadata={"why": "asked"})
    export_records(persistence, tmp_path / "evidence", with_proof=True)
    return tmp_path / "evidence"


def verify(evidence: Path, key: str | None = KEY) -> tuple[int, str]:
    """Run the program of an export where it finds neither this library nor its packages."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", evidence / "verify.py"],
        env={} if key is None else {"CURIO_AUDIT_KEY": key},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def edit(file: Path, change: Callable[[list[Any]], object]) -> None:
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    change(records)
    file.write_text("".join(f"{json.dumps(each)}\n" for each in records), encoding="utf-8")


def test_an_export_verifies_and_is_imported(evidence: Path, tmp_path: Path) -> None:
    code, said = verify(evidence)
    assert (code, said) == (
        0,
        "chains: 3, links: 10, of them without their content: 0\nAll chains are whole.\n",
    )
    with SQLitePersistence(tmp_path / "again.db") as again:
        assert import_records(evidence, again).problems == ()
        assert again.audit.verify().links == 9, "one is the line of the import"


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("events", lambda events: events[2].update(data="{}"), "changed"),
        ("events", lambda events: events[2].update(event_type="other"), "changed"),
        ("events", lambda events: events[2].update(seq=float("nan")), "changed"),
        ("events", lambda events: events.pop(2), "missing"),
        ("events", lambda events: events.pop(), "cut"),
        ("events", lambda events: events[1].pop("hash"), "inserted"),
        ("audit", lambda lines: lines[0].update(actor_id="eve"), "changed"),
        ("audit", lambda lines: lines.clear(), "cut"),
    ],
)
def test_a_tampered_export_is_refused(
    evidence: Path, file: str, change: Callable[[list[Any]], object], problem: str
) -> None:
    edit(evidence / f"{file}.jsonl", change)
    code, said = verify(evidence, None)
    assert (code, f": {problem}: " in said, "not checked" in said) == (5, True, True), said


@pytest.mark.before_io
def test_a_head_that_was_forged_is_refused(evidence: Path) -> None:
    edit(evidence / "events.jsonl", lambda events: [events.pop(), events.pop()])
    events = [json.loads(line) for line in (evidence / "events.jsonl").read_text().splitlines()]
    ends = {event["run_id"]: event for event in events}

    def forge(proofs: list[Any]) -> None:
        for head in proofs[0]["heads"]:
            if head["name"] in ends:
                last = ends[head["name"]]
                head.update(position=last["chain_position"], hash=last["hash"])

    edit(evidence / "proof.json", forge)
    assert verify(evidence, None)[0] == 0
    code, said = verify(evidence)
    assert (code, ": forged: " in said) == (5, True)


def test_a_proof_of_one_run_has_its_chain_and_no_audit_log(
    open_again: Callable[..., Persistence], evidence: Path, tmp_path: Path
) -> None:
    persistence = open_again(chain=True)
    persistence.log_agent_run_events(AgentRunEvent("planner", "one") for _ in range(3))
    export_records(persistence, tmp_path / "one", with_proof=True, run_id="one")
    assert not (tmp_path / "one" / "audit.jsonl").exists()
    code, said = verify(tmp_path / "one", None)
    assert (code, said.startswith("chains: 1, links: 3,")) == (0, True)


@pytest.mark.before_io
@pytest.mark.parametrize(
    "wrong", [{"agent_id": "a"}, {"since": "1d"}, {"tables": ["runs"]}, {"format": "csv"}]
)
def test_a_proof_of_parts_of_chains_is_refused(
    persistence: Persistence, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError, match="A proof is of"):
        export_records(persistence, tmp_path / "evidence", with_proof=True, **wrong)
    assert not (tmp_path / "evidence").exists()


def test_the_fields_of_a_link_are_all_that_a_record_has() -> None:
    """A new column needs a new version of the hash: old links must verify as they are."""
    beside = {"id", "chain_position", "content_hash", "prev_hash", "hash"}
    for kind, table in (("events", EVENTS), ("audit", AUDIT_LOG)):
        assert {*FIELDS[kind], *CONTENT[kind]} == {*table.names} - beside
        assert {*CONTENT[kind]} == {*table.content}
