"""A replica answers every question as its source does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
    connect,
    import_sessions,
    record_demo,
)
from curio_persistence.backends.clickhouse.client import open_client
from curio_persistence.backends.clickhouse.ddl import upgrade
from curio_persistence.backends.clickhouse.registry import waited_for
from curio_persistence.backends.clickhouse.sink import SHIFT, Noted, Sink
from curio_persistence.backends.sql import migrations
from curio_persistence.capabilities.search.documents import tokenize_record
from curio_persistence.errors import (
    InvalidValueError,
    MissingDatabaseError,
    NotFoundError,
    UnsupportedError,
)
from curio_persistence.interop.prometheus import CurioCollector
from curio_persistence.models import AgentSpan
from curio_persistence.replication.feeds import Intent
from curio_persistence.store.change_feed import Gaps, Watermark
from curio_persistence.store.codecs import encode_text
from curio_persistence.text.tokenizer import LONGEST_WORD
from tests.conformance import test_search_texts as search_texts
from tests.support.clickhouse_bridge import clickhouse_bridge
from tests.support.console import client_of
from tests.support.questions import NOW, Known, questions
from tests.support.replica_readings import NOT_ASKED
from tests.support.replicas import new_replica_url

EVENTS = 900

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Persistence]:
    """A file with runs, calls, sessions, metrics, spans, scores, approvals and states."""
    path = tmp_path_factory.mktemp("source") / "source.db"
    with SQLitePersistence(path) as persistence:
        record_demo(persistence, events=EVENTS, days=6, until=NOW)
        _record_more(persistence)
        yield persistence


def _record_more(persistence: Persistence) -> None:
    run, other = persistence.get_agent_runs(limit=2)
    persistence.scores.set(run.run_id, "helpful", 0.5, comment="Zürich “quoted”")
    persistence.scores.set(other.run_id, "helpful", 1.0, author="ann")
    persistence.snapshots.save(run.run_id, "step-1", {"x": [1, None, "\0\ud800"]})
    span = AgentSpan("a" * 32, "b" * 16, "fetch", started_at=NOW, ended_at=NOW, input={"q": 1})
    persistence.traces.save_span(span)
    ticket = persistence.approvals.request(run.run_id, "delete_file", {"path": "/x"})
    persistence.approvals.resolve(ticket.ticket_id, "approved", by="ann")
    payloads = ({"a": "it's \\ 100% \n TimeoutError"}, "naïve HTTPTimeout \udc4d\0", '{"a": 1e2}')
    for payload in payloads:
        persistence.append_event(
            run.run_id, run.agent_id, "note", payload=payload, timestamp=NOW, message="Zürich"
        )
    for year in (1, 9999):
        persistence.append_event(
            run.run_id,
            run.agent_id,
            "metric",
            timestamp=NOW.replace(year=year),
            payload={"name": "far", "value": -0.1},
        )


@pytest.fixture(scope="module")
def url(source: Persistence) -> str:
    url = new_replica_url()
    source.replicate(url, source="main")
    return url


@pytest.fixture(scope="module")
def replica(url: str) -> Iterator[Persistence]:
    # Other tests have other sources in it.
    with connect(f"{url}&source=main") as persistence:
        yield persistence


def test_every_question_has_the_answer_of_the_source(
    source: Persistence, replica: Persistence
) -> None:
    assert _differences(source, replica) == []


@pytest.mark.thorough
def test_a_server_answers_as_well(source: Persistence, tmp_path: Path) -> None:
    """By HTTP."""
    with clickhouse_bridge(tmp_path / "server") as bridge:
        url = bridge.url("agents")
        source.replicate(url, source="main")
        with connect(f"{url}?source=main") as replica:
            assert _differences(source, replica) == []


def _differences(source: Persistence, replica: Persistence) -> list[str]:
    """Return the questions with different answers."""
    different = []
    for name, ask in questions(Known(source)).items():
        expected, answer = ask(source), ask(replica)
        if plain(answer) != plain(expected):
            different.append(name)
    return different


def plain(value: Any) -> Any:
    """Return an answer as plain values, of which those of two databases are equal."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return repr(value) if isinstance(value, float | datetime) else value


_READING = ("analytics", "count", "get", "iter", "query", "search", "values")


def test_every_reading_method_is_asked() -> None:
    """Otherwise a new one would not be compared."""
    names = {
        name
        for name in vars(Persistence)
        if name.startswith(_READING) and name not in {"get_audit_events", "search"}
    }
    text = Path(questions.__code__.co_filename).read_text(encoding="utf-8")
    assert {name for name in names if f".{name}(" not in text and f".{name})" not in text} == set()


