"""Tables read from PostgreSQL are the same with any session settings and behind pgbouncer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from curio_persistence import AgentLLMUsage, PostgresPersistence
from curio_persistence.results import csv as results_csv
from tests.support.listings import write


@pytest.fixture(autouse=True)
def many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_csv, "_FIRST_ROWS", 3)
    monkeypatch.setattr(results_csv, "_MOST_ROWS", 7)


def assert_the_same_either_way(persistence: PostgresPersistence) -> None:
    write(persistence, AgentLLMUsage, range(20), moments=4)
    summer = datetime(2026, 7, 1, 0, 30, 0, 50_000, tzinfo=UTC)
    for when in summer, datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC):
        persistence.log_llm_usage(AgentLLMUsage("a", None, prompt="'", created_at=when))
    table = persistence.iter_llm_usage().to_arrow()
    assert table.equals(persistence.query_llm_usage(limit=None).to_arrow())
    assert summer in table["created_at"].to_pylist()


@pytest.mark.parametrize(
    "setting",
    [
        "TimeZone=Asia/Kolkata",
        "TimeZone=America/New_York",
        "DateStyle=German",
        "standard_conforming_strings=off",
    ],
)
def test_a_session_with_settings_of_its_own(
    postgres18: str, schema_name: str, setting: str
) -> None:
    dsn = f"{postgres18}&options=-c%20{setting.replace('=', '%3D')}"
    with PostgresPersistence(dsn=dsn, schema=schema_name) as persistence:
        assert_the_same_either_way(persistence)


def test_through_pgbouncer(pgbouncer: str, schema_name: str) -> None:
    with PostgresPersistence(dsn=pgbouncer, schema=schema_name, pgbouncer=True) as persistence:
        assert_the_same_either_way(persistence)


def test_with_a_deadline(dsn: str, schema_name: str) -> None:
    with PostgresPersistence(dsn=dsn, schema=schema_name, statement_timeout=5) as persistence:
        assert_the_same_either_way(persistence)
