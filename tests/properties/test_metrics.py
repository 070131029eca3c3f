"""Metrics are the same to the last bit on every backend, and equal a simple reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import fsum
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curio_persistence import AgentRunEvent, Persistence
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.store.base import Store
from curio_persistence.tables import RUNS
from tests.properties.strategies import NOON, a_name, maybe
from tests.support import soak

names = st.sampled_from(["a", "b"]) | a_name
values = (
    st.integers(-5, 5)
    | st.floats(-1e300, 1e300, allow_nan=False)
    | st.sampled_from([0.1, 0.2, 0.3, -0.0, 1e16, 5e-324])
)
times = st.datetimes(
    datetime(2026, 10, 20), datetime(2027, 1, 20), timezones=st.just(UTC)
) | st.integers(-3, 3).map(lambda hours: NOON + timedelta(hours=hours))
events = st.builds(
    AgentRunEvent,
    agent_id=st.sampled_from(["x", "y", "\ufdd00041"]),
    run_id=st.sampled_from(["r", "s"]),
    timestamp=times,
    event_type=st.just("metric"),
    data=st.fixed_dictionaries(
        {"name": names, "value": values},
        optional={"tags": st.fixed_dictionaries({}, optional={"t": st.sampled_from("mn")})},
    ),
    session_id=maybe(st.sampled_from(["q", "p"])),
)
sizes = {"15m": 0.25, "1h": 1, "6h": 6, "1d": 24, "1w": 168}
questions = st.fixed_dictionaries(
    {
        "aggregation": st.sampled_from(["avg", "sum", "min", "max", "count"])
        | st.integers(0, 100).map(lambda q: f"p{q}"),
        "bucket": maybe(st.sampled_from(list(sizes))),
        "group_by": maybe(st.sampled_from(["agent_id", "run_id", "session_id", "tags.t"])),
        "agent_id": maybe(st.just("x")),
        "since": maybe(st.just(NOON)),
    }
)


def expected(history: Iterable[AgentRunEvent], question: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Compute bucket, group and values in another way."""
    groups = defaultdict(list)
    for event in history:
        if (
            event.data["name"] == "a"
            and question["agent_id"] in (None, event.agent_id)
            and (question["since"] is None or event.timestamp >= NOON)
        ):
            key = bucket_of(event, question["bucket"]), group_of(event, question["group_by"])
            groups[key].append(float(event.data["value"]))
    return sorted(
        ((bucket, group, found) for (bucket, group), found in groups.items()),
        key=lambda row: (str(row[0]), row[1] is None, str(row[1])),
    )


def bucket_of(event: AgentRunEvent, bucket: str | None) -> datetime | None:
    if bucket is None:
        return None
    assert event.timestamp is not None
    a_monday = datetime(1969, 12, 29, tzinfo=UTC)
    size = timedelta(hours=sizes[bucket])
    return a_monday + (event.timestamp - a_monday) // size * size


def group_of(event: AgentRunEvent, group_by: str | None) -> str | None:
    if group_by is None:
        return None
    if group_by == "tags.t":
        return event.data.get("tags", {}).get("t")  # type: ignore[no-any-return]
    return getattr(event, group_by)  # type: ignore[no-any-return]


def combined(found: Sequence[float], aggregation: str) -> float:
    match aggregation:
        case "avg":
            return fsum(found) / len(found)
        case "sum":
            return fsum(found)
        case "min" | "max" | "count":
            return {"min": min, "max": max, "count": len}[aggregation](found)  # type: ignore[operator, no-any-return]
    return float(np.percentile(found, int(aggregation[1:])))


def answer(store: Store, history: Sequence[AgentRunEvent], question: dict[str, Any]) -> Any:
    persistence = Persistence(store, initialize=False)
    persistence.log_agent_run_events(history)
    points = persistence.query_metrics("a", **question)
    return [(point.bucket, point.group, point.value, point.count) for point in points]


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Store]:
    store = SQLiteStore(":memory:")
    store.initialize()
    yield store
    store.close()


@given(history=st.lists(events, max_size=30), question=questions)
@settings(max_examples=100 * soak.FACTOR)
def test_every_backend_computes_the_same(
    sqlite: SQLiteStore,
    postgres: tuple[Store, Callable[[], None]],
    history: list[AgentRunEvent],
    question: dict[str, Any],
) -> None:
    store, empty = postgres
    empty()
    sqlite.delete(RUNS, ())
    told = answer(MemoryStore(), history, question)
    rows = expected(history, question)
    assert [row[:2] for row in told] == [row[:2] for row in rows]
    assert [row[3] for row in told] == [len(row[2]) for row in rows]
    by_hand = [combined(row[2], question["aggregation"]) for row in rows]
    if question["aggregation"].startswith("p"):
        assert [row[2] for row in told] == pytest.approx(by_hand, rel=1e-9)
    else:
        assert [row[2] for row in told] == by_hand
    assert repr(answer(sqlite, history, question)) == repr(told)
    assert repr(answer(store, history, question)) == repr(told)
