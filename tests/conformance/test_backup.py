"""A backup is the whole database as of one moment, and becomes a database again."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    CorruptDatabaseError,
    DamagedRow,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    Receiver,
    RetentionPolicy,
    SQLitePersistence,
    UnsupportedError,
    aio,
    archive_runs,
    connect,
    open_archive,
    restore_backup,
)
from curio_persistence.store.filters import Filter
from curio_persistence.tables import (
    AGENTS,
    ALL_TABLES,
    APPROVALS,
    AUDIT_LOG,
    CHAIN_HEADS,
    EVENTS,
    RUNS,
    SCORES,
    SESSIONS,
    SNAPSHOTS,
    USAGE,
)
from tests.conformance.conftest import Open
from tests.conformance.test_retention import record
from tests.conftest import PostgresServers
from tests.support import awkward
from tests.support.hands import Hands
from tests.support.one_of_each import insert_one_of_each
from tests.support.otlp_corpus import spans
from tests.support.postgres import find_binaries

pytestmark = pytest.mark.slow

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the server's pg_dump and pg_restore on PATH."""
    name, _, major = _server(request).partition("postgres")
    if not name:
        programs = find_binaries(int(major))
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def elsewhere(
    request: pytest.FixtureRequest, persistence: Persistence, tmp_path: Path
) -> Iterator[str]:
    """Return the URL of a database of the same kind that does not exist, or is empty."""
    server = _server(request)
    if not server.startswith("postgres"):
        yield f"sqlite:///{tmp_path / 'restored.db'}"
        return
    servers: PostgresServers = request.getfixturevalue("postgres_servers")
    name = f"test_{uuid.uuid4().hex}"
    run_there(servers.dsn(server), f"CREATE DATABASE {name}")
    schema = persistence._store._schema_name  # type: ignore[attr-defined]
    yield f"{servers.dsn(server).replace('/postgres?', f'/{name}?')}&schema={schema}"
    run_there(servers.dsn(server), f"DROP DATABASE {name} WITH (FORCE)")


def _server(request: pytest.FixtureRequest) -> str:
    """Return the name of the backend, without that of a layout."""
    backend: str = request.node.callspec.params["open_again"]
    return backend.partition(" ")[0]


def run_there(dsn: str, statement: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement)


def everything(persistence: Persistence) -> dict[str, Any]:
    """Return all rows of all tables, but for what making a database from a backup adds."""
    new = (AUDIT_LOG.filter("action", "<>", "restore backup"),)
    rest = (table for table in ALL_TABLES if table not in (AUDIT_LOG, CHAIN_HEADS))
    rows = {table.name: persistence._store.select(table) for table in rest}
    return {**rows, AUDIT_LOG.name: persistence._store.select(AUDIT_LOG, new)}