def test_what_a_replica_is_not_asked_is_there() -> None:
    """Otherwise a renamed module would be asked without anybody's decision."""
    here = {path.stem for path in Path(search_texts.__file__).parent.glob("test_*.py")}
    assert here >= NOT_ASKED


def test_of_several_sources_one_can_be_chosen(
    source: Persistence, url: str, tmp_path: Path
) -> None:
    with SQLitePersistence(tmp_path / "second.db") as second:
        run = AgentRun("someone", "run-of-the-second", objective="second")
        second.create_agent_run(run)
        second.append_event(run.run_id, run.agent_id, "note", payload="only here")
        second.replicate(url, source="second")
        with connect(f"{url}&source=second") as only:
            [found] = only.query_agent_runs()
            assert (found.run_id, found.id) == (run.run_id, 2**SHIFT + 1)
            assert [event.data for event in only.query_events()] == ["only here"]
            assert only.events.get(1) is None
            assert len(only.search_text("only here")) == 1
            assert only.get_agent_run_stats()["total_runs"] == 1
            assert only.sql("SELECT count() FROM agent_runs").rows == [(1,)]
        with connect(url) as both:
            assert both.count_agent_runs() == source.count_agent_runs() + 1
            assert both.get_agent_run(run.run_id) == found
        with connect(f"{url}&source=main") as first:
            assert first.count_agent_runs() == source.count_agent_runs()
    with pytest.raises(NotFoundError, match="main, second"):
        connect(f"{url}&source=third")


def test_a_write_is_refused_and_names_the_source(
    source: Persistence, url: str, replica: Persistence
) -> None:
    run = source.get_agent_runs(limit=1)[0]
    with connect(f"{url}&source=main") as replica:
        for write in (
            lambda: replica.create_agent_run(AgentRun("a", "r")),
            lambda: replica.update_agent_run(run.run_id, run),
            lambda: replica.append_event(run.run_id, "a", "note"),
            lambda: replica.log_llm_usage(AgentLLMUsage("a", run.run_id)),
            lambda: replica.delete_agent_run(run.run_id),
            lambda: replica.scores.set(run.run_id, "x", 1.0),
            replica.compact,
            replica.search.rebuild,
            lambda: import_sessions([], replica),
        ):
            with pytest.raises(
                UnsupportedError, match=r"is a replica of .*source\.db; write there"
            ):
                write()


def test_a_replica_is_not_replicated(replica: Persistence, url: str) -> None:
    with pytest.raises(UnsupportedError, match="is a replica: replicate its sources"):
        replica.replicate(url)
    [check] = [check for check in replica.diagnose() if check.name == "sources"]
    assert "The replica" not in check.message


def test_an_interval_that_is_none_is_refused(source: Persistence, url: str) -> None:
    with pytest.raises(InvalidValueError, match="every is a timedelta"):
        source.replicate(url, source="main", once=False, every=timedelta(seconds=-1))


def test_a_check_is_of_the_source_that_is_named(source: Persistence, url: str) -> None:
    assert source.check_replica(f"{url}&source=another", source="main", deep=True).ok


def test_what_is_not_replicated_is_an_error_and_not_nothing(replica: Persistence) -> None:
    for ask in (replica.audit.query, replica.alerts.list, replica.keys.list):
        with pytest.raises(UnsupportedError, match="use the database that it copies"):
            ask()


def test_a_database_that_is_not_there_is_told(url: str) -> None:
    with pytest.raises(MissingDatabaseError, match=r"no database 'nope'\. `replicate` makes it"):
        connect(f"{url.partition('?')[0]}?database=nope")


def test_prometheus_tells_how_far_a_replica_is_behind(replica: Persistence) -> None:
    families = {family.name: family for family in CurioCollector(replica, timeout=60).collect()}
    assert families["curio_up"].samples[0].value == 1
    [behind] = families["curio_replica_behind_seconds"].samples
    assert behind.labels == {"source": "main"}
    assert 0 <= behind.value < 600
    assert "curio_alert_state" not in families


@pytest.mark.thorough
def test_each_page_of_the_rail_is_there(replica: Persistence) -> None:
    console = client_of(replica)
    paths = re.findall(r'<a href="([^"]*)" data-go=', console.get("/").text)
    assert len(paths) > 10
    for path in (*paths, "/settings/keys", "/settings/logins", "/settings/audit"):
        assert console.get(path).status_code == 200, path
    for path in ("/alerts", "/settings/audit"):
        assert "Kept in the source" in console.get(path).text


