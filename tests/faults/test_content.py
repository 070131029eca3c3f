"""Texts that are stored once survive races between writers and deletions, kills and forks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    connect,
)
from curio_persistence.store.filters import Order
from curio_persistence.store.query import query_of
from curio_persistence.tables import CONTENT, EVENTS
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child, Fork
from tests.support.threads import all_at_once

ROUNDS = 6 * soak.FACTOR
SYSTEM = "You are one of many who say the same. " * 100
WRITER = """
import json
system = "You are one of many who say the same. " * 100
with connect(sys.argv[1], dedupe=True) as persistence:
    messages = [system]
    for number in range(40):
        messages.append(f"{sys.argv[2]} {number} " + "word " * 300)
        run_id = f"{sys.argv[2]}-{number}"
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", run_id, session_id="s"))
            persistence.log_llm_usage(AgentLLMUsage("agent", run_id, prompt=json.dumps(messages)))
        persistence.log_llm_usage(AgentLLMUsage("agent", run_id, prompt=json.dumps(messages[::-1])))
        if number == 15:
            print("begun", flush=True)
    input()
"""


@pytest.fixture(params=chosen("memory", "sqlite", "postgres18"))
def sharing(
    request: pytest.FixtureRequest, tmp_path: Path, schema_name: str
) -> Iterator[Persistence]:
    with connect(_url(request, tmp_path, schema_name), dedupe=True) as persistence:
        yield persistence


def _url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    match request.param:
        case "memory":
            return "memory://"
        case "sqlite":
            return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    return _url(request, tmp_path, schema_name)


def messages_of(name: str, number: int) -> list[str]:
    return [SYSTEM, *(f"{name} {n} " + "word " * 300 for n in range(number + 1))]


def keep_deleting(persistence: Persistence, ended: Event) -> None:
    """Delete runs of the session while others store more."""
    while not ended.is_set():
        for run in persistence.get_agent_runs(limit=None)[::2]:
            persistence.delete_agent_run(run.run_id)


@pytest.mark.slow
def test_writers_and_deletions_of_one_session_lose_no_text(sharing: Persistence) -> None:
    def write(name: str) -> None:
        for number in range(ROUNDS):
            run_id = f"{name}-{number}"
            sharing.create_agent_run(AgentRun("agent", run_id, session_id="s"))
            prompt = json.dumps(messages_of("all", number % 5))
            usage = AgentLLMUsage("agent", run_id, prompt=prompt, response_content=SYSTEM)
            sharing.log_llm_usage(usage)
            sharing.append_event(run_id, "agent", "log", message=SYSTEM, session_id="s")
            sharing.log_agent_run_events(
                AgentRunEvent("agent", run_id, data=messages_of(name, n)) for n in range(3)
            )

    ended = Event()
    deleting = Thread(target=keep_deleting, args=(sharing, ended))
    deleting.start()
    try:
        all_at_once(*(partial(write, name) for name in "abcd"))
    finally:
        ended.set()
        deleting.join()
    told = {usage.response_content for usage in sharing.get_llm_usage(limit=None)}
    assert told <= {SYSTEM, None}, "those of deleted runs have lost their words"
    for event in sharing.iter_agent_run_events():
        assert SYSTEM in (event.message or event.data or "")
    for run in sharing.get_agent_runs(limit=None):
        sharing.delete_agent_run(run.run_id)
    sharing.append_event("last", "agent", "log", message=SYSTEM, session_id="s")
    sharing.delete_agent_run("last")
    assert sharing._store.count(CONTENT) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("soaking")
def test_what_a_killed_writer_stored_can_be_read(url: str) -> None:
    connect(url).close()
    with Child(WRITER, url, "a") as one, Child(WRITER, url, "b") as two:
        for child in (one, two):
            assert child.read() == "begun"
        one.kill()
        two.kill()
    with connect(url, dedupe=True) as persistence:
        for usage in persistence.iter_llm_usage():
            name, number = str(usage.run_id).split("-")
            said = messages_of(name, int(number))
            assert json.loads(usage.prompt) in (said, said[::-1])
        assert {
            check.level for check in persistence.diagnose(deep=True) if check.name == "texts"
        } == {"ok"}
        for run in persistence.get_agent_runs(limit=None):
            persistence.delete_agent_run(run.run_id)
        assert persistence._store.count(CONTENT) == 0


@pytest.fixture
def soaking() -> None:
    """Marks a test that depends on chance."""


def test_a_deletion_leaves_what_an_open_transaction_refers_to(
    postgres18: str, schema_name: str
) -> None:
    with PostgresPersistence(dsn=postgres18, schema=schema_name, dedupe=True) as persistence:
        persistence.create_agent_run(AgentRun("agent", "one", session_id="s"))
        persistence.append_event("one", "agent", "log", message=SYSTEM, session_id="s")
        with persistence.transaction():
            persistence.append_event("two", "agent", "log", message=SYSTEM, session_id="s")
            all_at_once(partial(persistence.delete_agent_run, "one"))
            assert persistence._store.count(CONTENT) == 1
        [event] = persistence.query_events()
        assert (event.run_id, event.message) == ("two", SYSTEM)


def test_a_writer_waits_for_a_deletion_and_stores_the_text_again(
    postgres18: str, schema_name: str
) -> None:
    with PostgresPersistence(dsn=postgres18, schema=schema_name, dedupe=True) as persistence:
        persistence.create_agent_run(AgentRun("agent", "one", session_id="s"))
        persistence.append_event("one", "agent", "log", message=SYSTEM, session_id="s")
        store: Callable[[], object] = partial(
            persistence.append_event, "two", "agent", "log", message=SYSTEM, session_id="s"
        )
        writing = Thread(target=store)
        with persistence.transaction():
            persistence.delete_agent_run("one")
            writing.start()
            writing.join(0.3)
            assert writing.is_alive()
        writing.join()
        [event] = persistence.query_events()
        assert (event.run_id, event.message) == ("two", SYSTEM)
        assert persistence._store.count(CONTENT) == 1


def test_a_reader_meets_no_half_deleted_text(sharing: Persistence) -> None:
    """A page is read again if a deletion takes a text between its rows and its texts."""
    sharing.append_event("one", "agent", "log", message=SYSTEM)
    sharing.append_event("two", "agent", "log", message=SYSTEM)
    store = sharing._store
    resolved = store._resolved  # type: ignore[attr-defined]

    def resolved_late(*arguments: object) -> object:
        store._resolved = resolved  # type: ignore[attr-defined]
        sharing.delete_agent_run("one")
        return resolved(*arguments)

    store._resolved = resolved_late  # type: ignore[attr-defined]
    assert [event.run_id for event in sharing.query_events()] == ["two"]


def test_a_stream_goes_on_behind_a_fork(sharing: Persistence) -> None:
    for name in ("one", "two", "three"):
        sharing.append_event(name, "agent", "log", message=SYSTEM)
    stream = iter(sharing._store.stream(EVENTS, order=(Order("id"),), size=1))
    found = [next(stream)]
    assert Fork(lambda: 7).result() == 7
    sharing.append_event("four", "agent", "log", message=SYSTEM)
    found += stream
    at = EVENTS.names.index("message")
    assert [columns[at][0] for columns in found] == [SYSTEM] * 3


def test_a_stream_shows_texts_that_were_deleted_since(sharing: Persistence) -> None:
    for name in ("one", "two", "three"):
        sharing.append_event(name, "agent", "log", message=SYSTEM)
    with sharing._store.snapshot() as read:
        pages = read(query_of(EVENTS), 1)
        next(pages)
        if not isinstance(sharing, InMemoryPersistence):
            sharing.delete_agent_run("three")
        at = EVENTS.names.index("message")
        assert [page[at][0] for page in pages] == [SYSTEM, SYSTEM]
