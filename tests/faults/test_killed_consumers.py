"""Consumers killed at any moment: another one continues, no row is lost or applied twice."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from curio_persistence import AgentLLMUsage, AgentRunEvent, Persistence, connect
from curio_persistence.capabilities.consumers import Consumer
from curio_persistence.tables import EVENTS
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child

pytestmark = pytest.mark.slow

KILLS = 5 * soak.FACTOR
WRITERS = 3
CONSUMER = """
from curio_persistence.capabilities.consumers import Consumer
from curio_persistence.tables import EVENTS
persistence = connect(sys.argv[1])
consumer = Consumer(persistence._store, "test", EVENTS)
print("begun", flush=True)
while True:
    consumer.run(
        lambda events: persistence.log_llm_usages(
            AgentLLMUsage("consumer", "run", model=event.data) for event in events
        ),
        limit=7,
    )
"""
WRITER = """
import random, time
persistence, name = connect(sys.argv[1]), sys.argv[2]
print("begun", flush=True)
for number in range(10**9):
    try:
        with persistence.transaction():
            persistence.append_event("run", "agent", "log", payload=f"{name} {number}")
            if sys.argv[1].startswith("postgres"):
                time.sleep(random.choice((0, 0, 0.02)))  # Others commit meanwhile.
            if random.random() < 0.2:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    else:
        time.sleep(0.001)
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def test_a_killed_consumer_neither_loses_nor_repeats_a_row(url: str) -> None:
    with connect(url) as persistence, ExitStack() as stack:
        writers = [stack.enter_context(Child(WRITER, url, str(each))) for each in range(WRITERS)]
        for writer in writers:
            assert writer.read() == "begun"
        for _ in range(KILLS):
            with Child(CONSUMER, url) as one, Child(CONSUMER, url) as two:
                assert one.read() == two.read() == "begun"
                time.sleep(random.uniform(0.02, 0.3))
        for writer in writers:
            writer.kill()
        _consume_the_rest(persistence)
        applied = Counter(usage.model for usage in persistence.get_llm_usage(limit=None))
        stored = Counter(event.data for event in persistence.iter_agent_run_events())
        assert applied == stored
        assert set(applied.values()) == {1}
        assert len(applied) > 50


def _consume_the_rest(persistence: Persistence) -> None:
    """Consume until no rows are left, nor a transaction that the server has yet to end."""
    consumer = Consumer(persistence._store, "test", EVENTS)

    def apply(events: list[AgentRunEvent]) -> None:
        persistence.log_llm_usages(AgentLLMUsage("consumer", "run", model=e.data) for e in events)

    deadline = time.monotonic() + 10
    while consumer.run(apply) or consumer.watermark().gaps:
        assert time.monotonic() < deadline
