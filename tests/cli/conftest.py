"""The program, and databases for it to query."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from psycopg2.extensions import parse_dsn

from curio_persistence import Persistence, connect
from tests.cli import history
from tests.cli.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def postgres_url(postgres18: str, schema_name: str) -> str:
    """The URL of a schema of this test's own, which does not exist yet."""
    settings = parse_dsn(postgres18)
    database = settings.pop("dbname")
    return f"postgresql:///{database}?{urlencode(settings | {'schema': schema_name})}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, program: Program) -> str:
    """The URL of a database of this test's own, which does not exist yet."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{program.folder / 'agents.db'}"


@pytest.fixture
def recorded(url: str) -> str:
    """The same database with a small history in it."""
    with connect(url) as persistence:
        history.record(persistence)
    return url


@pytest.fixture
def agents_db(program: Program) -> str:
    """A SQLite file with a small history, at the program's default path."""
    with connect(f"sqlite:///{program.folder / 'agent_sdk.db'}") as persistence:
        history.record(persistence)
    return "agent_sdk.db"


@pytest.fixture
def persistence(recorded: str) -> Persistence:
    with connect(recorded, read_only=True) as persistence:
        yield persistence
