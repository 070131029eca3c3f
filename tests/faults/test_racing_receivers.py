"""Receivers of one trace in threads and processes, and some that are killed."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from curio_persistence import InMemoryPersistence, Persistence, Receiver, connect
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child
from tests.support.otel_dumps import dump
from tests.support.otlp_corpus import spans

pytestmark = pytest.mark.slow

CAPTURES = ("double-langgraph-parallel", "openinference-openai-agents-nested")
KILLS = 4 * soak.FACTOR
RECEIVE = """
import random
from tests.support.otlp_corpus import spans
persistence = connect(sys.argv[1], prices=False)
receiver = Receiver(persistence)
some = [span for capture in sys.argv[3:] for span in spans(capture)]
random.Random(sys.argv[2]).shuffle(some)
print("begun", flush=True)
input()
for span in some:
    receiver.spans([span])
    print("stored", flush=True)
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'spans.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


@pytest.fixture(scope="module")
def whole() -> dict[str, list[object]]:
    """Return the tables after all spans have come at once."""
    with InMemoryPersistence(prices=False) as persistence:
        for capture in CAPTURES:
            Receiver(persistence).spans(spans(capture))
        return dump(persistence)


def stored(url: str) -> dict[str, list[object]]:
    with connect(url, prices=False) as persistence:
        return dump(persistence)


def test_processes_that_receive_one_trace_end_in_the_same_tables(
    url: str, whole: dict[str, list[object]]
) -> None:
    connect(url).close()
    with ExitStack() as stack:
        children = [
            stack.enter_context(Child(RECEIVE, url, str(number), *CAPTURES)) for number in range(3)
        ]
        for child in children:
            assert child.read() == "begun"
        for child in children:
            child.write("go")
        for child in children:
            for _ in range(sum(len(spans(capture)) for capture in CAPTURES)):
                assert child.read() == "stored"
    assert stored(url) == whole


def test_threads_that_receive_one_trace_end_in_the_same_tables(
    url: str, whole: dict[str, list[object]]
) -> None:
    with connect(url, prices=False) as persistence:
        failures: list[BaseException] = []

        def receive(number: int) -> None:
            try:
                _one_by_one(persistence, number)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=receive, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert dump(persistence) == whole


def _one_by_one(persistence: Persistence, number: int) -> None:
    some = [span for capture in CAPTURES for span in spans(capture)]
    random.Random(number).shuffle(some)
    receiver = Receiver(persistence)
    for span in some:
        receiver.spans([span])


def test_a_killed_receiver_is_completed_by_what_is_sent_again(
    url: str, whole: dict[str, list[object]]
) -> None:
    connect(url).close()
    for number in range(KILLS):
        with Child(RECEIVE, url, str(number), *CAPTURES) as child:
            assert child.read() == "begun"
            child.write("go")
            assert child.read() == "stored"
            time.sleep(random.uniform(0, 0.05))
            child.kill()
    with connect(url, prices=False) as persistence:
        for capture in CAPTURES:
            Receiver(persistence).spans(spans(capture))
        assert dump(persistence) == whole
