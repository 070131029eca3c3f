"""A stream tells every committed run, event, model call and span once, and their changes."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf, nan
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSpan,
    ClosedError,
    ConfigurationError,
    InvalidValueError,
    Persistence,
    UnsupportedError,
    aio,
)
from curio_persistence.capabilities.live import LiveStream, hub
from curio_persistence.tables import CHANGES

Open = Callable[..., Persistence]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "INTERVAL", 0.01)


def append(persistence: Persistence, *data: int, run_id: str = "run", **fields: Any) -> None:
    for number in data:
        persistence.append_event(run_id, "agent", "log", payload=number, **fields)


def told(stream: LiveStream, count: int) -> list[str]:
    """The next items, in words."""
    found: list[str] = []
    while len(found) < count:
        items = stream.take(count - len(found), timeout=5)
        assert items, f"only {found}"
        found += [words(item) for item in items]
    return found


def words(item: Any) -> str:
    if item.kind == "missed":
        return f"missed {item.missed}"
    record = item.record
    name = record.data if item.kind == "event" else record.run_id
    return f"{item.kind} {name} {item.change}"


def nothing(stream: LiveStream) -> bool:
    return stream.take(timeout=0.05) == []


def test_what_is_stored_is_told_in_order(persistence: Persistence) -> None:
    append(persistence, 1, run_id="before")
    with persistence.stream() as stream:
        assert nothing(stream)
        with persistence.record_run(agent_id="guide", run_id="r") as run:
            run.llm_call(model="acme-1", prompt="?", response="!")
        persistence.traces.save_span(AgentSpan("t" * 32, "s" * 16, run_id="r"))
        items = [next(stream) for _ in range(6)]
    kinds = [(item.kind, item.change) for item in items]
    assert sorted(kinds) == sorted(
        [
            ("run", "begun"),
            ("event", "added"),
            ("usage", "added"),
            ("event", "added"),
            ("run", "ended"),
            ("span", "begun"),
        ]
    )
    assert kinds[0] == ("run", "begun")
    assert items[-1].record is not None
    assert items[0].record is not items[-1].record
    ended = [item.record for item in items if item.change == "ended"]
    assert isinstance(ended[0], AgentRun)
    assert ended[0].status == "completed"


def test_a_run_is_begun_then_changed_then_ended(persistence: Persistence) -> None:
    run = AgentRun("agent", "run", status="running")
    with persistence.stream(kinds="run") as stream:
        persistence.create_agent_run(run)
        assert told(stream, 1) == ["run run begun"]
        run.total_iterations = 1
        persistence.update_agent_run("run", run)
        assert told(stream, 1) == ["run run changed"]
        run.status = "completed"
        persistence.update_agent_run("run", run)
        assert told(stream, 1) == ["run run ended"]
        persistence.search.index_pending()  # Which changes runs in the database, not for people.
        persistence.delete_agent_run("run")
        assert nothing(stream)


def test_changes_between_two_reads_are_told_once(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = AgentRun("agent", "run", status="running")
    with persistence.stream() as stream:
        with persistence.transaction():
            persistence.create_agent_run(run)
            for number in range(5):
                run.total_iterations = number
                persistence.update_agent_run("run", run)
            run.status = "completed"
            persistence.update_agent_run("run", run)
        assert told(stream, 2) == ["run run begun", "run run ended"]
        assert nothing(stream)


def test_a_span_is_told_when_it_begins_and_when_it_ends(persistence: Persistence) -> None:
    now = persistence.clock.now()
    with persistence.stream(kinds=["span"]) as stream:
        persistence.traces.save_span(AgentSpan("t" * 32, "s" * 16, run_id="r", started_at=now))
        assert told(stream, 1) == ["span r begun"]
        persistence.traces.save_span(AgentSpan("t" * 32, "s" * 16, run_id="r", ended_at=now))
        assert told(stream, 1) == ["span r ended"]


def test_filters_are_those_of_runs_agents_and_sessions(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("one", "a", session_id="chat"))
    persistence.create_agent_run(AgentRun("two", "b"))
    streams = [
        persistence.stream(agent_id="one"),
        persistence.stream(run_id=["a", "c"]),
        persistence.stream(session_id="chat"),
        persistence.stream(kinds=["usage", "span"], run_id="a"),
    ]
    for run_id, agent in (("a", "one"), ("b", "two")):
        persistence.append_event(run_id, agent, "log", payload=run_id)
        persistence.log_llm_usage(AgentLLMUsage(agent, run_id))
        persistence.traces.save_span(AgentSpan("t" * 32, run_id * 16, run_id=run_id))
    both = ["event a added", "usage a added"]
    assert told(streams[0], 2) == both
    assert told(streams[1], 3) == [*both, "span a begun"]
    assert told(streams[2], 3) == [*both, "span a begun"]
    assert told(streams[3], 2) == ["usage a added", "span a begun"]
    for stream in streams:
        assert nothing(stream)
        stream.close()


def test_each_id_resumes_behind_its_item(persistence: Persistence) -> None:
    with persistence.stream() as stream:
        run = AgentRun("agent", "run", status="running")
        persistence.create_agent_run(run)
        append(persistence, 1, 2, 3)
        persistence.log_llm_usage(AgentLLMUsage("agent", "run"))
        run.status = "completed"
        persistence.update_agent_run("run", run)
        items = [next(stream) for _ in range(6)]
    everything = [words(item) for item in items]
    for number, item in enumerate(items, start=1):
        rest = 6 - number
        with persistence.stream(after=item.id) as again:
            found = [again.take(1, timeout=5)[0] for _ in range(rest)]
            assert [words(each) for each in found] == everything[number:]
            assert nothing(again)
    with persistence.stream(after=items[3].id) as again:
        append(persistence, 4)
        assert sorted(told(again, 3)) == sorted([*everything[4:], "event 4 added"])


def test_resuming_behind_thousands_of_events(persistence: Persistence) -> None:
    with persistence.stream(kinds="event") as stream:
        start = stream.id
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type="log", data=number) for number in range(2_500)
    )
    with persistence.stream(after=start, kinds="event") as stream:
        items = []
        while len(items) < 2_500:
            items += stream.take(timeout=5)
        append(persistence, 2_500)
        items += stream.take(timeout=5)
    assert [int(item.record.data) for item in items] == list(range(2_501))  # type: ignore[union-attr]
    with persistence.stream(after=items[1_234].id) as stream:
        assert told(stream, 1) == ["event 1235 added"]


def test_a_stream_between_two_ids_ends(persistence: Persistence) -> None:
    with persistence.stream() as stream:
        start = stream.id
        run = AgentRun("agent", "run", status="running")
        persistence.create_agent_run(run)
        persistence.log_agent_run_events(
            AgentRunEvent("agent", "run", event_type="log", data=number) for number in range(500)
        )
        persistence.update_agent_run("run", run)
        items: list[Any] = []
        while len(items) < 502:
            items += stream.take(timeout=5)
    append(persistence, 500)
    everything = list(map(words, items))
    assert list(map(words, persistence.stream(after=start, until=items[-1].id))) == everything
    part = persistence.stream(after=items[3].id, until=items[400].id)
    assert list(map(words, part)) == everything[4:401]
    assert list(persistence.stream(after=start, until=start)) == []


def test_a_slow_listener_is_told_what_it_missed(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_KEPT", 3)
    with persistence.stream(kinds="event", run_id="run") as slow, persistence.stream() as quick:
        append(persistence, 1)
        assert told(slow, 1) == ["event 1 added"]
        append(persistence, 2, 3)
        append(persistence, 100, run_id="other")
        append(persistence, 4, 5, 6, 7)
        assert told(quick, 1)
        while quick.take(timeout=0.2):
            pass
        missed = slow.take(1, timeout=5)[0]
        assert (missed.kind, missed.missed, missed.record) == ("missed", 3, None)
        assert told(slow, 3) == ["event 5 added", "event 6 added", "event 7 added"]
        filters: Any = {"kinds": "event", "run_id": "run"}
        with persistence.stream(after=missed.since, until=missed.id, **filters) as second:
            assert list(map(words, second)) == ["event 2 added", "event 3 added", "event 4 added"]
        with persistence.stream(after=missed.id, kinds="event") as third:
            assert told(third, 3) == ["event 5 added", "event 6 added", "event 7 added"]


def test_long_texts_are_kept_for_slow_listeners_up_to_a_number_of_bytes(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_KEPT_BYTES", 25_000)
    with persistence.stream(kinds="event") as slow, persistence.stream() as quick:
        for _ in range(9):
            persistence.append_event("run", "agent", "log", payload="x" * 10_000)
            assert quick.take(timeout=5)
        missed, *rest = slow.take(1, timeout=5) + slow.take(timeout=5)
        assert missed.missed + len(rest) == 9
        assert 1 <= len(rest) <= 2


def test_listeners_share_one_reader(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [persistence.stream() for _ in range(50)]
    reads = []
    read = hub.read_news
    monkeypatch.setattr(hub, "read_news", lambda *given: reads.append(1) or read(*given))
    append(persistence, 1)
    for stream in streams:
        assert told(stream, 2) == ["run run begun", "event 1 added"]
    threads = [each for each in threading.enumerate() if each.name == "curio-live"]
    assert len(threads) == 1
    assert len(reads) < 40
    for stream in streams:
        stream.close()
    threads[0].join(5)
    assert not threads[0].is_alive()


def test_a_dropped_stream_frees_its_reader(persistence: Persistence) -> None:
    stream = persistence.stream()
    [thread] = [each for each in threading.enumerate() if each.name == "curio-live"]
    del stream
    thread.join(5)
    assert not thread.is_alive()


def test_an_item_has_its_own_record(persistence: Persistence) -> None:
    with persistence.stream() as one, persistence.stream() as other:
        persistence.create_agent_run(AgentRun("agent", "run"))
        first, second = one.take(1, timeout=5)[0], other.take(1, timeout=5)[0]
        assert first == second
        assert first.record is not second.record
        assert first.to_dict() == json.loads(json.dumps(second.to_dict()))
        with pytest.raises(AttributeError):
            first.kind = "event"  # type: ignore[misc]


def test_a_close_ends_the_iteration_in_another_thread(persistence: Persistence) -> None:
    stream = persistence.stream()
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(map(words, stream)))
    thread.start()
    append(persistence, 1)
    while len(found) < 2:
        thread.join(0.01)
    stream.close()
    stream.close()
    thread.join(5)
    assert not thread.is_alive()
    assert list(stream) == []


def test_a_closed_persistence_ends_its_streams(persistence: Persistence) -> None:
    stream = persistence.stream()
    persistence.close()
    for _ in range(2):
        with pytest.raises(ClosedError):
            stream.take(timeout=5)
    with pytest.raises(ClosedError):
        persistence.stream()


def test_a_rolled_back_change_is_not_told(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    with persistence.stream() as stream:
        with suppress(ZeroDivisionError), persistence.transaction():
            append(persistence, 1)
            persistence.update_agent_run("run", AgentRun("agent", "run", status="completed"))
            raise ZeroDivisionError
        append(persistence, 2)
        assert told(stream, 1) == ["event 2 added"]
        assert nothing(stream)


def test_a_stream_is_not_opened_inside_a_transaction(persistence: Persistence) -> None:
    with persistence.transaction(), pytest.raises(UnsupportedError):
        persistence.stream()


def test_changes_that_are_not_kept_are_missed(persistence: Persistence) -> None:
    run = AgentRun("agent", "run", status="running")
    persistence.create_agent_run(run)
    start = persistence.stream().id
    for _ in range(5):
        persistence.update_agent_run("run", run)
    changes = persistence._store.select(CHANGES)[CHANGES.names.index("id")]
    persistence._store.delete(CHANGES, (CHANGES.filter("id", "<", changes[3]),))
    with persistence.stream(after=start) as stream:
        assert told(stream, 2) == ["missed 3", "run run changed"]
    with persistence.stream(after=start, kinds="event") as stream:
        assert nothing(stream)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on_by_itself(open_again: Open, lasting: None) -> None:
    persistence = open_again()
    stream = persistence.stream(kinds="event")
    append(persistence, 1)
    assert told(stream, 1) == ["event 1 added"]
    append(persistence, 2)
    if not (child := os.fork()):
        try:
            append(persistence, 3)
            os._exit(0 if told(stream, 2) == ["event 2 added", "event 3 added"] else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert told(stream, 2) == ["event 2 added", "event 3 added"]


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"after": "x"}, "after"),
        ({"after": "1.2.3"}, "after"),
        ({"after": "1.2.3.4.~~"}, "after"),
        ({"after": 7}, "after"),
        ({"after": ""}, "after"),
        ({"after": "0.0.0.0.0", "until": "x"}, "until"),
        ({"until": "0.0.0.0.0"}, "after"),
        ({"kinds": "runs"}, "kinds"),
        ({"kinds": [["run"]]}, "kinds"),
        ({"run_id": "\0"}, "AgentRunEvent.run_id"),
        ({"agent_id": 7}, "AgentRunEvent.agent_id"),
    ],
)
def test_invalid_arguments_are_refused(
    persistence: Persistence, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        persistence.stream(**options)
    assert refused.value.field == field


def test_items_are_taken_up_to_a_number_and_for_a_time(persistence: Persistence) -> None:
    with persistence.stream(kinds="event") as stream:
        append(persistence, 1, 2)
        assert stream.take(0) == []
        assert [words(item) for item in stream.take(1, timeout=inf)] == ["event 1 added"]
        assert told(stream, 1) == ["event 2 added"]
        for limit in (-1, "3", 2.5):
            with pytest.raises(InvalidValueError, match="limit"):
                stream.take(limit)  # type: ignore[arg-type]
        for timeout in (-1, "3", nan):
            with pytest.raises(ConfigurationError, match="timeout is a number of seconds"):
                stream.take(timeout=timeout)  # type: ignore[arg-type]


def test_the_awaited_twin_tells_the_same(persistence: Persistence) -> None:
    async def main() -> list[str]:
        awaiting = aio.AsyncPersistence(persistence)
        async with awaiting.stream(kinds="event") as stream:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(stream)
            for number in (1, 2):
                await awaiting.append_event("run", "agent", "log", payload=number)
            items = [await anext(stream), await anext(stream)]
            assert stream.id == items[-1].id
        assert [item async for item in stream] == []
        async with awaiting.stream(after=items[0].id, kinds="event") as again:
            assert (await anext(again)).record == items[1].record
            asyncio.get_running_loop().call_later(0.05, lambda: again._stream.close())
            with pytest.raises(StopAsyncIteration):
                await anext(again)
        with pytest.raises(InvalidValueError):
            awaiting.stream(after="x")
        return list(map(words, items))

    assert asyncio.run(main()) == ["event 1 added", "event 2 added"]