def test_a_follower_sees_what_is_replicated(tmp_path: Path) -> None:
    url = new_replica_url()
    with SQLitePersistence(tmp_path / "followed.db") as source:
        source.append_event("run", "agent", "note", payload="before")
        source.replicate(url, source="followed")
        with connect(url) as replica:
            feed = replica.events.follow(last=10, interval=0.01)
            assert [event.data for event in next(feed)] == ["before"]
            source.append_event("run", "agent", "note", payload="after")
            assert next(feed) == []
            source.replicate(url, source="followed")
            assert [event.data for event in next(feed)] == ["after"]
            InMemoryPersistence().replicate(url, source="another")
            with pytest.raises(UnsupportedError, match="follow one of them"):
                next(feed)


def test_a_replica_knows_the_transactions_whose_rows_come_late() -> None:
    """The mark of the replicator, and what it is about to send, tell."""
    client = open_client(new_replica_url(), create=True)
    upgrade(client)
    sink = Sink(client, "main", 0)
    mark, next_mark = (Watermark(9, (Gaps(((4, 5),), frozenset({name})),)) for name in "ab")
    intent = Intent("token", next_mark.text(), ((9, 10),))
    sink.note({"agent_run_events": Noted(mark.text(), intent.text())})
    assert waited_for(client, "agent_run_events") == {"a", "b"}
    assert waited_for(client, "agent_llm_usage") == set()
    client.close()


def test_sql_is_answered_and_may_only_read(replica: Persistence, source: Persistence) -> None:
    sql = "SELECT agent_id, count() AS n FROM agent_runs WHERE created_at < $1 GROUP BY 1"
    found = replica.sql(sql, [NOW])
    counts = [
        (agent.agent_id, source.count_agent_runs(agent_id=agent.agent_id))
        for agent in source.agents.query()
    ]
    assert (found.columns, sorted(found.rows)) == (("agent_id", "n"), sorted(counts))
    assert replica.sql("SELECT '$1', $1", ["it's"]).rows == [("$1", "it's")]
    assert replica.sql("SELECT number FROM numbers(9)", limit=2).has_more
    for refused in (
        "DROP TABLE agent_runs",
        "SELECT 1; DROP TABLE agent_runs; SELECT 1",
        "INSERT INTO agent_runs (run_id) VALUES ('x')",
        "SET readonly = 0",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM nowhere",
        "SELEC 1",
        "SELECT $2",
    ):
        with pytest.raises(InvalidValueError):
            replica.sql(refused, [1])
    assert replica.count_agent_runs() == source.count_agent_runs()


def test_a_check_up_names_the_sources(replica: Persistence) -> None:
    checks = {check.name: check for check in replica.diagnose()}
    assert "main: The database" in checks["sources"].message
    assert {check.level for check in checks.values()} == {"ok"}
    assert replica.schema_version() == 1
    assert replica._store.engine_numbers()["database_bytes"] > 0


def test_an_odd_row_is_one_whose_words_clickhouse_would_not_find(url: str) -> None:
    """The index has all words of the others, and perhaps more."""
    ddl = migrations.statements("clickhouse", "events.sql")
    [expression] = re.findall(r"INDEX data_words data .*preprocessor = (.*)\),\n", ddl)
    [odd] = re.findall(r"is_odd UInt8 MATERIALIZED (.*),\n", ddl)
    texts = [sample.text for sample in search_texts.SAMPLES] + [*_TEXTS]
    texts = [encode_text(text) for text in texts]
    client = open_client(url)
    rows = client.rows(
        f"SELECT data, {odd}, tokens({expression}, 'splitByNonAlpha') "
        "FROM (SELECT arrayJoin(%s) AS data, NULL AS message)",
        (texts,),
    )
    client.close()
    assert len(rows) == len(texts)
    for text, is_odd, words in rows:
        event = AgentRunEvent("a", "r", timestamp=NOW, data=text)
        wanted = {word for word in tokenize_record(1, event) if word}
        assert is_odd or wanted <= {word[:LONGEST_WORD] for word in words}, text
    assert sum(is_odd for _, is_odd, _ in rows) < len(rows)


_TEXTS = (
    "plain words, HTTPTimeout and TimeoutError; FooX1Bar aaBCDee camelCase1Two",
    '{"a": "one\\ntwo\\tthreeFour", "path": "C:\\\\new"}',
    "C:\\newFile \\nothing",
    "a “quoted” – text…",
    "x" * 100,
    "under_score kebab-case 20.04 e2e",
)
