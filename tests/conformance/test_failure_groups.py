"""`stats.failures` groups failures by message, the same on every backend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    FailureGroup,
    InvalidValueError,
    Persistence,
)
from curio_persistence.capabilities.failures import folded

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def failed_run(persistence: Persistence, number: int, message: str | None, **fields: Any) -> None:
    at = NOON + timedelta(minutes=number)
    fields = {"status": "error", "agent_id": "planner", **fields}
    run = AgentRun(run_id=f"r{number}", error_message=message, created_at=at, **fields)
    persistence.create_agent_run(run)


def failed_call(persistence: Persistence, number: int, message: str | None, **fields: Any) -> None:
    at = NOON + timedelta(minutes=number)
    fields = {"status": "error", "run_id": f"r{number}", "model": "acme-large", **fields}
    persistence.log_llm_usage(
        AgentLLMUsage("planner", error_message=message, created_at=at, **fields)
    )


def failed_tool(persistence: Persistence, number: int, error: Any, **payload: Any) -> None:
    persistence.append_event(
        f"r{number}",
        "planner",
        "tool_call",
        timestamp=NOON + timedelta(minutes=number),
        payload={"tool_name": "search", "error": error, **payload},
    )


def counted(persistence: Persistence, **filters: Any) -> list[tuple[str, str, str, int]]:
    groups = persistence.stats.failures(**filters)
    return [(each.kind, each.name, each.message, each.count) for each in groups]


def test_failures_of_runs_tools_and_models_are_merged_newest_first(
    persistence: Persistence,
) -> None:
    failed_run(persistence, 1, "ValueError: no calendar", agent_name="The planner")
    failed_tool(persistence, 2, "overflow")
    failed_call(persistence, 3, "HTTP 429: slow down")
    assert list(persistence.stats.failures()) == [
        FailureGroup("model", "acme-large", "HTTP 429: slow down", 1, *[at(3)] * 2, "r3"),
        FailureGroup("tool", "search", "overflow", 1, *[at(2)] * 2, "r2"),
        FailureGroup("run", "planner", "ValueError: no calendar", 1, *[at(1)] * 2, "r1"),
    ]


def at(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def test_successes_are_left_out(persistence: Persistence) -> None:
    failed_run(persistence, 1, "said, but not failed", status="completed")
    failed_run(persistence, 2, None, status="cancelled")
    failed_tool(persistence, 1, None)
    failed_call(persistence, 1, None, status="success")
    persistence.append_event("r1", "planner", "note", level="error", payload={"error": "no tool"})
    assert counted(persistence) == []


def test_messages_that_differ_in_numbers_and_ids_are_one_group(persistence: Persistence) -> None:
    for number in (2, 3, 1):
        failed_run(persistence, number, f"TimeoutError: no answer after {number}.5 s")
    (group,) = persistence.stats.failures()
    assert (group.message, group.count) == ("TimeoutError: no answer after # s", 3)
    assert (group.first, group.last, group.run_id) == (at(1), at(3), "r3")


def test_a_message_shared_by_all_is_unchanged(persistence: Persistence) -> None:
    for number in range(3):
        failed_tool(persistence, number, "KeyError: 7")
    assert counted(persistence) == [("tool", "search", "KeyError: 7", 3)]


def test_the_same_message_of_two_tools_is_two_groups(persistence: Persistence) -> None:
    failed_tool(persistence, 1, "refused")
    failed_tool(persistence, 2, "refused", tool_name="fetch")
    assert counted(persistence) == [
        ("tool", "fetch", "refused", 1),
        ("tool", "search", "refused", 1),
    ]


def test_a_failure_without_a_message_is_named_by_its_status(persistence: Persistence) -> None:
    failed_run(persistence, 1, None, status="timeout")
    failed_call(persistence, 2, "", status="content_filter", run_id=None, model="")
    failed_tool(persistence, 3, True)
    failed_tool(persistence, 4, {"code": 7})
    assert counted(persistence) == [
        ("tool", "search", '{"code": 7}', 1),
        ("tool", "search", "error", 1),
        ("model", "", "content_filter", 1),
        ("run", "planner", "timeout", 1),
    ]
    assert persistence.stats.failures()[2].run_id is None


def test_a_traceback_is_grouped_by_its_last_line(persistence: Persistence) -> None:
    lines = ("Traceback (most recent call last):", '  File "a.py", line 7', "KeyError: 'x'", "")
    failed_run(persistence, 1, "\n".join(lines))
    assert counted(persistence) == [("run", "planner", "KeyError: 'x'", 1)]


def test_a_run_fails_when_it_ends(persistence: Persistence) -> None:
    failed_run(persistence, 1, "boom", finished_at=at(30))
    assert persistence.stats.failures()[0].last == at(30)


def test_any_text_is_a_message(persistence: Persistence) -> None:
    failed_run(persistence, 1, "\ud800 \0 \ufdd0\n  日本")
    failed_tool(persistence, 2, "\ud800 \0", tool_name="\ud800\0")
    failed_call(persistence, 3, "x" * 100_000)
    assert [each.message for each in persistence.stats.failures()] == [
        "x" * 500,
        "\ud800 \0",
        "\ud800 \0 \ufdd0 日本",
    ]


def test_failures_are_filtered_by_agent_session_and_window(persistence: Persistence) -> None:
    failed_run(persistence, 1, "one", session_id="s1")
    failed_run(persistence, 2, "two", agent_id="other")
    failed_call(persistence, 1, "call of one")
    failed_tool(persistence, 1, "tool of one")
    messages = [message for _, _, message, _ in counted(persistence, session_id="s1")]
    # An event belongs to the session of its run.
    assert sorted(messages) == ["call of one", "one", "tool of one"]
    assert counted(persistence, agent_id="other") == [("run", "other", "two", 1)]
    assert counted(persistence, since=at(2)) == [("run", "other", "two", 1)]
    assert len(counted(persistence, until=at(2))) == 3
    with pytest.raises(InvalidValueError, match="since"):
        persistence.stats.failures(since="yesterday")


def test_a_thousand_failures_and_more_are_counted(persistence: Persistence) -> None:
    persistence.log_llm_usages(
        AgentLLMUsage("a", None, model="m", status="error", error_message=f"error {n}")
        for n in range(2_500)
    )
    assert counted(persistence) == [("model", "m", "error #", 2_500)]


def test_they_are_records_like_all_results(persistence: Persistence) -> None:
    failed_run(persistence, 1, "boom")
    assert persistence.stats.failures().to_dicts() == [
        {
            "kind": "run",
            "name": "planner",
            "message": "boom",
            "count": 1,
            "first": at(1).isoformat(),
            "last": at(1).isoformat(),
            "run_id": "r1",
            "messages": 1,
        }
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no answer after 30.5s from 10.0.0.1:8080", "no answer after #s from #"),
        ("HTTP 429: retry in 12 s", "HTTP 429: retry in # s"),
        ("HTTP/1.1 503 from 3 hosts", "HTTP/1.1 503 from # hosts"),
        ("Error code: 404 - gone", "Error code: 404 - gone"),
        ("took 503 ms", "took # ms"),
        ("no run '01a2283b-870b-7526-bef0-44470ea0792c'", "no run '#'"),
        ("<Lock object at 0x7f3aa0>", "<Lock object at #>"),
        ("order-4711 of customer_42", "order-# of customer_#"),
        ("request req_011CSHoEeqs5C35K2UUqR7Fy", "request #"),
        ("commit deadbeef12", "commit #"),
        ("gpt-5, gpt-4o-mini and utf-8", "gpt-5, gpt-4o-mini and utf-8"),
        ("since 2026-11-20T10:30:00.5+00:00", "since #"),
        ("line 3, column -7", "line #, column #"),
        ("FileNotFoundError: nothing there", "FileNotFoundError: nothing there"),
    ],
)
def test_numbers_and_ids_are_folded(message: str, expected: str) -> None:
    assert folded(message) == expected
