"""Session settings and connection poolers do not change results."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConflictError,
    InvalidValueError,
    Persistence,
    PostgresPersistence,
    UnavailableError,
    export_records,
    import_records,
)
from curio_persistence.tables import CONTENT
from tests.backends.conftest import Open
from tests.support.postgres import PostgresServer

# --- isolation --------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_transaction_sees_commits_of_others_at_any_default_isolation_level(
    open_postgres: Open, monkeypatch: pytest.MonkeyPatch, level: str, tmp_path: Path
) -> None:
    """Otherwise two concurrent imports would store records twice."""
    default = level.replace(" ", "\\ ")
    monkeypatch.setenv("PGOPTIONS", f"-c default_transaction_isolation={default}")
    one, two = open_postgres(), open_postgres()
    with one.transaction():
        assert one.count_events() == 0
        two.append_event("run", "agent", "step")
        assert one.count_events() == 1
        export_records(two, tmp_path / "export.jsonl")
        assert import_records(tmp_path / "export.jsonl", one).events == 0
        two.create_agent_run(AgentRun("agent", "other"))
        with pytest.raises(ConflictError):
            one.create_agent_run(AgentRun("agent", "other"))


# --- one round trip ---------------------------------------------------------------------------


@pytest.fixture
def statements(private_postgres: PostgresServer) -> Callable[[], list[str]]:
    """Return the first words of all statements since the last call, from the server's log."""
    log, read = Path(private_postgres.directory, "log"), 0

    def statements() -> list[str]:
        nonlocal read
        lines = log.read_text()
        found = re.findall(r"LOG:  statement: *\n?\s*(\w+)", lines[read:])
        read = len(lines)
        return found

    return statements


@pytest.mark.parametrize("options", [{}, {"statement_timeout": 30.0}])
def test_a_single_call_is_one_round_trip(
    private_postgres: PostgresServer,
    statements: Callable[[], list[str]],
    options: dict[str, float],
) -> None:
    dsn = make_dsn(private_postgres.dsn, options="-c log_statement=all")
    with PostgresPersistence(dsn=dsn, **options) as persistence:  # type: ignore[arg-type]
        statements()
        run = AgentRun("agent", "run")
        calls: list[tuple[Callable[[], object], list[str]]] = [
            (lambda: persistence.create_agent_run(run), ["INSERT"]),
            (lambda: persistence.log_agent_run_event(AgentRunEvent("agent", "run")), ["INSERT"]),
            (lambda: persistence.log_llm_usage(AgentLLMUsage("agent", "run")), ["INSERT"]),
            (lambda: persistence.update_agent_run("run", run), ["UPDATE"]),
            (lambda: persistence.get_agent_run("run"), ["SELECT"]),
            (lambda: persistence.get_agent_run_events("run"), ["SELECT"]),
            (lambda: persistence.get_llm_usage(), ["SELECT"]),
        ]
        for call, expected in calls:
            call()
            assert statements() == expected
        persistence.get_agent_run_stats()
        assert 1 <= len(statements()) <= 5
    with PostgresPersistence(dsn=dsn) as again:
        assert set(statements()) == {"SELECT"}, "opening a current schema only looks"
        assert again.get_agent_run("run") is not None


# --- pgbouncer --------------------------------------------------------------------------------


@pytest.fixture
def bounced(pgbouncer: str, schema_name: str) -> Iterator[PostgresPersistence]:
    with PostgresPersistence(dsn=pgbouncer, schema=schema_name, pgbouncer=True) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def count(persistence: Persistence) -> int:
    return len(persistence.get_agent_run_events("run"))


def test_everything_works_behind_pgbouncer(bounced: PostgresPersistence) -> None:
    when = datetime(2026, 11, 20, 10, 30, tzinfo=timezone(timedelta(hours=5.5)))
    bounced.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=when))
    bounced.log_agent_run_event(AgentRunEvent("agent", "stub"))
    bounced.create_agent_run(AgentRun("agent", "stub", objective="100 % ☃ \0"))
    bounced.log_llm_usage(AgentLLMUsage("agent", "run", cost_usd=Decimal("0.1")))
    with pytest.raises(ConflictError):
        bounced.create_agent_run(AgentRun("agent", "run"))
    [event] = bounced.get_agent_run_events("run")
    assert event.timestamp == when
    assert event.timestamp.tzinfo is UTC
    stub = bounced.get_agent_run("stub")
    assert stub is not None
    assert stub.objective == "100 % ☃ \0"
    stats = bounced.get_agent_run_stats()
    assert (stats["total_runs"], stats["total_cost_usd"]) == (2, Decimal("0.1"))
    assert bounced.delete_agent_run("run")
    assert {check.level for check in bounced.diagnose()} == {"ok"}


