"""Test an agent without a database: `pytest examples/test_my_agent.py`.

The in-memory backend behaves like the databases, and forgets everything at the end.
"""

from __future__ import annotations

import pytest

from curio_persistence import BasePersistence, InMemoryPersistence


class Divider:
    """The agent under test; yours would be imported."""

    def __init__(self, *, persistence: BasePersistence) -> None:
        self._persistence = persistence

    def divide(self, a: int, b: int) -> float:
        with self._persistence.record_run(agent_id="divider", objective=f"{a} / {b}") as run:
            with run.tool("division", {"a": a, "b": b}) as call:
                call.result = quotient = a / b
            run.finish(f"It is {quotient:g}.")
            return quotient


@pytest.fixture
def persistence() -> InMemoryPersistence:
    return InMemoryPersistence()


def test_a_run_stores_its_answer(persistence: InMemoryPersistence) -> None:
    assert Divider(persistence=persistence).divide(6, 4) == 1.5

    [run] = persistence.get_agent_runs()
    assert run.status == "completed"
    assert run.final_synthesis_output == "It is 1.5."


def test_a_tool_call_is_recorded_with_its_arguments(persistence: InMemoryPersistence) -> None:
    Divider(persistence=persistence).divide(6, 4)

    [run] = persistence.get_agent_runs()
    [call] = persistence.get_agent_run_events(run.run_id, event_type="tool_call")
    data = call.get_data_dict()
    assert (data["tool_name"], data["args"], data["result"]) == ("division", {"a": 6, "b": 4}, 1.5)


def test_a_failure_is_recorded_and_propagates(persistence: InMemoryPersistence) -> None:
    with pytest.raises(ZeroDivisionError):
        Divider(persistence=persistence).divide(1, 0)

    [run] = persistence.get_agent_runs()
    assert run.status == "error"
    assert run.error_message == "ZeroDivisionError: division by zero"
    assert persistence.get_agent_run_stats()["tool_metrics"]["division"]["error_count"] == 1