def test_memory_has_no_backups_and_says_what_to_do(
    persistence: Persistence, tmp_path: Path
) -> None:
    """The one difference between the backends."""
    if persistence._store.dialect == "memory":
        with pytest.raises(UnsupportedError, match=r"has no backups.*SQLite file"):
            persistence.backup(tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        (tmp_path / "any.db").touch()
        with pytest.raises(UnsupportedError, match="copy_records"):
            restore_backup(tmp_path / "any.db", "memory://")
    else:
        assert Path(persistence.backup(tmp_path / "backup").path).exists()


def test_a_backup_has_the_hash_chains(
    lasting: None, open_again: Any, elsewhere: str, tmp_path: Path
) -> None:
    key = "a key of the auditors"
    chained = open_again(chain=True, audit_key=key)
    chained.log_agent_run_events(AgentRunEvent("planner", "run") for _ in range(5))
    restore_backup(chained.backup(tmp_path / "backups").path, elsewhere)
    with connect(elsewhere, audit_key=key) as restored:
        assert restored.audit.verify("run").ok
        # The line about the backup was added without the key.
        assert [fault.problem for fault in restored.audit.verify().faults] == ["unsigned"]
        restored.audit.sign()
        assert restored.audit.verify().ok
        actions = [entry.action for entry in restored.audit.iterate(order="oldest")]
        assert actions == ["backup", "restore backup", "sign"]


def test_a_backup_has_everything(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    persistence.search.enable()
    insert_one_of_each(persistence._store)
    awkward.write(persistence)
    persistence.lifecycle.hold("case", run_id="full")
    assert [hit.run_id for hit in persistence.search_text("quoted", limit=1)] == ["full"]
    report = persistence.backup(tmp_path / "backups")
    assert Path(report.path).stat().st_size == report.size
    assert restore_backup(report.path, elsewhere) == report
    with connect(elsewhere) as restored:
        assert everything(restored) == everything(persistence)
        assert awkward.hashes(restored) == awkward.hashes(persistence)
        assert restored.search.pending() == 0
        assert [hit.run_id for hit in restored.search_text("quoted", limit=1)] == ["full"]
        broken = {check.name for check in restored.diagnose(deep=True) if check.level == "error"}
        assert broken == {"chains"}  # The hashes of the rows above are made up.
        newest = max(event.id or 0 for event in persistence.iter_agent_run_events())
        assert (restored.append_event("full", "agent", "log").id or 0) > newest
        restored.delete_agent_run("full")
        assert restored.get_agent_run("full") is None


def test_a_backup_is_named_by_the_time_and_private(
    lasting: None, persistence: Persistence, clock: Hands, tmp_path: Path
) -> None:
    clock.put(NOON)
    paths = [Path(persistence.backup(f"{tmp_path}/deep/backups/").path)]
    clock.move(seconds=1)
    paths.append(Path(persistence.backup(tmp_path / "deep/backups").path))
    assert paths == sorted(paths)
    for path in paths:
        assert re.search(r"\w-20261120T12000\d\.000000Z\.(db|dump)$", path.name)
        assert path.stat().st_mode & 0o077 == 0
        assert Path(f"{path}.sha256").read_text().endswith(f"  {path.name}\n")
    assert len(list((tmp_path / "deep/backups").iterdir())) == 4


def test_a_backup_replaces_nothing(lasting: None, persistence: Persistence, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    there.write_text("mine")
    with pytest.raises(InvalidValueError, match=r"there\.db is there already.*another name"):
        persistence.backup(there)
    assert there.read_text() == "mine"
    persistence.backup(tmp_path / "new.db")
    with pytest.raises(InvalidValueError, match="is there already"):
        persistence.backup(str(tmp_path / "new.db"))
    assert sorted(path.name for path in tmp_path.glob("*new*")) == ["new.db", "new.db.sha256"]


@pytest.mark.parametrize("destination", ["", 5, None, "a\0b", "http://host/x", "x.db-wal"])
def test_an_address_that_cannot_be_one_is_refused(
    lasting: None,
    persistence: Persistence,
    destination: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError) as refused:
        persistence.backup(destination)
    assert refused.value.field == "destination"
    with pytest.raises((InvalidValueError, NotFoundError)):
        restore_backup(destination, f"sqlite:///{tmp_path / 'x.db'}")
    assert not (tmp_path / "x.db").exists()


def test_a_backup_beside_a_writer_is_of_one_moment(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    """Each transaction of the writer is in it as a whole, or not at all."""
    numbers, stop = iter(range(10**9)), threading.Event()

    def write() -> None:
        while not stop.is_set():
            with persistence.transaction():
                name = f"run-{next(numbers)}"
                persistence.create_agent_run(AgentRun("agent", name))
                persistence.log_agent_run_event(AgentRunEvent("agent", name, data="x" * 500))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while persistence.count_agent_runs() < 50:
            pass
        report = persistence.backup(tmp_path / "backups")
        after = persistence.count_agent_runs()
        while persistence.count_agent_runs() == after:
            pass
    finally:
        stop.set()
        writer.join()
    restore_backup(report.path, elsewhere)
    with connect(elsewhere) as restored:
        assert 50 <= restored.count_agent_runs() == restored.count_events() <= after


def test_a_backup_has_what_was_queued(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    with persistence.buffered(max_seconds=60) as buffered:
        buffered.log_agent_run_event(AgentRunEvent("agent", "run"))
        path = buffered.backup(tmp_path / "backups").path
    restore_backup(path, elsewhere)
    with connect(elsewhere) as restored:
        assert restored.count_events() == 1


def test_a_transaction_has_no_backup(
    lasting: None, persistence: Persistence, tmp_path: Path
) -> None:
    with persistence.transaction(), pytest.raises(UnsupportedError, match="end it before backup"):
        persistence.backup(tmp_path / "backup.db")
    assert list(tmp_path.glob("*backup*")) == []


def test_a_database_with_its_archive_is_backed_up_without_it(
    filled: Persistence, tmp_path: Path
) -> None:
    archive_runs(filled, tmp_path / "archive", older_than="40d", pace=1)
    tiers = open_archive(filled, tmp_path / "archive")
    with pytest.raises(UnsupportedError, match="Open it without the archive"):
        tiers.backup(tmp_path / "backups")
    assert not (tmp_path / "backups").exists()


def test_backups_can_be_awaited(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))

    async def main() -> bool:
        awaited = aio.AsyncPersistence(persistence)
        report = await awaited.backup(tmp_path / "backups")
        await aio.restore_backup(report.path, elsewhere)
        return (await awaited.verify(elsewhere)).compared == 1

    assert asyncio.run(main())


# --- restoring ------------------------------------------------------------------------------------


def test_a_database_that_is_there_is_not_replaced(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    path = persistence.backup(tmp_path / "backups").path
    with connect(elsewhere) as other:
        other.create_agent_run(AgentRun("agent", "mine"))
    with pytest.raises(InvalidValueError, match="is not replaced"):
        restore_backup(path, elsewhere)
    with connect(elsewhere) as other:
        assert [run.run_id for run in other.get_agent_runs()] == ["mine"]


@pytest.mark.parametrize("without_hash", [False, True], ids=["hash", "no hash"])
def test_a_damaged_backup_creates_nothing(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path, without_hash: bool
) -> None:
    awkward.write(persistence)
    path = Path(persistence.backup(tmp_path / "backups").path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    if without_hash:
        Path(f"{path}.sha256").unlink()
    with pytest.raises(CorruptDatabaseError, match="is damaged"):
        restore_backup(path, elsewhere)
    path.write_bytes(content)
    assert (restore_backup(path, elsewhere).sha256 is None) is without_hash
    with connect(elsewhere) as restored:
        assert restored.count_agent_runs() == 2


def test_a_single_flipped_bit_is_found_by_the_hash(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    path = Path(persistence.backup(tmp_path / "backups").path)
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 4
    path.write_bytes(content)
    with pytest.raises(CorruptDatabaseError, match="not what was stored there"):
        restore_backup(path, elsewhere)


def test_what_is_no_backup_is_told(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        restore_backup(tmp_path / "nothing.db", elsewhere)
    for content in ("some text", ""):
        (tmp_path / "text.db").write_text(content)
        with pytest.raises(
            InvalidValueError, match=r"is not a backup of a \w+ \w+: name another file"
        ):
            restore_backup(tmp_path / "text.db", elsewhere)
        with pytest.raises(
            InvalidValueError, match="is not a backup of curio_persistence: name ano"
        ):
            persistence.verify(tmp_path / "text.db")
    (tmp_path / "other.db").write_bytes(
        b"PGDMP" if persistence._store.dialect == "sqlite" else b"SQLite format 3\0"
    )
    with pytest.raises(InvalidValueError, match=r"but one of a .*: restore it into "):
        restore_backup(tmp_path / "other.db", elsewhere)


def test_a_database_of_another_program_is_no_backup(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    for statement in ("PRAGMA user_version = 1", "CREATE TABLE agent_runs (id INTEGER)"):
        with closing(sqlite3.connect(other)) as raw, raw:
            raw.execute(statement)
        with pytest.raises(
            InvalidValueError, match="is not a backup of curio_persistence: name ano"
        ):
            persistence.verify(other)
    with pytest.raises(InvalidValueError, match=r"of another program|but one of a SQLite"):
        restore_backup(other, elsewhere)


def test_a_directory_is_no_backup_and_its_newest_one_is_named(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    with pytest.raises(InvalidValueError, match="there is none"):
        restore_backup(folder, elsewhere)
    older = Path(persistence.backup(folder / "zero.db").path)
    os.utime(older, (0, 0))
    name = Path(persistence.backup(folder).path).name
    for end in ("-wal", "-shm", "-journal"):
        (folder / f"zzz.db{end}").touch()
    (folder / ".zzz.db.1.partial").touch()
    (folder / "zzz").mkdir()
    with pytest.raises(InvalidValueError, match=f"such as {re.escape(name)}"):
        restore_backup(folder, elsewhere)


# --- verifying ------------------------------------------------------------------------------------


@pytest.fixture
def filled(persistence: Persistence, clock: Hands) -> Persistence:
    clock.put(NOON)
    for name, days, parent in (("old", 100, None), ("middle", 50, "old"), ("new", 1, None)):
        persistence.append_event("stub", "agent", "log")
        record(persistence, name, days=days, objective=f"words of {name}", parent_run_id=parent)
        persistence.scores.set(name, "helpful", 0.5, comment="words")
        persistence.approvals.request(name, "delete", "words")
        persistence.snapshots.save(name, "one", "words")
    persistence.log_llm_usage(AgentLLMUsage("agent", None, model="m", prompt="words"))
    clock.move(seconds=1)
    return persistence


@pytest.fixture
def backup_of(
    lasting: None, filled: Persistence, elsewhere: str, tmp_path: Path
) -> Callable[[], str]:
    """Return a function that makes a backup that can be compared, and returns its address."""

    def make() -> str:
        path = filled.backup(tmp_path / "backups").path
        if path.endswith(".db"):
            return path
        with pytest.raises(InvalidValueError, match="has to be restored to be compared"):
            filled.verify(path)
        restore_backup(path, elsewhere)
        return elsewhere

    return make


@pytest.fixture
def backup(backup_of: Callable[[], str]) -> str:
    """Return the address of a backup that can be compared."""
    return backup_of()


def test_an_unchanged_database_is_as_its_backup(filled: Persistence, backup: str) -> None:
    report = filled.verify(backup)
    assert (report.ok, report.compared, report.damaged) == (True, 4, ())
    assert filled.verify().compared is None


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (EVENTS, "data", "otherwise"),
        (EVENTS, "level", "error"),
        (USAGE, "input_tokens", 11),
        (USAGE, "prompt", "other words"),
        (RUNS, "objective", "words of nobody"),
        (RUNS, "status", "error"),
        (SCORES, "value", 0.25),
        (APPROVALS, "reason", "another"),
        (SNAPSHOTS, "state", "another"),
    ],
    ids=lambda value: str(value),
)
def test_a_value_that_changed_by_itself_is_named(
    filled: Persistence, backup: str, table: Any, column: str, value: Any
) -> None:
    rows = filled._store.select_columns(table, ("id", "run_id"))
    ident, run_id = rows[-1]
    filled._store.update(table, (Filter("id", "=", ident),), {column: value})
    report = filled.verify(backup)
    assert report.damaged == (DamagedRow(run_id, table.name, ident, (column,)),)
    assert not report.ok
    assert report.to_dict()["damaged"][0]["columns"] == (column,)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (SESSIONS, "metadata", "otherwise"),
        (SESSIONS, "user_id", "bob"),
        (SESSIONS, "last_event_at", "2020-01-01T00:00:00.000000+00:00"),
        (AGENTS, "description", "otherwise"),
    ],
)
def test_a_session_or_an_agent_that_changed_by_itself_is_named(
    filled: Persistence, backup_of: Callable[[], str], table: Any, column: str, value: Any
) -> None:
    filled.sessions.create("s", user_id="ann", metadata="words")
    filled.agents.create("a", description="words")
    backup = backup_of()
    assert filled.verify(backup).ok
    name = {SESSIONS: "s", AGENTS: "a"}[table]
    where = (Filter(table.lookups[0], "=", name),)
    [(ident,)] = filled._store.select_columns(table, ("id",), where)
    filled._store.update(table, where, {column: value})
    assert filled.verify(backup).damaged == (DamagedRow(None, table.name, ident, (column,)),)


def test_sessions_and_agents_that_programs_change_are_no_damage(
    filled: Persistence, backup_of: Callable[[], str], clock: Hands
) -> None:
    for name in ("moved", "said", "gone"):
        filled.create_agent_run(AgentRun(name, name, session_id=name))
    backup = backup_of()
    clock.move(days=1)
    early = clock() - timedelta(days=9)
    filled.create_agent_run(AgentRun("moved", "late", session_id="moved"))
    filled.create_agent_run(AgentRun("moved", "early", session_id="moved", started_at=early))
    filled.sessions.update("said", tags=["eu"], metadata="words")
    filled.sessions.end("said")
    filled.agents.update("said", name="Said")
    filled.sessions.delete("gone")
    assert filled.verify(backup).damaged == ()


def test_what_programs_change_is_no_damage(filled: Persistence, backup: str, clock: Hands) -> None:
    run = filled.get_agent_run("new")
    assert run is not None
    filled.update_agent_run("new", replace(run, objective="other words"))
    filled.runs.patch("middle", status="error")
    filled.scores.set("new", "helpful", 0.75)
    filled.append_event("new", "agent", "log", payload="more")
    filled.create_agent_run(AgentRun("agent", "stub", created_at=NOON, updated_at=NOON))
    clock.move(seconds=1)
    filled.lifecycle.set_policy(RetentionPolicy(keep="900d", keep_content="20d"))
    assert filled.lifecycle.expire(pace=1).stripped == 2
    assert filled.verify(backup).damaged == ()
    filled.delete_agent_run("old")
    assert filled.verify(backup).ok
    clock.move(seconds=1)
    assert filled.lifecycle.expire("20d", pace=1).runs == 1
    assert filled.verify(backup).ok
    filled.delete_agent_run("new")
    report = filled.verify(backup)
    assert (report.ok, report.compared) == (True, 1), "the others are gone"


def test_costs_by_other_prices_are_no_damage(
    filled: Persistence, backup_of: Callable[[], str]
) -> None:
    priced = {"provider": "openai", "model": "gpt-4o", "input_tokens": 9, "output_tokens": 9}
    filled.log_llm_usage(AgentLLMUsage("agent", "new", created_at=NOON, **priced))
    backup = backup_of()
    where = (Filter("model", "=", "gpt-4o"),)
    filled._store.update(USAGE, where, {"cost_usd": 1, "price_version": "genai-prices 0.1"})
    assert filled.verify(backup).damaged == ()
    filled._store.update(USAGE, where, {"cost_usd": 2, "price_version": filled.prices.version()})
    [damaged] = filled.verify(backup).damaged
    assert damaged.columns == ("cost_usd",), "the same prices do not make another cost"


def test_rows_that_got_the_ids_of_lost_ones_are_no_damage(
    lasting: None,
    filled: Persistence,
    elsewhere: str,
    clock: Hands,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """A database that was restored from an older backup is compared with a newer one."""
    restore_backup(filled.backup(tmp_path / "older").path, elsewhere)
    for name in ("again", "lost"):
        record(filled, name, days=0)
        filled.scores.set(name, "helpful", 0.5)
    newer = filled.backup(tmp_path / "newer").path
    if not newer.endswith(".db"):  # The database itself stands for its backup.
        server = _server(request)
        dsn = request.getfixturevalue("postgres_servers").dsn(server)
        newer = f"{dsn}&schema={filled._store._schema_name}"  # type: ignore[attr-defined]
    clock.move(seconds=1)
    with connect(elsewhere) as restored:
        for name in ("again", "other"):
            restored.create_agent_run(AgentRun("agent", name, objective="once more"))
            for _ in range(3):
                restored.append_event(name, "agent", "log", payload="once more")
            restored.log_llm_usage(AgentLLMUsage("agent", name, model="other"))
            restored.scores.set(name, "helpful", 0.75)
        report = restored.verify(newer)
    assert (report.damaged, report.compared) == ((), 4)


def test_numbers_that_contradict_their_text_are_damage(filled: Persistence) -> None:
    """Statistics add up internal columns, which no backup is needed to check."""
    filled.append_event("new", "agent", "tool_call", payload={"tool": "s", "latency_ms": 5})
    filled.append_event("new", "agent", "metric", payload={"name": "cost", "value": 5})
    filled.append_event("new", "agent", "log", level="error")
    wrong = {
        "tool_call": {"tool_latency_us": 1, "tool_error": 1, "severity": 50, "metric_value": 1.0},
        "metric": {"metric_value": 6.0, "tool_name": "s"},
        "log": {"severity": None, "metric_name": "cost", "tool_error": 0},
    }
    assert filled.verify().ok
    for event_type, columns in wrong.items():
        [*_, (ident, *stored)] = sorted(
            filled._store.select_columns(
                EVENTS, ("id", *columns), EVENTS.where(run_id="new", event_type=event_type)
            )
        )
        row = (Filter("id", "=", ident),)
        for (column, value), right in zip(columns.items(), stored, strict=True):
            filled._store.update(EVENTS, row, {column: value})
            report = filled.verify()
            assert report.damaged == (DamagedRow("new", EVENTS.name, ident, (column,)),)
            assert not report.ok
            filled._store.update(EVENTS, row, {column: right})
    assert filled.verify().ok


def test_what_was_redacted_or_removed_contradicts_nothing(open_again: Open) -> None:
    """Statistics are extracted from a text before its redaction, and outlive it."""

    def redact_payloads(field: str, text: str) -> str:
        return text.replace("secret", "") if field.endswith(".data") else text

    persistence = open_again(redactor=redact_payloads)
    call = {"tool": "a secret", "latency_ms": 5, "error": "a secret"}
    persistence.append_event("run", "agent", "tool_call", payload=call, level="error")
    metric = {"name": "a secret", "value": 5}
    persistence.append_event("run", "agent", "metric", payload=metric)
    assert persistence.verify().ok
    persistence._store.update(EVENTS, EVENTS.where(run_id="run"), dict(EVENTS.content))
    assert persistence.verify().ok


@pytest.mark.parametrize(
    ("column", "value"),
    [("tool_name", "other"), ("tool_latency_us", 1), ("severity", 50), ("metric_value", 1.0)],
)
def test_internal_columns_are_compared_with_a_backup(
    filled: Persistence, backup_of: Callable[[], str], column: str, value: Any
) -> None:
    filled.append_event("new", "agent", "tool_call", payload={"tool": "s", "latency_ms": 5})
    ident = filled.append_event("new", "agent", "tool_call", payload={"tool": "s"}).id
    backup = backup_of()
    filled._store.update(EVENTS, (Filter("id", "=", ident),), {column: value})
    assert filled.verify(backup).damaged == (DamagedRow("new", EVENTS.name, ident, (column,)),)


@pytest.mark.parametrize("table", [RUNS, SCORES], ids=str)
def test_only_a_later_update_is_one(filled: Persistence, backup: str, table: Any) -> None:
    [*_, (ident, run_id)] = filled._store.select_columns(table, ("id", "run_id"))
    where = (Filter("id", "=", ident),)
    filled._store.update(table, where, {"updated_at": "2020-01-01T00:00:00.000000+00:00"})
    changed = DamagedRow(run_id, table.name, ident, ("updated_at",))
    assert filled.verify(backup).damaged == (changed,)
    filled._store.update(table, where, {"updated_at": "2030-01-01T00:00:00.000000+00:00"})
    assert filled.verify(backup).ok


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (RUNS, "created_at"),  # Other rows refer to its run_id.
        *product((EVENTS, USAGE, SCORES), ("created_at", "run_id")),
    ],
    ids=str,
)
def test_damage_to_what_identifies_a_row_is_found(
    filled: Persistence, backup: str, table: Any, column: str
) -> None:
    [*_, (ident, _)] = filled._store.select_columns(
        table, ("id", "run_id"), table.where(run_id="new")
    )
    value = "2020-01-01T00:00:00.000000+00:00" if column == "created_at" else "stub"
    filled._store.update(table, (Filter("id", "=", ident),), {column: value})
    [damaged] = filled.verify(backup).damaged
    assert damaged[1:3] == (table.name, ident)


@pytest.mark.parametrize("table", [EVENTS, USAGE], ids=str)
def test_rows_that_are_gone_from_a_run_that_is_there_are_named(
    filled: Persistence, backup: str, table: Any
) -> None:
    where = table.where(run_id="new")
    ids = sorted(ident for (ident,) in filled._store.select_columns(table, ("id",), where))
    filled._store.delete(table, where)
    report = filled.verify(backup)
    assert report.damaged == tuple(DamagedRow("new", table.name, ident, ()) for ident in ids)
    assert (report.ok, report.compared) == (False, 4)
    filled.delete_agent_run("new")
    assert filled.verify(backup).ok


def test_a_run_that_was_deleted_and_stored_again_lacks_nothing(
    filled: Persistence, backup: str, clock: Hands
) -> None:
    filled.delete_agent_run("new")
    clock.move(seconds=1)
    filled.create_agent_run(AgentRun("agent", "new"))
    report = filled.verify(backup)
    assert (report.damaged, report.compared) == ((), 3)
    for run_id in ("stub", "old", "middle", "new"):
        filled.delete_agent_run(run_id)
    assert filled.verify(backup).compared == 0


def test_the_caller_is_told_of_the_progress(filled: Persistence, backup: str) -> None:
    told: list[tuple[int, int | None]] = []
    filled.verify(progress=lambda *numbers: told.append(numbers))
    tables = (RUNS, EVENTS, USAGE, SCORES, APPROVALS, SNAPSHOTS)
    rows = sum(map(filled._store.count, tables))
    assert told[-1] == (rows, rows)
    filled.verify(backup, progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (2 * rows, 2 * rows)


def test_a_database_with_its_archive_is_verified_without_it(
    filled: Persistence, backup: str, tmp_path: Path
) -> None:
    archive_runs(filled, tmp_path / "archive", older_than="40d", pace=1)
    tiers = open_archive(filled, tmp_path / "archive")
    assert (tiers.verify(backup).compared, tiers.verify().ok) == (2, True)


def test_a_queue_is_verified_with_its_database(filled: Persistence, backup: str) -> None:
    with filled.buffered() as buffered:
        assert (buffered.verify(backup).ok, buffered.verify().ok) == (True, True)


def test_a_backup_of_another_database_is_refused(
    lasting: None, filled: Persistence, tmp_path: Path
) -> None:
    with SQLitePersistence(tmp_path / "other.db") as other:
        other.create_agent_run(AgentRun("agent", "run", created_at=NOON - timedelta(days=1)))
        path = other.backup(tmp_path / "others.db").path
    with pytest.raises(InvalidValueError, match="is not a backup of") as refused:
        filled.verify(path)
    assert refused.value.field == "against"
    with InMemoryPersistence() as memory:
        assert memory.verify().ok


def test_what_follows_from_spans_may_move_after_a_backup(
    lasting: None, persistence: Persistence, elsewhere: str, tmp_path: Path
) -> None:
    receiver, came = Receiver(persistence), spans("openinference-openai-agents-nested")
    receiver.spans(came[:9])
    restore_backup(persistence.backup(tmp_path).path, elsewhere)
    receiver.spans(came)
    assert persistence.verify(elsewhere).damaged == ()