def test_transactions_stay_in_their_session_behind_pgbouncer(bounced: PostgresPersistence) -> None:
    """Two server sessions are used in turn by more than two clients."""

    def work(number: int) -> None:
        for step in range(10):
            with suppress(LookupError), bounced.transaction():
                bounced.log_agent_run_event(AgentRunEvent("agent", "run"))
                with suppress(ConflictError):
                    bounced.create_agent_run(AgentRun("agent", "run"))
                bounced.log_agent_run_event(AgentRunEvent("agent", "run"))
                if (number + step) % 2:
                    raise LookupError

    with ThreadPoolExecutor(6) as pool:
        for working in [pool.submit(work, number) for number in range(6)]:
            working.result()
    assert count(bounced) == 6 * 5 * 2


def test_persistences_share_the_sessions_behind_pgbouncer(
    bounced: PostgresPersistence, pgbouncer: str, schema_name: str
) -> None:
    with PostgresPersistence(dsn=pgbouncer, schema=schema_name, pgbouncer=True) as other:
        for _ in range(20):
            bounced.log_agent_run_event(AgentRunEvent("agent", "run"))
            other.log_agent_run_event(AgentRunEvent("agent", "run"))
        assert count(bounced) == count(other) == 40


@pytest.mark.parametrize("is_told", [False, True])
def test_a_statement_timeout_works_behind_pgbouncer(
    pgbouncer: str, schema_name: str, postgres18: str, is_told: bool
) -> None:
    """pgbouncer refuses the option for the server, so only the client enforces the timeout."""
    with PostgresPersistence(
        dsn=pgbouncer, schema=schema_name, statement_timeout=0.1, pgbouncer=is_told
    ) as persistence:
        with closing(psycopg2.connect(postgres18)) as other, other.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {schema_name}.agent_runs")
            with pytest.raises(UnavailableError):
                persistence.get_agent_run("run")
        assert persistence.get_agent_run("run") is None


# --- other settings of a session --------------------------------------------------------------

MOMENTS = [
    datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 7, 4, tzinfo=UTC),
    datetime(1900, 1, 1, tzinfo=UTC),  # Before time zones had whole minutes.
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


@pytest.mark.parametrize(
    "settings",
    [
        {"timezone": "Asia/Kolkata"},
        {"timezone": "America/St_Johns"},
        {"timezone": "Europe/Amsterdam"},
        {"timezone": "Pacific/Kiritimati"},
        {"datestyle": "German"},
        {"datestyle": "SQL,DMY", "timezone": "Asia/Kolkata"},
        {"datestyle": "Postgres,MDY"},
        {"extra_float_digits": "-15"},
        {"lc_numeric": "C", "intervalstyle": "iso_8601"},
        {"search_path": "pg_temp"},
        {"standard_conforming_strings": "off", "backslash_quote": "safe_encoding"},
        {"quote_all_identifiers": "on"},
        {"default_transaction_isolation": "serializable"},
        {"client_encoding": "LATIN1"},
    ],
    ids=lambda settings: ", ".join(f"{name}={value}" for name, value in settings.items()),
)
def test_the_settings_of_a_session_change_no_result(
    open_postgres: Open, settings: dict[str, str]
) -> None:
    plain = open_postgres()
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    other = open_postgres(f"&options={quote(options)}")
    for number, moment in enumerate(MOMENTS):
        run = AgentRun("agent", f"run {number}", objective="☃ \\' %", started_at=moment)
        run.created_at = moment
        other.create_agent_run(run)
        other.log_llm_usage(
            AgentLLMUsage("agent", None, cost_usd=Decimal("1.000000000001"), created_at=moment)
        )
        found = other.get_agent_run(f"run {number}")
        assert found == plain.get_agent_run(f"run {number}") == run
        assert found is not None
        assert found.started_at == moment
        assert found.started_at.tzinfo is UTC
    other.append_event("run 0", "agent", "metric", payload={"name": "m", "value": 0.1 + 0.2})
    assert other.query_metrics("m", "max")[0].value == 0.1 + 0.2
    assert other.get_agent_runs() == plain.get_agent_runs()
    assert other.get_agent_run_stats() == plain.get_agent_run_stats()
    assert other.get_agent_run_stats()["total_cost_usd"] == Decimal("5.000000000005")


