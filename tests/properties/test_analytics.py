"""Analytics are the same on every backend after any history, and equal a simple reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.store.base import Store
from curio_persistence.tables import RUNS, USAGE
from tests.properties.strategies import maybe
from tests.support import soak

# Days on which clocks change, the end of a year, and of a week.
TIMES = [
    datetime(2026, 3, 29, 0, 59, 59, 999_999, UTC),
    datetime(2026, 10, 24, 22, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 30, tzinfo=UTC),
    datetime(2027, 1, 3, 23, 59, tzinfo=UTC),
]
LABELS: dict[str, Callable[[datetime], str]] = {
    "hour": lambda at: at.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes"),
    "day": lambda at: at.date().isoformat(),
    "week": lambda at: f"{at.isocalendar().year:04}-W{at.isocalendar().week:02}",
    "month": lambda at: f"{at:%Y-%m}",
}
GROUPS = {"agent": "agent_id", "session": "session_id", "user": "user_id"}

times = st.sampled_from(TIMES) | st.integers(0, 200).map(
    lambda hours: TIMES[1] + timedelta(hours=hours, minutes=hours % 60)
)
agents, runs = st.sampled_from(["a", "b"]), st.integers(0, 4).map(lambda n: f"r{n}")
acts = st.one_of(
    st.builds(
        lambda **run: ("run", run),
        agent_id=agents,
        run_id=runs,
        status=st.sampled_from(["running", "completed", "error", "timeout"]),
        session_id=maybe(st.sampled_from("st")),
        user_id=maybe(st.sampled_from("uv")),
        created_at=times,
    ),
    st.builds(
        lambda **event: ("event", event),
        agent_id=agents,
        run_id=runs,
        timestamp=times,
        event_type=st.sampled_from(["note", "tool_call"]),
        data=st.sampled_from([{"tool_name": "t"}, {"tool_name": "t", "error": "e"}]),
    ),
    st.builds(
        lambda **call: ("call", call),
        agent_id=agents,
        run_id=maybe(runs),
        status=st.sampled_from(["success", "error"]),
        latency_ms=maybe(st.integers(0, 9)),
        input_tokens=maybe(st.integers(0, 9)),
        cost_usd=maybe(st.integers(0, 9).map(lambda n: Decimal(n) / 1000)),
        created_at=times,
    ),
    st.tuples(st.just("fail"), runs),
    st.tuples(st.just("delete"), runs),
)
questions = st.fixed_dictionaries(
    {
        "bucket": maybe(st.sampled_from(list(LABELS))),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
        "group_by": st.lists(st.sampled_from(list(GROUPS)), max_size=2, unique=True),
        "since": maybe(times),
        "until": maybe(times),
        "agent_id": maybe(agents),
        "session_id": maybe(st.just("s")),
        "percentiles": st.booleans(),
    }
)


def live(persistence: Persistence, history: list[Any]) -> None:
    for what, given_ in history:
        match what:
            case "run":
                if persistence.get_agent_run(given_["run_id"]) is None:
                    persistence.create_agent_run(AgentRun(**given_))
            case "event":
                persistence.log_agent_run_event(AgentRunEvent(**given_))
            case "call":
                persistence.log_llm_usage(AgentLLMUsage(**given_))
            case "fail":
                if persistence.get_agent_run(given_) is not None:
                    persistence.runs.patch(given_, status="error")
            case "delete":
                persistence.delete_agent_run(given_)


def expected(persistence: Persistence, question: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    """Count the records one by one."""
    known = {run.run_id: run for run in persistence.runs.list(limit=None)}
    found: dict[Any, dict[str, Any]] = defaultdict(lambda: defaultdict(int))

    def add(record: Any, at: datetime | None, **numbers: int) -> None:
        run = known.get(record.run_id)
        assert at is not None
        values = {
            "agent_id": record.agent_id,
            "session_id": run and run.session_id,
            "user_id": run and run.user_id,
        }
        if (
            (question["since"] is None or at >= question["since"])
            and (question["until"] is None or at < question["until"])
            and question["agent_id"] in (None, record.agent_id)
            and question["session_id"] in (None, values["session_id"])
        ):
            local = at.astimezone(ZoneInfo(question["timezone"]))
            label = LABELS[question["bucket"]](local) if question["bucket"] else None
            for name, number in numbers.items():
                key = (label, *(values[GROUPS[group]] for group in question["group_by"]))
                found[key][name] += number

    for run in known.values():
        add(run, run.created_at, runs=1, errors=run.status in ("error", "timeout"))
    for event in persistence.iter_agent_run_events():
        failed = bool(event.get_data_dict().get("error"))
        tool = event.event_type == "tool_call"
        add(event, event.timestamp, events=1, tool_calls=tool, tool_errors=tool and failed)
    for call in persistence.usage.list(limit=None):
        cost = call.get_cost_usd()
        add(
            call,
            call.created_at,
            calls=1,
            call_errors=call.status != "success",
            input_tokens=call.input_tokens or 0,
            unpriced=cost is None,
        )
    return found


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Store]:
    store = SQLiteStore(":memory:")
    store.initialize()
    yield store
    store.close()


@given(history=st.lists(acts, max_size=25), question=questions)
@settings(max_examples=30 * soak.FACTOR)
def test_every_backend_counts_the_same(
    sqlite: SQLiteStore,
    postgres: tuple[Store, Callable[[], None]],
    history: list[Any],
    question: dict[str, Any],
) -> None:
    store, empty = postgres
    empty()
    for table in (RUNS, USAGE):
        sqlite.delete(table, ())
    stores = MemoryStore(), sqlite, store
    memory, *others = (Persistence(each, initialize=False) for each in stores)
    live(memory, history)
    told = memory.analytics(**question)
    by_hand = expected(memory, question)
    fields = [GROUPS[group] for group in question["group_by"]]
    by_key = {(row.period, *(getattr(row, field) for field in fields)): row for row in told}
    if not question["bucket"] and not fields:
        by_hand.setdefault((None,), {})
    assert set(by_key) == set(by_hand)
    for key, numbers in by_hand.items():
        assert {name: getattr(by_key[key], name) for name in numbers} == dict(numbers)
    for other in others:
        live(other, history)
        assert [*map(repr, other.analytics(**question))] == [*map(repr, told)]
