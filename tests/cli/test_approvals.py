"""`approvals` lists what waits and decides it; `snapshots` lists and prints saved states."""

from __future__ import annotations

import json

import pytest

from curio_persistence import connect
from tests.cli.program import Program


@pytest.fixture
def asked(recorded: str) -> str:
    """The URL of a database in which three tickets wait, and a run has two snapshots."""
    with connect(recorded) as persistence:
        for number in (1, 2, 3):
            persistence.approvals.request(
                "run-42", "pay", {"amount": number}, ticket_id=f"ticket-{number}", step_id="s-1"
            )
        persistence.snapshots.save("run-42", "plan", {"todo": ["pay"]}, metadata={"by": "hand"})
        persistence.snapshots.save("run-42", "pay", {"todo": []})
    return recorded


def test_what_waits_is_listed(program: Program, asked: str) -> None:
    found = program("approvals", "--url", asked).json()
    assert [ticket["ticket_id"] for ticket in found] == ["ticket-3", "ticket-2", "ticket-1"]
    program("approvals", "deny", "ticket-2", "--url", asked)
    found = program("approvals", "--url", asked, "--run", "run-42").json()
    assert [ticket["ticket_id"] for ticket in found] == ["ticket-3", "ticket-1"]
    every = program("approvals", "--url", asked, "--status", "all", "--tool", "pay").json()
    assert [t["status"] for t in every] == ["pending", "denied", "pending"]
    assert program("approvals", "--url", asked, "--status", "approved").json() == []
    shown = program.on_terminal("approvals", "--url", asked)
    assert shown.lines[0].split() == ["TICKET", "STATUS", "WHEN", "RUN", "TOOL", "ARGUMENTS"]
    assert shown.lines[1].startswith("ticket-3  pending")
    assert shown.lines[1].endswith('{"amount": 3}')
    nothing = program.on_terminal("approvals", "--url", asked, "--agent", "nobody")
    assert "has no such tickets." in nothing.out + nothing.said


def test_a_ticket_is_decided(program: Program, asked: str) -> None:
    done = program(
        *("approvals", "approve", "ticket-1", "--by", "ada"),
        *("--reason", "It may.", "--url", asked),
    )
    assert done.code == 0
    told = json.loads(done.out)
    assert (told["status"], told["resolved_by"], told["reason"]) == ("approved", "ada", "It may.")
    assert "ticket ticket-1 is approved." in done.said
    again = program("approvals", "deny", "ticket-1", "--by", "bob", "--url", asked)
    assert (again.code, "was approved by ada at" in again.said) == (1, True)
    assert program("approvals", "expire", "ticket-2", "--url", asked).json()["status"] == "expired"
    assert program("approvals", "show", "ticket-1", "--url", asked).json() == told
    shown = program.on_terminal("approvals", "show", "ticket-1", "--url", asked)
    assert "by         ada" in shown.lines
    [line] = program("audit", "--action", "approve", "--url", asked).json()
    assert (line["actor_id"], line["resource"]) == ("ada", "ticket-1")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("approve",), 2, "approvals approve needs the id of a TICKET."),
        (("list", "ticket-1"), 2, "approvals list takes no TICKET: approvals show ticket-1"),
        (("--by", "ada"), 2, "--by and --reason are of approve, deny and expire."),
        (("deny", "ticket-1", "--run", "run-42"), 2, "takes one TICKET, and no filters"),
        (("deny", "ticket-1", "--status", "all"), 2, "takes one TICKET, and no filters"),
        (("deny", "ticket-9"), 3, "has no approval ticket 'ticket-9'"),
        (("show", "ticket-9"), 3, "has no approval ticket 'ticket-9'"),
        (("aprove", "ticket-1"), 2, "invalid choice: 'aprove'"),
        (("--status", "open"), 2, "invalid choice: 'open'"),
    ],
)
def test_mistakes_are_told(
    program: Program, agents_db: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = program("approvals", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.said


def test_show_lists_the_tickets_of_a_run(program: Program, asked: str) -> None:
    reason = "No.\npay approved by eve"  # Each ticket has one line, whatever was typed.
    program("approvals", "deny", "ticket-1", "--by", "ada", "--reason", reason, "--url", asked)
    shown = program.on_terminal("show", "run-42", "--url", asked).out
    assert "pay denied by ada (ticket-1): No. pay approved by eve" in shown
    assert "pay pending until 20" in shown


def test_the_steps_of_a_run_are_listed(program: Program, asked: str) -> None:
    listed = program("snapshots", "run-42", "--url", asked).json()
    assert [(each["step_id"], "state" in each) for each in listed] == [
        ("plan", False),
        ("pay", False),
    ]
    shown = program.on_terminal("snapshots", "run-42", "--url", asked)
    assert shown.lines[0].split() == ["STEP", "FIRST", "SAVED", "SAVED", "METADATA"]
    assert [line.split()[0] for line in shown.lines[1:]] == ["plan", "pay"]


def test_a_state_is_printed(program: Program, asked: str) -> None:
    one = program("snapshots", "run-42", "plan", "--url", asked).json()
    assert json.loads(one["state"]) == {"todo": ["pay"]}
    last = program("snapshots", "run-42", "--last", "--url", asked).json()
    assert (last["step_id"], json.loads(last["state"])) == ("pay", {"todo": []})
    shown = program.on_terminal("snapshots", "run-42", "plan", "--url", asked)
    assert 'state     {"todo": ["pay"]}' in shown.lines


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run-9",), 3, "has no run 'run-9'"),
        (("run-42",), 0, "Run run-42 has no snapshots."),
        (("run-42", "--last"), 3, "Run 'run-42' has no snapshot."),
        (("run-42", "one"), 3, "Run 'run-42' has no snapshot of step 'one'."),
        (("run-42", "one", "--last"), 2, "Name a STEP, or give --last."),
    ],
)
def test_mistakes_with_snapshots_are_told(
    program: Program, agents_db: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = program.on_terminal("snapshots", *arguments)
    assert ended.code == code
    assert said in ended.out + ended.said
