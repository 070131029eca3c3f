"""Run logs to which many processes append, and whose processes are killed."""

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

_ENTRIES = """
from curio_persistence.runlog.entries import LLMCallCompleted, RunStarted, UserStepCommitted
from curio_persistence.runlog.values import StepMetrics
def steps(count, run="run"):
    return [
        UserStepCommitted(run_id=run, agent_id="a", step_id=str(n), role="user", content="x")
        for n in range(count)
    ]
"""
APPEND = f"""{_ENTRIES}
with connect(sys.argv[1]) as persistence:
    print("open", flush=True)
    input()
    mine = []
    for number in range(int(sys.argv[2])):
        mine += persistence.runlog.append("chat", steps(2))
        mine += persistence.runlog.allocate("chat")
    print(" ".join(map(str, mine)), flush=True)
"""
APPEND_FOR_EVER = f"""{_ENTRIES}
from itertools import count
with connect(sys.argv[1]) as persistence:
    print("open", flush=True)
    for number in count():
        run = f"run-{{os.getpid()}}-{{number}}"
        call = LLMCallCompleted(run_id=run, agent_id="a", metrics=StepMetrics(input_tokens=1))
        begun = RunStarted(run_id=run, agent_id="a")
        appended = persistence.runlog.append("chat", [begun, *steps(number % 5, run), call])
        print(appended[-1], flush=True)
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
def test_processes_never_get_the_same_number(url: str, processes: int, appends: int) -> None:
    connect(url).close()
    taken: list[int] = []
    with ExitStack() as stack:
        children = [stack.enter_context(Child(APPEND, url, str(appends))) for _ in range(processes)]
        for child in children:
            assert child.read() == "open"
        for child in children:
            child.write("go")
        for child in children:
            mine = [int(word) for word in child.read().split()]
            assert mine == sorted(mine)
            taken += mine
    assert sorted(taken) == [*range(1, 3 * processes * appends + 1)]
    with connect(url) as persistence:
        entries = persistence.runlog.entries("chat")
        assert len({entry.sequence for entry in entries}) == 2 * processes * appends


def test_what_was_appended_before_a_kill_is_there_and_whole(url: str) -> None:
    connect(url).close()
    for _ in soak.times(3):
        with Child(APPEND_FOR_EVER, url) as child, Child(APPEND_FOR_EVER, url) as other:
            assert (child.read(), other.read()) == ("open", "open")
            time.sleep(random.uniform(0.1, 0.4))
            told = [*child.kill().split(), *other.kill().split()]
        with connect(url) as persistence:
            entries = persistence.runlog.entries("chat")
            stored = {entry.sequence for entry in entries}
            assert {int(number) for number in told} <= stored
            assert len(stored) == len(entries)
            begun = [e.run_id for e in entries if e.kind == "run_started"]
            calls = [e.run_id for e in entries if e.kind == "llm_call_completed"]
            assert sorted(begun) == sorted(calls)
            assert persistence.count_agent_runs() == len(begun)
            assert sum(1 for _ in persistence.iter_llm_usage()) == len(calls)
            assert persistence.runlog.append("chat", []) == []
            assert min(persistence.runlog.allocate("chat")) > max(stored)
