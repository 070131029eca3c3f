"""A record filter is a value: it can be compared, stored as JSON, and used later."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import AgentRunStatus, InvalidValueError, Level
from curio_persistence.capabilities.events import EVENT_FILTERS
from curio_persistence.capabilities.metrics import METRIC_FILTERS
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.runs import RUN_FILTERS
from curio_persistence.capabilities.scores import SCORE_FILTERS
from curio_persistence.capabilities.usage import USAGE_FILTERS
from curio_persistence.clock import Clock
from curio_persistence.store.filters import Filter

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLOCK = Clock(lambda: NOON)
KINDS = [RUN_FILTERS, EVENT_FILTERS, USAGE_FILTERS, SCORE_FILTERS, METRIC_FILTERS]

SPELLINGS = [
    (RUN_FILTERS, {"status": AgentRunStatus.ERROR}, {"status": "error", "agent_id": None}),
    (RUN_FILTERS, {"status": ["error", "timeout"]}, {"status": {"timeout", "error"}}),
    (RUN_FILTERS, {"tags": "red", "run_id": "r"}, {"run_id": "r", "tags": ["red", "red"]}),
    (RUN_FILTERS, {"any_tags": ["b", "a"]}, {"any_tags": ("a", "b")}),
    (RUN_FILTERS, {"metadata": {"a.b": 1, "c": None}}, {"metadata": {"c": None, ("a", "b"): 1}}),
    (EVENT_FILTERS, {"level": "WARN"}, {"level": "warning"}),
    (EVENT_FILTERS, {"level": [Level.ERROR, "info"]}, {"level": ("info", "error")}),
    (EVENT_FILTERS, {"min_level": "fatal"}, {"min_level": Level.CRITICAL}),
    (EVENT_FILTERS, {"payload": {"a": 0.1}}, {"payload": {"a": Decimal("0.1")}}),
    (USAGE_FILTERS, {"since": "7d"}, {"since": "7d"}),
    (USAGE_FILTERS, {"until": "2026-11-20T12:00Z"}, {"until": NOON}),
    (
        SCORE_FILTERS,
        {"since": NOON, "session_id": "s"},
        {"session_id": "s", "since": NOON.astimezone(timezone(timedelta(hours=5)))},
    ),
]


@pytest.mark.parametrize(("kind", "one", "other"), SPELLINGS)
def test_filters_are_equal_if_they_select_the_same(
    kind: FilterKind, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert kind.of(one) == kind.of(other)
    assert len({kind.of(one), kind.of(other), kind.of({})}) == 2
    assert kind.of(one).where(CLOCK) == kind.of(other).where(CLOCK)


@pytest.mark.parametrize(("kind", "one", "other"), SPELLINGS)
def test_a_filter_round_trips_through_json(
    kind: FilterKind, one: dict[str, Any], other: dict[str, Any]
) -> None:
    kept = json.loads(json.dumps(kind.of(one).to_dict()))
    again = kind.from_dict(kept)
    assert again == kind.of(other)
    assert again.where(CLOCK) == kind.of(one).where(CLOCK)


@pytest.mark.parametrize(
    "value",
    ["text", "", "é😀", "1", 1, 10**30, -0.5, 1e300, Decimal("1.10"), True, False, None],
    ids=repr,
)
@pytest.mark.parametrize("path", ["a", "a.b", ("a.b",), ("",), ("a", "c.d", "")], ids=repr)
def test_any_value_at_any_path_round_trips_through_json(path: Any, value: Any) -> None:
    chosen = EVENT_FILTERS.of({"payload": {path: value}})
    assert EVENT_FILTERS.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names.__name__)
def test_each_single_filter_round_trips_through_json(kind: FilterKind) -> None:
    filters: dict[str, Any] = dict.fromkeys(kind.names.__annotations__, "7d")
    filters |= {name: {"a": 1} for name in ("payload", "metadata") if name in filters}
    known = {"min_level": "error", "source": "human", "seq": 7}
    filters |= {name: value for name, value in known.items() if name in filters}
    chosen = kind.of(filters)
    assert chosen.to_dict().keys() == filters.keys()
    assert kind.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


@pytest.mark.parametrize("one", KINDS, ids=lambda kind: kind.names.__name__)
def test_filters_of_different_records_are_not_equal(one: FilterKind) -> None:
    assert [one.of({"run_id": "r"}) == kind.of({"run_id": "r"}) for kind in KINDS] == [
        kind is one for kind in KINDS
    ]


def test_a_filter_is_immutable() -> None:
    with pytest.raises(AttributeError):
        RUN_FILTERS.of({}).given = ()  # type: ignore[misc]


def test_a_stored_window_moves_with_the_clock() -> None:
    chosen = RUN_FILTERS.from_dict({"since": "2h"})
    assert chosen.where(CLOCK) == (
        Filter("created_at", ">=", "2026-11-20T10:00:00.000000+00:00", "2h"),
    )
    later = Clock(lambda: NOON + timedelta(hours=1))
    assert chosen.where(later)[0].value == "2026-11-20T11:00:00.000000+00:00"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names.__name__)
def test_an_unknown_filter_is_refused(kind: FilterKind) -> None:
    for make in (kind.of, kind.from_dict):
        with pytest.raises(TypeError, match="'agent' is not a filter here; the filters are"):
            make({"agent": None})


@pytest.mark.parametrize("kept", [None, [], "agent_id", 5], ids=repr)
def test_a_value_that_is_not_a_dict_is_refused(kept: Any) -> None:
    with pytest.raises(InvalidValueError, match="a dict of names and values, not"):
        EVENT_FILTERS.from_dict(kept)


@pytest.mark.parametrize(
    ("kept", "field"),
    [
        ({"since": 5}, "since"),
        ({"until": "yesterday"}, "until"),
        ({"min_level": "severe"}, "min_level"),
        ({"run_id": 5}, "AgentRunEvent.run_id"),
        ({"run_id": ""}, "AgentRunEvent.run_id"),
        ({"event_type": [None]}, "AgentRunEvent.event_type"),
        ({"payload": "no list"}, "payload"),
        ({"payload": 5}, "payload"),
        ({"payload": [5]}, "payload"),
        ({"payload": [["a"]]}, "payload"),
        ({"payload": ["5"]}, "payload"),
        ({"payload": ['{"a": [1]}']}, "payload"),
        ({"payload": ['{"a": NaN}']}, "payload"),
        ({"payload": ['{"a": 1, "b": 2}']}, "payload"),
        ({"payload": ["[" * 100_000]}, "payload"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_modified_stored_filter_is_refused_by_name(kept: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        EVENT_FILTERS.from_dict(kept)
    assert refused.value.field == field
