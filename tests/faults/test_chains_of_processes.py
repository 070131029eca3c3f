"""Chains to which many processes append, and whose processes are killed."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from curio_persistence import connect
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child

pytestmark = pytest.mark.slow

KEY = "a key of the auditors"
APPEND = """
with connect(sys.argv[1], chain=True, audit_key=sys.argv[2]) as persistence:
    print("open", flush=True)
    input()
    for number in range(int(sys.argv[3])):
        persistence.append_event("run", "planner", "step", payload={"number": number})
        if number % 10 == 0:
            persistence.audit.log("look", "report")
    print("done", flush=True)
"""
APPEND_FOR_EVER = """
from itertools import count
with connect(sys.argv[1], chain=True, audit_key=sys.argv[2]) as persistence:
    print("open", flush=True)
    for number in count():
        persistence.log_agent_run_events(
            AgentRunEvent("planner", f"run-{n % 3}", data={"number": n}) for n in range(number % 9)
        )
        persistence.audit.log("look", "report")
        if number % 20 == 19:
            persistence.delete_agent_run("run-2")
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


@pytest.mark.parametrize(
    ("processes", "appends"),
    [(3, 40), pytest.param(8, 500, marks=[pytest.mark.thorough, pytest.mark.timeout(300)])],
)
def test_processes_never_fork_a_chain(url: str, processes: int, appends: int) -> None:
    connect(url).close()
    with ExitStack() as stack:
        children = [
            stack.enter_context(Child(APPEND, url, KEY, str(appends))) for _ in range(processes)
        ]
        for child in children:
            assert child.read() == "open"
        for child in children:
            child.write("go")
        for child in children:
            assert child.read() == "done"
    with connect(url, audit_key=KEY) as persistence:
        report = persistence.audit.verify()
        lines = processes * (appends // 10)
        assert (report.faults, report.links) == ((), processes * appends + lines)
        events = persistence.get_agent_run_events("run")
        assert sorted(each.chain_position or 0 for each in events) == [
            *range(1, processes * appends + 1)
        ]


def test_a_chain_is_whole_after_each_kill(url: str) -> None:
    connect(url).close()
    for _ in soak.times(3):
        with Child(APPEND_FOR_EVER, url, KEY) as child, Child(APPEND_FOR_EVER, url, KEY) as other:
            assert (child.read(), other.read()) == ("open", "open")
            time.sleep(random.uniform(0.1, 0.6))
            child.kill()
            other.kill()
        with connect(url, audit_key=KEY) as persistence:
            report = persistence.audit.verify()
            assert report.faults == ()
            assert report.links
