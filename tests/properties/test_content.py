"""Random histories of long texts are read as they were written, and leave nothing when deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
)
from curio_persistence.content import seeing, splitting, storing
from curio_persistence.content.splitting import split
from curio_persistence.tables import CONTENT
from tests.properties.strategies import any_text, json_values
from tests.support import soak
from tests.support.backends import chosen

LEAST = 8
SEPARATORS = st.sampled_from([None, (",", ":"), (" , ", " : ")])


@pytest.fixture(autouse=True, scope="module")
def short_texts_are_long() -> Iterator[None]:
    """Lets short texts count as long, so that examples stay small."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (splitting, storing, seeing):
            for name in {"LONG", "PART", "_GROWING"} & vars(module).keys():
                patch.setattr(module, name, LEAST)
        yield


@st.composite
def written(draw: st.DrawFn, value: SearchStrategy[Any] = json_values) -> str:
    """Return JSON in one of many spellings, or with something before or behind it."""
    text = json.dumps(
        draw(value),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, None, 1])),
        separators=draw(SEPARATORS),
    )
    begin, end = st.sampled_from(["", "", "", " ", "{"]), st.sampled_from(["", "", "", "}"])
    return f"{draw(begin)}{text}{draw(end)}"


texts = any_text | written() | st.text('[]{}",: \\\n\ufdd0', max_size=40)
a_message = st.dictionaries(st.sampled_from(["role", "content"]), any_text, max_size=2)
messages = st.lists(a_message | any_text | st.none() | st.integers(), min_size=1, max_size=4)


@given(texts)
def test_what_is_split_is_put_together_again(text: str) -> None:
    with InMemoryPersistence(dedupe=True) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        event = AgentRunEvent("agent", "run", data=text, message=text)
        usage = AgentLLMUsage("agent", "run", prompt=text, response_content=text[::-1])
        persistence.log_agent_run_event(event)
        persistence.log_llm_usage(usage)
        assert persistence.get_agent_run_events("run") == [event]
        assert persistence.get_llm_usage() == [usage]
        persistence.delete_agent_run("run")
        assert persistence._store.count(CONTENT) == 0


@given(written(st.dictionaries(any_text, json_values | any_text)))
def test_an_object_keeps_its_shape(text: str) -> None:
    try:
        whole = json.loads(text)
    except ValueError:
        return
    parts = split("scope!", text) if text.startswith("{") else None
    if parts is not None:
        shape = json.loads(parts.shape)
        assert shape.keys() == whole.keys()
        kept = {key: value for key, value in shape.items() if value == whole[key]}
        assert all(isinstance(whole[key], str | list | dict) for key in whole.keys() - kept.keys())


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), messages, st.booleans(), st.integers(0, 5)),
        max_size=8,
    )
)
@settings(max_examples=20 * soak.FACTOR)
@pytest.mark.parametrize("backend", chosen("memory", "sqlite"))
def test_histories_are_read_as_without_sharing(backend: str, steps: list[Any]) -> None:
    """Each step continues one of the lists before it, in one of four runs of two sessions."""
    with (
        SQLitePersistence(":memory:", dedupe=True)
        if backend == "sqlite"
        else InMemoryPersistence(dedupe=True) as sharing,
        InMemoryPersistence() as plain,
    ):
        for persistence in (sharing, plain):
            follow(persistence, steps)
        assert records(sharing) == records(plain)
        for run in sharing.get_agent_runs(limit=None):
            sharing.delete_agent_run(run.run_id)
        assert sharing._store.count(CONTENT) == 0


def follow(persistence: Persistence, steps: list[Any]) -> None:
    lists: list[list[Any]] = [[]]
    for number in range(4):
        session = None if number == 3 else f"s{number % 2}"
        persistence.create_agent_run(AgentRun("agent", f"r{number}", session_id=session))
    gone = set[int]()
    for number, before, new, as_event, deleted in steps:
        if number in gone:
            continue
        lists.append([*lists[before % len(lists)], *new])
        text, run_id = json.dumps(lists[-1], ensure_ascii=False), f"r{number}"
        if before % 2:  # No JSON, in lines.
            text = "\n".join(map(str, lists[-1]))
        if as_event:
            payload = {"all": lists[-1], "n": len(lists)}
            persistence.append_event(run_id, "agent", "log", payload=payload)
        else:
            persistence.log_llm_usage(AgentLLMUsage("agent", run_id, prompt=text))
        if deleted == 5:
            gone.add(number)
            persistence.delete_agent_run(run_id)


def records(persistence: Persistence) -> list[Any]:
    return [
        *((usage.run_id, usage.prompt) for usage in persistence.get_llm_usage(limit=None)),
        *((e.run_id, e.data) for e in persistence.iter_agent_run_events(order="oldest")),
    ]
