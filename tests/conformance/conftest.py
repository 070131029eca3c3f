"""Every test here runs on every backend that `CURIO_TEST_BACKENDS` chooses.

`persistence` and `store` are new and empty; `clock` sets their time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.clock import Clock
from curio_persistence.export import copying
from curio_persistence.redaction import CaptureContent, Redaction
from curio_persistence.store.base import Store
from tests.conftest import PostgresServers
from tests.support.backends import PostgresSchema, chosen, is_matrix, is_whole
from tests.support.hands import Hands
from tests.support.replica_readings import is_answered_by_a_replica

pytest.register_assert_rewrite("curio_persistence.testing")

LASTING = ("sqlite", "postgres18", "postgres16 timed", "postgres15", "timescale")
"""The backends whose records outlive a close."""

BACKENDS = ("memory", "sqlite_memory", *LASTING)

_READINGS = "analytics failure_groups filters listings origins session_views totals"
READINGS = frozenset(f"test_{name}" for name in _READINGS.split())
"""The modules that `make test-all` runs on a replica; `make matrix` runs all that read there."""
REPLICA = "clickhouse"
"""A database in memory whose readings are answered by its replica."""
OLDEST = "postgres15"
_STATEMENTS = """
analytics approvals batches chains changes content event_ids every_table filters frames isolation
json json_objects keys lifecycle metrics order pages payloads retention runs scores search
search_texts sessions snapshots spans sql stats steps streams stubs text time totals traces
transactions values
"""
STATEMENTS = frozenset(f"test_{name}" for name in _STATEMENTS.split())
"""The modules of the contract that the oldest server runs, between them all statements.

The others it runs in `make matrix`.
"""
SOURCES: Mapping[str, Any] = {
    "sqlite": "sqlite",
    "postgres18": pytest.param("postgres18", marks=pytest.mark.thorough),
}
"""The backends from which tests with the marker `sources` replicate, which takes them long."""

Open = Callable[..., Persistence]


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory for an archive, which is made when something is archived."""
    return tmp_path / "archive"


@pytest.fixture(scope="session")
def postgres_schemas(postgres_servers: object) -> Iterator[dict[str, PostgresSchema]]:
    """The schemas of this session by backend, each made when first asked for."""
    schemas: dict[str, PostgresSchema] = {}
    yield schemas
    for schema in schemas.values():
        schema.drop()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with our tables; a copy costs a tenth of creating them anew."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    SQLitePersistence(path).close()
    return path


@pytest.fixture
def open_again(
    request: pytest.FixtureRequest,
    clock: Hands,
    empty_file: Path,
    postgres_servers: PostgresServers,
    postgres_schemas: dict[str, PostgresSchema],
) -> Iterator[Open]:
    """Opens the test's own database with these settings, on every call. It is empty at first.

    In memory every call creates another one; use `lasting` if that matters.
    """
    with ExitStack() as stack:
        match request.param:
            case "memory":
                make: Callable[..., Persistence] = InMemoryPersistence
            case "sqlite_memory":
                make = partial(SQLitePersistence, ":memory:")
            case "sqlite":
                # The others need no directory, which takes longer to create than they do.
                path = request.getfixturevalue("tmp_path") / "runs.db"
                shutil.copyfile(empty_file, path)
                make = partial(SQLitePersistence, path)
            case "clickhouse":
                make = _open_mirrored
            case name:
                server, _, layout = name.partition(" ")
                dsn = postgres_servers.dsn(server)
                if name not in postgres_schemas:
                    layout = "timescale" if name == "timescale" else layout or "plain"
                    postgres_schemas[name] = PostgresSchema(dsn, layout)
                schema = postgres_schemas[name]
                stack.callback(schema.empty)
                make = partial(PostgresPersistence, dsn=dsn, schema=schema.name)

        def open_it(**settings: Any) -> Persistence:
            opened = make(clock=Clock(clock), **settings)
            stack.callback(opened.close)
            return opened

        yield open_it


def _open_mirrored(
    *,
    clock: Clock,
    redactor: Any = None,
    capture_content: CaptureContent = "full",
    audit_key: str | None = None,
    **settings: Any,
) -> Persistence:
    """Open a database in memory whose readings its replica answers."""
    from tests.support.mirrored import MirroredStore  # Which loads ClickHouse.

    store = MirroredStore()
    redaction = Redaction(redactor, capture_content)
    return Persistence(store, clock=clock, redaction=redaction, audit_key=audit_key, **settings)


def is_asked_of_a_replica(metafunc: pytest.Metafunc, module: str) -> bool:
    if "lasting" in metafunc.fixturenames or not (is_whole(REPLICA) or module in READINGS):
        return False
    return is_answered_by_a_replica(module, metafunc.function.__name__)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "open_again" in metafunc.fixturenames:
        backends = chosen(*(LASTING if "lasting" in metafunc.fixturenames else BACKENDS))
        module = metafunc.module.__name__.rpartition(".")[2]
        if OLDEST in backends and module not in STATEMENTS and not is_matrix():
            backends.remove(OLDEST)
        if module == "test_backup" and "timescale" in backends:
            backends.remove("timescale")  # It has none.
        if is_asked_of_a_replica(metafunc, module):
            backends += chosen(REPLICA)
        if metafunc.definition.get_closest_marker("before_io"):
            backends = backends[:1]
        if metafunc.definition.get_closest_marker("sources"):
            backends = [SOURCES[each] for each in backends if each in SOURCES]
        metafunc.parametrize("open_again", backends, indirect=True)


@pytest.fixture
def lasting() -> None:
    """Skips the backends that lose their records when they are closed."""


@pytest.fixture
def persistence(open_again: Open) -> Persistence:
    return open_again()


@pytest.fixture
def store(persistence: Persistence) -> Store:
    return persistence._store


@pytest.fixture
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a copy take a thousand records at a time, so that few make several batches."""
    monkeypatch.setattr(copying, "_PIECES", 5)


@pytest.fixture
def time_zone() -> Iterator[Callable[[str], None]]:
    """Moves this process to another time zone until the test ends."""
    with pytest.MonkeyPatch.context() as patch:

        def move_to(name: str) -> None:
            patch.setenv("TZ", name)
            time.tzset()

        yield move_to
    time.tzset()
