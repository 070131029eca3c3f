"""Tickets that processes decide at the same time, and processes that are killed while they do."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import pytest

from curio_persistence import AgentRun, connect
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child

pytestmark = pytest.mark.slow

TICKETS = 20
KILLS = 3 * soak.FACTOR
APPROVER = """
import random, json
persistence = connect(sys.argv[1])
print("begun", flush=True)
input()
won = []
tickets = json.loads(sys.argv[2])
random.shuffle(tickets)
for ticket in tickets:
    try:
        persistence.approvals.resolve(ticket, random.choice(["approved", "denied"]), by=sys.argv[3])
        won.append(ticket)
    except ConflictError:
        pass
print(json.dumps(won), flush=True)
"""
SAVER = """
persistence = connect(sys.argv[1])
last = persistence.snapshots.latest("run")
number = last.get_state()["number"] if last else 0
while True:
    number += 1
    persistence.snapshots.save("run", f"step {number % 7}", {"number": number, "text": "x" * 9000})
    print(number, flush=True)
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def test_of_processes_that_decide_one_wins_each_ticket(url: str) -> None:
    tickets = [f"t{number}" for number in range(TICKETS)]
    names = ("ada", "bob", "eve")
    with connect(url) as persistence, ExitStack() as stack:
        persistence.create_agent_run(AgentRun("agent", "run"))
        for ticket in tickets:
            persistence.approvals.request("run", "pay", ticket_id=ticket)
        given = json.dumps(tickets)
        approvers = [stack.enter_context(Child(APPROVER, url, given, name)) for name in names]
        for approver in approvers:
            assert approver.read() == "begun"
        for approver in approvers:
            approver.write("go")
        won = {name: json.loads(each.read()) for name, each in zip(names, approvers, strict=True)}
        assert sorted(chain.from_iterable(won.values())) == sorted(tickets)
        decided = {ticket.ticket_id: ticket for ticket in persistence.approvals.list("run")}
        for name, of_name in won.items():
            assert {decided[ticket].resolved_by for ticket in of_name} <= {name}
        lines = Counter(entry.resource for entry in persistence.audit.iterate())
        assert lines == dict.fromkeys(tickets, 1)
        assert persistence.audit.verify().ok


def test_a_killed_decision_is_made_with_its_line_or_not_at_all(url: str) -> None:
    with connect(url) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        for attempt in range(KILLS):
            tickets = [f"t{attempt}-{number}" for number in range(100)]
            for ticket in tickets:
                persistence.approvals.request("run", "pay", ticket_id=ticket)
            with Child(APPROVER, url, json.dumps(tickets), "ada") as approver:
                assert approver.read() == "begun"
                approver.write("go")
                time.sleep(random.uniform(0, 0.1))
        decided = {t.ticket_id for t in persistence.approvals.list("run") if t.status != "pending"}
        assert decided == {entry.resource for entry in persistence.audit.iterate()}
        assert persistence.audit.verify().ok


def test_a_killed_run_goes_on_from_what_it_saved_last(url: str) -> None:
    with connect(url) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        said = 0
        for _ in range(KILLS):
            with Child(SAVER, url) as saver:
                first = int(saver.read())
                assert first == said + 1
                for _ in range(random.randrange(20)):
                    first = int(saver.read())
                said = first
            last = persistence.snapshots.latest("run")
            assert last is not None
            assert last.get_state()["number"] >= said
            said = last.get_state()["number"]
        assert len(persistence.snapshots.list("run")) <= 7
