"""Pages contain every record once, with concurrent writes and any page size."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    InvalidValueError,
    Page,
    Persistence,
    Records,
)
from tests.support.batches import Kind
from tests.support.listings import NOON, ORDERS, in_order, numbers, pages, query, write
from tests.support.records import MODELS

Open = Callable[[], Persistence]

of_each_kind = pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
in_each_order = pytest.mark.parametrize("order", ORDERS)


@of_each_kind
@in_each_order
@pytest.mark.parametrize("limit", [1, 7, 30, 31, 32])
def test_every_record_is_on_one_page(
    persistence: Persistence, kind: Kind, order: str, limit: int
) -> None:
    """Holds for records of the same time across the end of a page, too."""
    write(persistence, kind, range(31), moments=4)
    read = [each for page in pages(persistence, kind, order=order, limit=limit) for each in page]
    assert numbers(read) == in_order(range(31), order, moments=4)
    assert read == list(query(persistence, kind, order=order, limit=None))


@of_each_kind
@pytest.mark.parametrize("count", [0, 1, 3, 4, 6])
def test_the_last_page_has_no_cursor(persistence: Persistence, kind: Kind, count: int) -> None:
    """It is never empty, unless it is the first."""
    write(persistence, kind, range(count))
    lengths = [len(page) for page in pages(persistence, kind, limit=3)]
    assert lengths == {0: [0], 1: [1], 3: [3], 4: [3, 1], 6: [3, 3]}[count]


@of_each_kind
@pytest.mark.parametrize(
    ("limit", "expected", "is_last"),
    [
        (0, [], True),
        (1, [2], False),
        (3, [2, 1, 0], True),
        (np.int64(2), [2, 1], False),
        (2**63 - 2, [2, 1, 0], True),
        (2**63 - 1, [2, 1, 0], True),
        (None, [2, 1, 0], True),
    ],
)
def test_a_page_has_at_most_limit_records(
    persistence: Persistence, kind: Kind, limit: Any, expected: list[int], is_last: bool
) -> None:
    write(persistence, kind, range(3))
    page = query(persistence, kind, limit=limit)
    assert numbers(page) == expected
    assert (page.next_cursor is None) == is_last


@of_each_kind
def test_the_default_limit_of_a_page_is_a_hundred(persistence: Persistence, kind: Kind) -> None:
    write(persistence, kind, range(102))
    assert [len(page) for page in pages(persistence, kind)] == [100, 2]


@of_each_kind
def test_the_rest_can_be_fetched_at_once(persistence: Persistence, kind: Kind) -> None:
    write(persistence, kind, range(5))
    first = query(persistence, kind, limit=2)
    rest = query(persistence, kind, limit=None, cursor=first.next_cursor)
    assert numbers(rest) == [2, 1, 0]


@of_each_kind
@in_each_order
def test_concurrent_inserts_and_deletions_move_no_record(
    persistence: Persistence, kind: Kind, order: str
) -> None:
    """Records later in the order are on a later page."""
    write(persistence, kind, range(10, 20))
    first = query(persistence, kind, order=order, limit=4)
    write(persistence, kind, range(20, 25))
    if kind is AgentRun:
        for run in first:
            persistence.delete_agent_run(run.run_id)
    second = query(persistence, kind, order=order, limit=None, cursor=first.next_cursor)
    everything = range(10, 20) if order == "newest" else range(10, 25)
    assert numbers(first) + numbers(second) == in_order(everything, order)


@of_each_kind
def test_a_cursor_may_be_used_again(persistence: Persistence, kind: Kind) -> None:
    write(persistence, kind, range(5))
    cursor = query(persistence, kind, limit=2).next_cursor
    for limit in 2, 2, 1, 3:
        page = query(persistence, kind, limit=limit, cursor=cursor)
        assert numbers(page) == [2, 1, 0][:limit]


def test_a_cursor_works_after_reopening(open_again: Open, lasting: None) -> None:
    one, other = open_again(), open_again()
    write(one, AgentRun, range(3))
    cursor = query(one, AgentRun, limit=1).next_cursor
    one.close()
    assert numbers(query(other, AgentRun, cursor=cursor)) == [1, 0]


def test_a_cursor_is_safe_in_a_url_and_on_a_command_line(
    persistence: Persistence,
) -> None:
    for number in range(20):
        write(persistence, AgentRun, [number], agent_id=f"ägent/{number}?&=")
        write(persistence, AgentRun, [100 + number], agent_id=f"ägent/{number}?&=")
        page = query(persistence, AgentRun, agent_id=f"ägent/{number}?&=", limit=1)
        assert page.next_cursor is not None
        assert page.next_cursor.replace(".", "").replace("_", "").isalnum()
        assert page.next_cursor.isascii()


def test_pages_see_the_writes_of_their_transaction(persistence: Persistence) -> None:
    with persistence.transaction():
        write(persistence, AgentRunEvent, range(5))
        read = [e for page in pages(persistence, AgentRunEvent, limit=2) for e in page]
    assert numbers(read) == [4, 3, 2, 1, 0]


# --- filters ------------------------------------------------------------------------------------


def test_pages_contain_the_records_that_pass_every_filter(persistence: Persistence) -> None:
    for agent in "a", "b":
        for run in "r", "s":
            for kind in "x", "":
                persistence.log_agent_run_event(
                    AgentRunEvent(agent, run, event_type=kind, timestamp=NOON)
                )
    filters = {"agent_id": "a", "run_id": "s", "event_type": "x"}
    for chosen in range(8):
        options = {name: filters[name] for bit, name in enumerate(filters) if chosen >> bit & 1}
        read = [e for page in pages(persistence, AgentRunEvent, limit=1, **options) for e in page]
        assert len(read) == 8 >> len(options)
        for name, value in options.items():
            assert {getattr(event, name) for event in read} == {value}


def test_runs_are_listed_by_agent_and_status(persistence: Persistence) -> None:
    for number, (agent, status) in enumerate([("a", "error"), ("a", "running"), ("b", "error")]):
        persistence.create_agent_run(AgentRun(agent, f"run {number}", status=status))
    assert [r.run_id for r in persistence.query_agent_runs(agent_id="a")] == ["run 1", "run 0"]
    assert [r.run_id for r in persistence.query_agent_runs(status="error")] == ["run 2", "run 0"]
    found = persistence.query_agent_runs(agent_id="a", status="error")
    assert [r.run_id for r in found] == ["run 0"]


def test_an_empty_event_type_is_a_value(persistence: Persistence) -> None:
    for kind in "", "x":
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type=kind))
    assert [e.event_type for e in persistence.query_events(event_type="")] == [""]
    assert [e.event_type for e in persistence.iter_agent_run_events(event_type="")] == [""]


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("AgentRun.agent_id", {"agent_id": ""}),
        ("AgentRun.agent_id", {"agent_id": "\0"}),
        ("AgentRun.status", {"status": ""}),
        ("AgentRun.status", {"status": 5}),
        ("limit", {"limit": -1}),
        ("limit", {"limit": 1.0}),
        ("limit", {"limit": True}),
        ("limit", {"limit": 2**63}),
        ("order", {"order": "random"}),
        ("order", {"order": None}),
    ],
    ids=repr,
)
def test_an_invalid_filter_is_refused_by_name(
    persistence: Persistence, field: str, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        persistence.query_agent_runs(**options)
    assert refused.value.field == field
    if "limit" not in options:
        with pytest.raises(InvalidValueError) as refused:
            persistence.iter_agent_runs(**options)
        assert refused.value.field == field


# --- invalid cursors ----------------------------------------------------------------------------


@pytest.fixture
def cursor(persistence: Persistence) -> str:
    """Return the cursor of the second page of the events of agent `agent`."""
    write(persistence, AgentRunEvent, range(3))
    write(persistence, AgentRun, range(3))
    cursor = query(persistence, AgentRunEvent, agent_id="agent", limit=1).next_cursor
    assert cursor is not None
    return cursor


def assert_refused(persistence: Persistence, cursor: Any, **options: Any) -> None:
    with pytest.raises(InvalidValueError, match="cursor") as refused:
        persistence.query_events(cursor=cursor, **options)
    assert refused.value.field == "cursor"


@pytest.mark.before_io
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"agent_id": "other"},
        {"agent_id": "agent", "run_id": "run"},
        {"agent_id": "agent", "event_type": ""},
        {"agent_id": "agent", "order": "oldest"},
        {"run_id": "agent"},
    ],
    ids=repr,
)
def test_a_cursor_of_another_query_is_refused(
    persistence: Persistence, cursor: str, options: dict[str, Any]
) -> None:
    assert_refused(persistence, cursor, **options)
    assert len(persistence.query_events(agent_id="agent", cursor=cursor)) == 2


@pytest.mark.before_io
def test_a_cursor_of_other_records_is_refused(persistence: Persistence, cursor: str) -> None:
    for call in persistence.query_agent_runs, persistence.query_llm_usage:
        with pytest.raises(InvalidValueError, match="cursor"):
            call(agent_id="agent", cursor=cursor)


def test_a_cursor_of_another_database_is_refused(persistence: Persistence, cursor: str) -> None:
    with InMemoryPersistence() as other:
        write(other, AgentRunEvent, range(3))
        assert_refused(other, cursor, agent_id="agent")
        theirs = query(other, AgentRunEvent, agent_id="agent", limit=1).next_cursor
    assert_refused(persistence, theirs, agent_id="agent")


@pytest.mark.before_io
def test_a_damaged_cursor_is_refused(persistence: Persistence, cursor: str) -> None:
    """Tries each letter changed, missing or doubled, and text around it."""
    for at, letter in enumerate(cursor):
        other = "A" if letter != "A" else "B"
        for damaged in (
            cursor[:at] + other + cursor[at + 1 :],
            cursor[:at] + cursor[at + 1 :],
            cursor[:at] + letter + cursor[at:],
            cursor[:at],
            cursor[:at] + "!" + cursor[at:],
        ):
            assert_refused(persistence, damaged, agent_id="agent")
    for damaged in f" {cursor}", f"{cursor}\n", f"{cursor}=", f"{cursor}\0":
        assert_refused(persistence, damaged, agent_id="agent")


def _cursor_of(value: Any) -> str:
    """Return a value that looks like a cursor."""
    return base64.urlsafe_b64encode(b"123456789" + json.dumps(value).encode()).decode()


@pytest.mark.before_io
@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "x",
        "é",
        "\ud800",
        "' OR 1=1 --",
        "A" * 100_000,
        base64.urlsafe_b64encode(b"123456789" + b"[" * 100_000).decode(),
        _cursor_of([]),
        _cursor_of({}),
        _cursor_of(None),
        _cursor_of("x'"),
        _cursor_of(["2026-11-20T12:00:00.000000+00:00", 1]),
        _cursor_of([[1], {"a": 1}]),
        b"bytes",
        5,
        True,
        ["x"],
    ],
    ids=lambda hostile: repr(hostile)[:30],
)
def test_an_invalid_cursor_is_refused(persistence: Persistence, hostile: Any) -> None:
    assert_refused(persistence, hostile)


# --- records --------------------------------------------------------------------------------------


@pytest.fixture
def page(persistence: Persistence) -> Page[AgentRun]:
    write(persistence, AgentRun, range(5))
    return persistence.query_agent_runs(limit=4, order="oldest")


def test_a_page_is_like_a_list(page: Page[AgentRun]) -> None:
    assert len(page) == 4
    assert numbers(page) == [0, 1, 2, 3]
    assert numbers([page[0], page[3], page[-1]]) == [0, 3, 3]
    assert numbers(reversed(page)) == [3, 2, 1, 0]
    assert page[2] in page
    assert "another" not in page
    for beyond in 4, -5:
        with pytest.raises(IndexError):
            page[beyond]


def test_a_slice_of_a_page_is_like_a_list(page: Page[AgentRun]) -> None:
    assert type(page[1:3]) is Records
    assert numbers(page[1:3]) == [1, 2]
    assert numbers(page[::-2]) == [3, 1]
    assert list(page[7:]) == []


def test_changing_a_record_does_not_change_the_page(page: Page[AgentRun]) -> None:
    page[0].objective = "another"
    for run in page:
        run.objective = "another"
    assert numbers(page) == [0, 1, 2, 3]


def test_the_repr_of_a_page_says_what_it_is(page: Page[AgentRun]) -> None:
    assert repr(page) == "<Page: 4 runs and more>"
    assert repr(page[:2]) == "<Records: 2 runs>"


@pytest.mark.slow
def test_a_result_of_very_many_records_is_complete(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(20_000), moments=20_000)
    for filters in ({}, {"agent_id": "agent"}):
        page = persistence.query_events(order="oldest", limit=None, **filters)
        assert numbers(page) == list(range(20_000))
    assert numbers(persistence.query_events(order="oldest", limit=19_999)) == list(range(19_999))


def test_results_can_be_pickled(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", objective="find it", tags=["a"]))
    persistence.append_event("run", "agent", "metric", payload={"name": "m", "value": 1.5})
    persistence.append_event("run", "agent", "metric", payload={"name": "m", "value": 2.5})
    for records in (
        persistence.query_agent_runs(),
        persistence.query_events(limit=1),
        persistence.query_events()[:1],
        persistence.query_llm_usage(),
        persistence.query_metrics("m", "sum"),
        persistence.search_text("find"),
    ):
        again = pickle.loads(pickle.dumps(records))
        assert type(again) is type(records)
        assert list(again) == list(records)
        assert repr(again) == repr(records)
        assert again.to_dicts() == records.to_dicts()
