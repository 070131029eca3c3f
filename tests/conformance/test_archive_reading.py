"""A database read together with its archive answers as it did before its runs moved there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    Persistence,
    archive_runs,
    open_archive,
    restore_runs,
)
from tests.conformance.test_archive import AWKWARD, NOON
from tests.conformance.test_retention import record
from tests.support.hands import Hands

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def filled(persistence: Persistence, clock: Hands) -> Persistence:
    for number in range(12):
        name = f"run-{number:02}"
        record(
            persistence,
            name,
            days=10 * number + 1,
            agent_id="planner" if number % 3 else "writer",
            status="error" if number % 4 == 0 else "completed",
            session_id=f"s{number // 3}",
            user_id=f"u{number % 2}",
            tags=["even", f"t{number}"] if number % 2 == 0 else None,
            metadata={"number": number},
            objective=f"Find the {'zebra' if number % 5 == 0 else 'horse'} {number}",
            events=3,
        )
        day = NOON - timedelta(days=10 * number + 1)
        persistence.append_event(
            name,
            "planner",
            "metric",
            payload={"name": "cost", "value": number + 0.1},
            timestamp=day,
        )
        persistence.append_event(
            name,
            "planner",
            "log",
            level="error" if number % 2 else "info",
            message=AWKWARD,
            payload={"result": {"status": "bad", "number": number}},
            event_id=f"e{number}",
            timestamp=day + timedelta(seconds=number),
        )
        persistence.log_llm_usage(
            AgentLLMUsage(
                "planner",
                name,
                model=f"gpt-{number % 2}",
                provider="openai",
                cost_usd=0.1 * number,
                input_tokens=number,
                latency_ms=100 * number,
                created_at=day,
            )
        )
        persistence.scores.set(name, "helpful", number / 10, comment=AWKWARD)
    clock.move(seconds=1)
    return persistence


@pytest.fixture
def both(filled: Persistence, place: Path) -> Persistence:
    """The database with its archive, to which eight of twelve runs have moved."""
    assert archive_runs(filled, place, older_than="40d", pace=1).runs == 8
    return open_archive(filled, place)


def pages(query: Any, **filters: Any) -> Iterator[Any]:
    page = query(limit=3, **filters)
    while True:
        yield [each.to_dict() for each in page]
        if page.next_cursor is None:
            return
        page = query(limit=3, cursor=page.next_cursor, **filters)


def hits(persistence: Persistence, query: str, **filters: Any) -> Iterator[Any]:
    page = persistence.search_text(query, limit=3, **filters)
    while True:
        assert not page.pending
        yield from ((hit.kind, hit.record.id, hit.snippet, hit.highlights) for hit in page)
        if page.next_cursor is None:
            return
        page = persistence.search_text(query, limit=3, cursor=page.next_cursor, **filters)


LONG_AGO, LATER = NOON - timedelta(days=75), NOON - timedelta(days=15)
QUESTIONS: dict[str, Any] = {
    "runs": lambda p: list(pages(p.query_agent_runs)),
    "oldest runs": lambda p: list(pages(p.query_agent_runs, order="oldest")),
    "a run": lambda p: [p.get_agent_run(f"run-{n:02}") for n in (0, 11)],
    "no run": lambda p: p.get_agent_run("nothing"),
    "many runs": lambda p: {run.run_id for run in p.runs.get_many(["run-01", "run-10", "x"])},
    "runs by offset": lambda p: p.get_agent_runs("planner", limit=4, offset=3),
    "runs of a session": lambda p: list(pages(p.query_agent_runs, session_id="s2")),
    "runs of a user": lambda p: list(pages(p.query_agent_runs, user_id="u1")),
    "runs by tag": lambda p: list(pages(p.query_agent_runs, tags="even")),
    "runs by tags": lambda p: list(pages(p.query_agent_runs, any_tags=["t4", "t10"])),
    "runs by metadata": lambda p: list(pages(p.query_agent_runs, metadata={"number": 9})),
    "failed runs": lambda p: list(pages(p.query_agent_runs, status=["error", "timeout"])),
    "a window of runs": lambda p: list(pages(p.query_agent_runs, since=LONG_AGO, until=LATER)),
    "count of runs": lambda p: [p.count_agent_runs(), p.count_agent_runs(agent_id="writer")],
    "streamed runs": lambda p: [run.to_dict() for run in p.iter_agent_runs()],
    "events": lambda p: list(pages(p.query_events)),
    "oldest events": lambda p: list(pages(p.query_events, order="oldest")),
    "events of a run": lambda p: p.get_agent_run_events("run-08"),
    "events of a type": lambda p: list(pages(p.query_events, event_type="metric")),
    "severe events": lambda p: list(pages(p.query_events, min_level="warning")),
    "events by payload": lambda p: list(pages(p.query_events, payload={"result.number": 7})),
    "events of a user": lambda p: list(pages(p.query_events, user_id="u0")),
    "events of a session": lambda p: list(pages(p.query_events, session_id="s3")),
    "a window of events": lambda p: list(pages(p.query_events, since=LONG_AGO, until=LATER)),
    "streamed events": lambda p: [
        event.to_dict() for event in p.iter_agent_run_events(order="oldest")
    ],
    "events page by page": lambda p: [
        event.to_dict() for event in p.iter_agent_run_events(snapshot=False)
    ],
    "counts": lambda p: [p.count_events(min_level="error"), p.count_llm_usage(model="gpt-1")],
    "calls": lambda p: list(pages(p.query_llm_usage)),
    "calls of a session": lambda p: list(pages(p.query_llm_usage, session_id="s1")),
    "calls of a run": lambda p: p.get_llm_usage(run_id="run-07"),
    "scores": lambda p: [p.scores.list("run-11"), p.scores.list("run-01")],
    "statistics": lambda p: p.get_agent_run_stats(),
    "statistics of an agent": lambda p: p.get_agent_run_stats("planner"),
    "statistics of a session": lambda p: p.get_agent_run_stats(session_id="s2"),
    "statistics of a window": lambda p: p.get_agent_run_stats(since=LONG_AGO),
    "totals": lambda p: list(p.usage.totals(group_by=("model", "day"))),
    "totals of sessions": lambda p: list(p.usage.totals(group_by=("session", "user"))),
    "totals of runs": lambda p: list(p.runs.totals(group_by=("agent", "status", "week"))),
    "metrics": lambda p: list(p.query_metrics("cost", "sum", bucket="1d")),
    "percentiles": lambda p: list(p.query_metrics("cost", "p50", group_by="tags.split")),
    "names of metrics": lambda p: p.metrics.names(),
    "a search": lambda p: list(hits(p, "zebra")),
    "two words": lambda p: list(hits(p, "find horse")),
    "a beginning": lambda p: list(hits(p, "zeb* -horse")),
    "a phrase": lambda p: list(hits(p, '"find the"')),
    "words beyond ASCII": lambda p: list(hits(p, "\N{SNOWMAN}")),
    "a word of an agent": lambda p: list(hits(p, "bad", agent_id="planner", level="error")),
    "a word of a session": lambda p: list(hits(p, "horse", session_id="s3")),
    "a word in a window": lambda p: list(hits(p, "find", since=LONG_AGO, until=LATER)),
    "a word that is nowhere": lambda p: list(hits(p, "unicorn")),
    "the best": lambda p: [
        (hit.record.id, hit.score) for hit in p.search_text("find horse", order="rank")
    ],
    "a history": lambda p: p.runs.history("run-10"),
    "a comparison": lambda p: p.runs.compare("run-01", "run-10"),
    "hashes": lambda p: list(p.runs.hashes(["run-01", "run-10"])),
    "failures": lambda p: [group.count for group in p.stats.failures()],
}


def test_both_answer_as_the_database_did(filled: Persistence, place: Path) -> None:
    before = {name: ask(filled) for name, ask in QUESTIONS.items()}
    archive_runs(filled, place, older_than="40d", pace=1)
    assert filled.count_agent_runs() == 4
    both = open_archive(filled, place)
    for name, ask in QUESTIONS.items():
        assert ask(both) == before[name], name
    # Restored rows have new ids, and are found where they are.
    restore_runs(filled, place, ["run-08"])
    assert both.count_agent_runs() == 12
    assert len(both.get_agent_run_events("run-08")) == 5
