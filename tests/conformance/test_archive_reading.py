"""A database read together with its archive answers as it did before its runs moved there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    ClosedError,
    CorruptDatabaseError,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    archive_runs,
    erase_runs,
    open_archive,
    restore_runs,
)
from curio_persistence.archive import merging
from curio_persistence.archive.archiver import Archiver
from curio_persistence.archive.cold.files import LocalFiles
from curio_persistence.archive.delta_log import DeltaLog
from curio_persistence.capabilities.lifecycle.expiring import Expiry
from curio_persistence.places import Place
from tests.conformance.test_archive import AWKWARD, NOON, files
from tests.conformance.test_retention import record
from tests.support.hands import Hands

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


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
        persistence.approvals.request(name, "delete", AWKWARD, ticket_id=f"t-{name}")
        persistence.snapshots.save(name, "one", {"n": number, "words": AWKWARD})
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
    "runs in brief": lambda p: [*p.query_agent_runs(brief=True, metadata={"number": 4})],
    "steps": lambda p: [[*p.runs.steps(f"run-{n:02}")] for n in (0, 11)],
    "steps that failed": lambda p: [*p.runs.steps("run-00", failed=True)],
    "steps of models": lambda p: [*p.runs.steps("run-00", only="model", limit=2)],
    "the outline of a run": lambda p: p.runs.outline_buckets("run-00"),
    "figures of runs": lambda p: p.runs.totals_of(["run-00", "run-11"]),
    "counts of runs": lambda p: p.runs.counts(bucket="day", since=LONG_AGO, until=LATER),
    "tools": lambda p: [*p.stats.tools()],
    "a moment of a session": lambda p: p.sessions.moment("s0"),
    "sessions": lambda p: list(pages(p.sessions.query)),
    "all sessions": lambda p: [each.to_dict() for each in p.sessions.iterate(order="oldest")],
    "idle sessions": lambda p: p.sessions.count(status="idle"),
    "a session": lambda p: [p.sessions.get(f"s{n}", idle_after="4w") for n in range(4)],
    "a timeline": lambda p: [e.to_dict() for n in (0, 1, 3) for e in p.sessions.timeline(f"s{n}")],
    "a conversation": lambda p: [p.sessions.conversation(f"s{n}") for n in range(4)],
    "agents": lambda p: list(pages(p.agents.query)),
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
    "approvals": lambda p: [p.approvals.list("run-11"), p.approvals.get("t-run-01")],
    "approvals that wait": lambda p: list(pages(p.approvals.query, status="pending")),
    "snapshots": lambda p: [p.snapshots.list("run-01"), p.snapshots.latest("run-01")],
    "statistics": lambda p: p.get_agent_run_stats(),
    "statistics of an agent": lambda p: p.get_agent_run_stats("planner"),
    "statistics of a session": lambda p: p.get_agent_run_stats(session_id="s2"),
    "statistics of a window": lambda p: p.get_agent_run_stats(since=LONG_AGO),
    "totals": lambda p: list(p.usage.totals(group_by=("model", "day"))),
    "totals of sessions": lambda p: list(p.usage.totals(group_by=("session", "user"))),
    "totals of runs": lambda p: list(p.runs.totals(group_by=("agent", "status", "week"))),
    "analytics": lambda p: list(p.analytics(timezone="UTC", percentiles=True)),
    "analytics of agents": lambda p: list(p.analytics(bucket=None, group_by=("agent", "user"))),
    "analytics of a session": lambda p: list(p.analytics(bucket="hour", session_id="s1")),
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


def answers(persistence: Persistence) -> dict[str, Any]:
    """Answers that tell whether a row is missing, or there twice."""
    names = ("runs", "events", "calls", "scores", "statistics", "totals of sessions", "a search")
    return {name: QUESTIONS[name](persistence) for name in names}


def without_ids(value: Any) -> Any:
    """A value without the ids of rows, which a restored row has not kept."""
    if isinstance(value, dict):
        return {name: without_ids(each) for name, each in value.items() if name != "id"}
    if isinstance(value, list | tuple):
        return [without_ids(each) for each in value]
    return without_ids(asdict(value)) if is_dataclass(value) else value


STEPS = [
    (Place, "put_new", 7),
    (DeltaLog, "commit", 1),
    (DeltaLog, "commit", 3),
    (Expiry, "flush", 1),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "method", "calls"), STEPS, ids=str)
def test_an_interrupted_archiver_hides_and_doubles_nothing(
    filled: Persistence, place: Path, kind: type, method: str, calls: int
) -> None:
    archive_runs(filled, place, older_than="90d", pace=1)
    before = answers(open_archive(filled, place))
    original, left = getattr(kind, method), iter(range(calls))

    def stop(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise InterruptedError
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, method, stop)
        with pytest.raises(InterruptedError):
            archive_runs(filled, place, older_than="40d", pace=1)
    assert answers(open_archive(filled, place)) == before
    assert archive_runs(filled, place, older_than="40d", pace=1).runs
    assert answers(open_archive(filled, place)) == before


@pytest.mark.thorough
def test_runs_that_were_archived_again_are_found_once(filled: Persistence, place: Path) -> None:
    before = {name: without_ids(answer) for name, answer in answers(filled).items()}
    archive_runs(filled, place, older_than="40d", pace=1)
    restore_runs(filled, place, ["run-07", "run-10"])
    filled.runs.patch("run-07", metrics={"again": 1})
    filled.runs.patch("run-07", metrics={"again": None})
    both = open_archive(filled, place)
    for _ in range(2):
        found = {name: without_ids(answer) for name, answer in answers(both).items()}
        for name in ("statistics", "totals of sessions", "scores"):
            assert found[name] == before[name], name
        assert both.count_agent_runs() == 12
        assert len({run.run_id for run in both.iter_agent_runs()}) == 12
        assert len(list(both.iter_agent_run_events())) == both.count_events() == 60
        archive_runs(filled, place, older_than="40d", pace=1)


@pytest.mark.thorough
def test_a_run_that_changed_while_it_was_archived_is_found_once(
    filled: Persistence, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Archiver.store

    def store_and_log(self: Archiver, *arguments: Any) -> None:
        store(self, *arguments)
        filled.append_event("run-11", "planner", "log", payload="late")

    with monkeypatch.context() as patch:
        patch.setattr(Archiver, "store", store_and_log)
        assert archive_runs(filled, place, older_than="40d", pace=1).runs == 7
    before = answers(open_archive(filled, place))
    assert len(before["events"]) == len(list(pages(filled.query_events))) + 12
    archive_runs(filled, place, older_than="40d", pace=1)
    assert answers(open_archive(filled, place)) == before


@pytest.mark.thorough
def test_of_copies_the_last_one_counts(
    filled: Persistence, clock: Hands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_LEAST", 2)
    for number in range(3):
        archive_runs(filled, place, older_than="40d", keep=True)
        clock.move(seconds=1)
        filled.scores.set("run-08", "helpful", number, comment="again")
        filled.append_event("run-08", "planner", "log", payload=f"zebra {number}")
        filled.runs.patch("run-09", metrics={"copy": number})
        assert answers(open_archive(filled, place)) == answers(filled)
    before = answers(filled)
    archive_runs(filled, place, older_than="40d", pace=1)
    both = open_archive(filled, place)
    assert both.runs.archived(["run-08"])
    assert answers(both) == before


def test_pages_from_the_database_read_no_file(
    both: Persistence, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.count_agent_runs()  # Looks once for runs that are there several times.
    read: list[int] = []
    held = LocalFiles.held
    monkeypatch.setattr(
        LocalFiles,
        "held",
        lambda self, folder, some: read.append(len(some)) or held(self, folder, some),
    )
    assert len(both.query_agent_runs(limit=3)) == 3
    assert both.query_events(since=NOON - timedelta(days=35), limit=4)
    assert read == []
    assert len(both.query_agent_runs(limit=5)) == 5
    assert sum(read) < len(files(place)) / 4
    read.clear()
    assert both.get_agent_run_events("run-09")
    assert sum(read) < 4


def test_an_archive_is_only_read(both: Persistence) -> None:
    writes: list[Any] = [
        lambda: both.create_agent_run(AgentRun("planner", "new")),
        lambda: both.append_event("run-11", "planner", "log"),
        lambda: both.delete_agent_run("run-11"),
        lambda: both.runs.patch("run-01", metrics={"a": 1}),
        lambda: both.lifecycle.expire("1d"),
        lambda: both.transaction().__enter__(),
        both.compact,
    ]
    for write in writes:
        with pytest.raises(AccessDeniedError, match="open the database without its archive"):
            write()
    assert both.count_agent_runs() == 12
    assert both.runs.archived(["run-01", "run-11", "nothing"]) == {"run-11"}


@pytest.mark.thorough
def test_threads_ask_at_once_and_close_ends_it(both: Persistence) -> None:
    asked = ("runs", "events by payload", "totals", "a search", "a history")
    expected = {name: repr(QUESTIONS[name](both)) for name in asked}
    with ThreadPoolExecutor(5) as pool:
        for name, answer in zip(
            asked * 2, pool.map(lambda name: repr(QUESTIONS[name](both)), asked * 2), strict=True
        ):
            assert answer == expected[name]
    both.close()
    both.close()
    with pytest.raises(ClosedError):
        both.query_agent_runs(limit=10)


@pytest.mark.thorough
def test_reading_goes_on_while_runs_move(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="100d", pace=1)
    both = open_archive(filled, place)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(archive_runs, filled, place, older_than="20d", pace=0.3)
        while not moving.done():
            assert both.count_events() == 60
            assert len(list(both.iter_agent_runs())) == 12
            assert len(both.query_events(limit=None)) == 60
    assert moving.result().runs == 8


@pytest.mark.thorough
def test_files_are_fetched_where_duckdb_cannot_read_them(
    filled: Persistence, tmp_path: Path
) -> None:
    odd = tmp_path / "old [1]*?"
    archive_runs(filled, odd, older_than="40d", pace=1)
    both = open_archive(filled, odd)
    assert both.count_agent_runs() == 12
    fetched = both._store._archived._files._folder.name  # type: ignore[attr-defined]
    assert [*Path(fetched).rglob("*.parquet")]
    both.close()
    assert not Path(fetched).exists()


def test_a_damaged_or_missing_file_is_named(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="40d", pace=1)
    [path, *_] = [path for path in files(place) if path.parts[-3] == "events"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"X")
    with pytest.raises(CorruptDatabaseError, match=f"{path.name} is not as it was archived"):
        open_archive(filled, place).query_events(limit=None)
    path.unlink()
    with pytest.raises(NotFoundError, match=path.name):
        open_archive(filled, place).query_events(limit=None)


def test_another_database_s_archive_is_named_by_its_folder(
    filled: Persistence, place: Path
) -> None:
    archive_runs(filled, place, older_than="40d", pace=1)
    [folder] = place.iterdir()
    other = InMemoryPersistence()
    with pytest.raises(NotFoundError, match=f"It has the databases {folder.name}"):
        open_archive(other, place)
    with pytest.raises(InvalidValueError, match="16 hexadecimal digits"):
        open_archive(other, place, source="../x")
    with pytest.raises(NotFoundError, match="has no archive"):
        open_archive(other, place.parent / "nothing")


@pytest.mark.thorough
def test_a_large_run_is_whole_while_it_is_deleted(
    persistence: Persistence, clock: Hands, place: Path
) -> None:
    def told(opened: Persistence) -> list[Any]:
        streamed = [(event.id, event.timestamp) for event in opened.iter_agent_run_events()]
        page = [event.id for event in opened.query_events(limit=20)]
        return [streamed, page, opened.count_events(), opened.get_agent_run_stats()]

    record(persistence, "large", days=100, events=12_000)
    record(persistence, "small", days=1)
    clock.move(seconds=1)
    before = told(persistence)
    original, left = Expiry._delete_batch, iter(range(2))

    def stop(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise InterruptedError
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Expiry, "_delete_batch", stop)
        with pytest.raises(InterruptedError):
            archive_runs(persistence, place, older_than="40d", pace=1)
    assert 2 < persistence.count_events() < 12_002
    assert told(open_archive(persistence, place)) == before
    archive_runs(persistence, place, older_than="40d", pace=1)
    assert told(open_archive(persistence, place)) == before


def test_a_late_event_does_not_hide_an_archived_run(both: Persistence, filled: Persistence) -> None:
    before = both.get_agent_run("run-11"), len(both.get_agent_run_events("run-11"))
    numbers = both.get_agent_run_stats()
    filled.append_event("run-11", "planner", "log", payload="late")
    assert (both.get_agent_run("run-11"), len(both.get_agent_run_events("run-11")) - 1) == before
    assert both.count_agent_runs() == len(list(both.iter_agent_runs())) == 12
    assert len(both.query_agent_runs(limit=None)) == 12
    assert both.get_agent_run_stats()["total_runs"] == numbers["total_runs"]
    assert len(both.search_text("late")) == 1
    filled.create_agent_run(AgentRun("planner", "run-10", status="running"))
    run = both.get_agent_run("run-10")
    assert run is not None
    assert run.status == "running"
    assert len(both.get_agent_run_events("run-10")) == 5
    assert both.count_agent_runs() == 12


@pytest.mark.thorough
def test_erased_runs_do_not_come_back(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="40d", pace=1)
    both = open_archive(filled, place)
    restore_runs(filled, place, ["run-10", "run-11"])
    filled.delete_agent_run("run-10")
    assert both.get_agent_run("run-10") is None
    assert both.get_agent_run_events("run-10") == []
    assert both.count_agent_runs() == 11
    erase_runs(filled, place, ["run-09", "run-11"])
    assert both.count_agent_runs() == 9


@pytest.mark.thorough
def test_runs_that_are_restored_meanwhile_are_there_once(filled: Persistence, place: Path) -> None:
    events = filled.query_events(limit=None)
    all_of_them = Counter((event.run_id, event.timestamp, event.data) for event in events)
    archive_runs(filled, place, older_than="40d", pace=1)
    both = open_archive(filled, place)
    for number, names in enumerate((["run-11"], ["run-08", "run-05"])):
        with both.iter_agent_run_events(order="oldest" if number else "newest") as stream:
            rows = iter(stream)
            found = [next(rows)]
            restore_runs(filled, place, names)
            found += rows
        assert (
            Counter((event.run_id, event.timestamp, event.data) for event in found) == all_of_them
        )


def test_the_archive_of_another_database_is_read_alone(filled: Persistence, place: Path) -> None:
    archive_runs(filled, place, older_than="40d", pace=1)
    [folder] = place.iterdir()
    other = InMemoryPersistence()
    record(other, "mine", days=1)
    theirs = open_archive(other, place, source=folder.name)
    assert theirs.count_agent_runs() == len(list(theirs.iter_agent_runs())) == 8
    assert len(theirs.search_text("find")) == 8
    with pytest.raises(ClosedError):
        other.count_agent_runs()


def test_the_search_index_is_not_switched_through_an_archive(both: Persistence) -> None:
    for change in (both.search.disable, both.search.enable, both.search.rebuild):
        with pytest.raises(AccessDeniedError, match="open the database without its archive"):
            change()
    assert both.search.enabled