def test_a_stream_may_be_read_more_slowly_than_sessions_may_idle(open_postgres: Open) -> None:
    persistence = open_postgres("&options=-c%20idle_in_transaction_session_timeout%3D100")
    persistence.log_agent_run_events(AgentRunEvent("agent", "run") for _ in range(1_000))
    read = 0
    for _ in persistence.iter_agent_run_events():
        read += 1
        if read == 1:
            sleep(0.3)
    assert read == 1_000


def test_a_database_that_cannot_store_all_text_is_reported(
    postgres18: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(psycopg2.connect(postgres18)) as server, server.cursor() as cursor:
        server.autocommit = True
        cursor.execute("DROP DATABASE IF EXISTS latin")
        cursor.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        settings = parse_dsn(postgres18) | {"dbname": "latin"}
        with PostgresPersistence(dsn=make_dsn(**settings)):
            [record] = caplog.records
        cursor.execute("DROP DATABASE latin")
    assert "is encoded in LATIN1" in record.getMessage()


def test_the_environment_of_a_session_changes_no_result(
    open_postgres: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    monkeypatch.setenv("PGDATESTYLE", "German")
    persistence = open_postgres()
    run = AgentRun("agent", "run", objective="☃", started_at=MOMENTS[0])
    persistence.create_agent_run(run)
    assert persistence.get_agent_run("run") == run


def test_a_read_only_session_gives_a_clear_error(open_postgres: Open) -> None:
    open_postgres()
    persistence = open_postgres("&options=-c%20default_transaction_read_only%3Don")
    assert persistence.get_agent_runs() == []
    with pytest.raises(AccessDeniedError, match="read-only"):
        persistence.create_agent_run(AgentRun("agent", "run"))


def test_opened_read_only_it_refuses_every_write(open_postgres: Open) -> None:
    open_postgres().create_agent_run(AgentRun("agent", "run"))
    persistence = open_postgres(read_only=True)
    for write in (
        lambda: persistence.create_agent_run(AgentRun("agent", "other")),
        lambda: persistence.update_agent_run("run", AgentRun("agent", "run")),
        lambda: persistence.delete_agent_run("run"),
    ):
        with pytest.raises(AccessDeniedError, match="opened read-only"):
            write()
    assert [run.run_id for run in persistence.get_agent_runs()] == ["run"]


# --- another encoding -------------------------------------------------------------------------


@pytest.fixture
def latin1(dsn: str) -> Iterator[str]:
    """The DSN of a database whose encoding cannot store most text."""
    name = f"test_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        yield make_dsn(**{**parse_dsn(dsn), "dbname": name})
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_of_another_encoding_names_the_text_it_cannot_store(latin1: str) -> None:
    with PostgresPersistence(dsn=latin1) as persistence:
        checks = {check.name: check for check in persistence.diagnose()}
        assert checks["encoding"].level == "error"
        assert "LATIN1" in checks["encoding"].message
        assert "UTF8" in checks["encoding"].advice
        persistence.create_agent_run(AgentRun("agent", "run", objective="äé"))
        with pytest.raises(InvalidValueError, match="LATIN1"):
            persistence.create_agent_run(AgentRun("agent", "snow", objective="☃"))
        found = persistence.get_agent_run("run")
        assert found is not None
        assert found.objective == "äé"
        assert persistence.get_agent_run("snow") is None


def test_a_database_without_the_character_of_markers_stores_texts_where_they_are(
    latin1: str,
) -> None:
    with PostgresPersistence(dsn=latin1, dedupe=True) as persistence:
        persistence.append_event("run", "agent", "log", message="é" * 2_000)
        persistence.log_agent_run_events(
            AgentRunEvent("agent", "run", message="é" * 2_000) for _ in range(3)
        )
        assert {event.message for event in persistence.query_events()} == {"é" * 2_000}
        assert persistence._store.count(CONTENT) == 0


def test_a_recorder_spells_out_what_the_encoding_lacks(latin1: str) -> None:
    def without_names(field: str, text: str) -> str:
        return text.replace("李", "[name]")

    with PostgresPersistence(dsn=latin1, redactor=without_names) as persistence:
        with persistence.record_run(
            agent_id="agent", objective="東京 🚀 李", tags=["北", "eu"], metadata={"city": "東京"}
        ) as run:
            run.llm_call(model="m", prompt="é 🚀 \0")
            with run.tool("search", {"q": "東京"}):
                pass
            run.log("x" * 300, message="☃")
            run.finish("🚀", status="状态" * 9)
        found = persistence.get_agent_run(run.run_id)
        assert found is not None
        assert (run.dropped, found.status) == (0, (r"\u72b6\u6001" * 9)[:50])
        assert found.objective == r"\u6771\u4eac \ud83d\ude80 [name]"
        assert found.final_synthesis_output == r"\ud83d\ude80"
        assert found.tags == [r"\u5317", "eu"]
        assert found.get_metadata_dict() == {"city": "東京"}
        [usage] = persistence.get_llm_usage()
        assert usage.prompt == r"\u00e9 \ud83d\ude80 \u0000"
        [call] = persistence.get_agent_run_events(run.run_id, "tool_call")
        assert call.get_data_dict()["args"] == {"q": "東京"}
        [event] = [event for event in persistence.query_events() if event.message]
        assert (event.message, len(event.event_type)) == (r"\u2603", 255)


@pytest.mark.parametrize("buffered", [False, True], ids=["direct", "buffered"])
def test_a_recorder_loses_nothing_that_the_encoding_lacks(latin1: str, buffered: bool) -> None:
    opened = PostgresPersistence(dsn=latin1)
    with opened.buffered() if buffered else opened as persistence:
        with persistence.record_run(agent_id="エージェント", objective="東京") as run:
            with run.tool("検索", {"q": "東京", "path": "C:\\users"}) as call:
                call.result = r"\u6771"
            run.log("tool_call", {"tool_name": "\ud800"})
            run.metric("温度", 21.5, unit="℃")
            run.log("注意", {"text": "東京"}, level="状态", message="☃")
            run.llm_call(model="模型", prompt="東京", response="京都")
            run.score("品質", label="良", comment="☃")
            run.finish("完了")
        stored = persistence.get_agent_run(run.run_id)
        assert stored is not None
        assert (run.dropped, stored.status, stored.objective) == (0, "completed", r"\u6771\u4eac")
        assert stored.final_synthesis_output == r"\u5b8c\u4e86"
        events = persistence.get_agent_run_events(run.run_id)
        assert [event.event_type for event in events] == [
            "run_started",
            "tool_call_started",
            "tool_call",
            "tool_call",
            "metric",
            r"\u6ce8\u610f",
            "run_completed",
        ]
        assert tools_of(persistence) == [r"\u691c\u7d22", r"\ud800"]
        [metric] = persistence.query_metrics(r"\u6e29\u5ea6", "max")
        assert metric.value == 21.5
        [usage] = persistence.get_llm_usage(run_id=run.run_id)
        assert (usage.model, usage.prompt) == (r"\u6a21\u578b", r"\u6771\u4eac")
        assert usage.response_content == r"\u4eac\u90fd"
        [score] = persistence.scores.list(run.run_id)
        assert (score.name, score.label) == (r"\u54c1\u8cea", r"\u826f")
        assert score.comment == r"\u2603"


@pytest.mark.parametrize(
    "options", [{"capture_content": "metrics-only"}, {"redactor": "keys"}], ids=str
)
def test_names_are_kept_that_the_encoding_lacks(latin1: str, options: dict[str, Any]) -> None:
    with PostgresPersistence(dsn=latin1, **options) as persistence:
        with persistence.record_run(agent_id="agent") as run, run.tool("検索"):
            pass
        assert run.dropped == 0
        assert tools_of(persistence) == [r"\u691c\u7d22"]


def tools_of(persistence: Persistence) -> list[str]:
    return sorted(persistence.get_agent_run_stats()["tool_metrics"])
