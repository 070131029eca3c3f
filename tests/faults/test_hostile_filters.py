"""No filter of a caller reaches a database as SQL: no key, value, name or order."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from curio_persistence import (
    InvalidValueError,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)

pytestmark = pytest.mark.slow

QUESTIONS = 10_000
PIECES = [
    *(
        "'",
        '"',
        "''",
        "\\",
        "\\'",
        "$$",
        "$1",
        "?",
        "?1",
        ":a",
        "%s",
        "%(a)s",
        "%",
        "%%",
        ";",
        "--",
    ),
    *(
        "/*",
        "*/",
        ")",
        "(",
        "\0",
        "\n",
        "\ud800",
        "\ufdd0",
        "{",
        "}",
        "[",
        "]",
        "$.",
        ".",
        "*",
        "\\u",
    ),
    *(" OR 1=1", "'; DROP TABLE agent_runs; --", "' UNION SELECT 1 --", "::text", "pg_sleep(9)"),
    *("load_extension('x')", "agent_runs", "data", "{schema}", "NULL", "true", "0", "é", "\ufeff"),
]
ALLOWED_FUNCTIONS = {
    "glob",
    "curio_payload_contains",
    "instr",
    "ltrim",
    "substr",
    "json_each",
    "count",
    "min",
    "nullif",
}


def hostile(chance: random.Random) -> str:
    return "".join(chance.choices(PIECES, k=chance.randint(1, 6)))


def questions() -> Iterator[dict[str, Any]]:
    """Return some or all filters, each with a hostile value; the same ones every time."""
    chance = random.Random(4)
    for _ in range(QUESTIONS):
        payload = {
            chance.choice([hostile(chance), (hostile(chance), hostile(chance)), ("tool",)]): (
                chance.choice([hostile(chance), "search", 1, 0.5, None, True])
            )
            for _ in range(chance.randint(1, 3))
        }
        names = ["agent_id", "run_id", "session_id", "event_type", "level", "min_level", "since"]
        names += ["until", "order", "cursor"]
        few = chance.sample(names, chance.choice([0, 0, 0, 1, 2]))
        yield {"payload": payload, **{name: hostile(chance) for name in few}}


def ask_everything(persistence: Persistence) -> int:
    """Return the number of queries that returned nothing; the others were refused."""
    answered = 0
    for question in questions():
        with suppress(InvalidValueError):
            assert not persistence.query_events(**question)
            answered += 1
    return answered


def test_sqlite_is_asked_to_read_columns_and_to_compare() -> None:
    done: set[tuple[int, str | None]] = set()

    def note(action: int, first: str | None, second: str | None, *_: object) -> int:
        done.add((action, second if action == sqlite3.SQLITE_FUNCTION else first))
        return sqlite3.SQLITE_OK

    with SQLitePersistence(":memory:") as persistence:
        persistence.append_event("run", "agent", "call", payload={"tool": "fetch"})
        store: Any = persistence._store
        store._writer.set_authorizer(note)
        assert ask_everything(persistence) > QUESTIONS // 2
        texts = {text for text in store._texts.values() if text.startswith("SELECT")}
    actions = {action for action, _ in done}
    assert actions == {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
    assert {name for action, name in done if action == sqlite3.SQLITE_FUNCTION} <= ALLOWED_FUNCTIONS
    tables = {name for action, name in done if action == sqlite3.SQLITE_READ}
    assert tables <= {"agent_run_events", "schema_migrations", "sqlite_master", "json_each"}
    assert_innocent(texts)


def test_postgres_is_sent_the_same_statements_with_other_literals(
    postgres18: str, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: set[str] = set()
    with PostgresPersistence(dsn=postgres18, schema=schema_name) as persistence:
        persistence.append_event("run", "agent", "call", payload={"tool": "fetch"})
        store: Any = persistence._store
        run = store._run

        def note(connection: Any, sql: str, params: Any, *more: Any) -> Any:
            sent.add(sql)
            return run(connection, sql, params, *more)

        monkeypatch.setattr(store, "_run", note)
        assert ask_everything(persistence) > QUESTIONS // 2
        monkeypatch.undo()
        assert persistence.count_events() == 1
    assert_innocent({text.replace(schema_name, "") for text in sent})


def assert_innocent(texts: set[str]) -> None:
    """Assert that the statements differ only by their few combinations of filters."""
    assert 5 < len(texts) < 500
    for text in texts:
        assert not any(piece in text for piece in ("--", "/*", ";", "DROP", "UNION", "sleep", "é"))
