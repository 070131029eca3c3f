"""A record is unchanged after encoding and decoding by its table."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from tests.properties.strategies import stored_events, stored_runs, stored_usage
from tests.support.records import Record


def through(table: Table[Any], record: Record) -> Any:
    row = table.encode(record)
    assert_keepable(row)
    read = table.decode_row(row)
    assert table.encode(read) == row
    return read


def assert_keepable(row: Row) -> None:
    """Assert that every database accepts these values."""
    for value in row.values():
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63


@given(stored_runs)
def test_a_run_round_trips(run: AgentRun) -> None:
    assert through(RUNS, run) == run


@given(stored_events)
def test_an_event_round_trips(event: AgentRunEvent) -> None:
    assert through(EVENTS, event) == event


@given(stored_usage)
def test_a_model_call_round_trips(usage: AgentLLMUsage) -> None:
    assert through(USAGE, usage) == usage


@given(stored_runs)
def test_only_the_set_optional_columns_are_bound(run: AgentRun) -> None:
    row = RUNS.encode(run)
    for name in "session_id", "parent_run_id", "tags", "metrics", "user_id":
        assert (name in row) == (getattr(run, name) is not None)


@given(stored_runs, stored_events, stored_usage)
def test_records_round_trip_through_their_dictionary(
    run: AgentRun, event: AgentRunEvent, usage: AgentLLMUsage
) -> None:
    assert AgentRun.from_dict(run.to_dict()) == run
    assert AgentRunEvent.from_dict(event.to_dict()) == event
    assert AgentLLMUsage.from_dict(usage.to_dict()) == usage
