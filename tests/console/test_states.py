"""Each page in each state of the database: empty, busy, away, of another version, and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    ConsoleOptions,
    InMemoryPersistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.clock import Clock
from curio_persistence.console.app import app_of, make_site
from curio_persistence.errors import (
    BusyError,
    MissingDatabaseError,
    PoolTimeoutError,
    QueryTimeoutError,
    SchemaMismatchError,
    UnavailableError,
)
from tests.support.console import NOW, client_of, record, words_of
from tests.support.console_pages import LISTS, PAGES, leads_to, routes
from tests.support.postgres import PostgresServer

_SENSELESS = re.compile(r"\b(NaN|None(?!:)|undefined|1970|Infinity|Traceback)\b")


@pytest.fixture(scope="module")
def empty() -> Iterator[TestClient]:
    with InMemoryPersistence() as persistence:
        yield client_of(persistence)


@cache
def client_without(error: Exception) -> TestClient:
    """Return a client of a console whose database raises an error."""

    def source() -> Any:
        raise error

    app = app_of(make_site(source, ConsoleOptions()))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_every_page_is_among_those_that_are_tested() -> None:
    for route in routes():
        assert any(leads_to(path, route) for path in PAGES), route.path


@pytest.mark.parametrize("path", PAGES)
def test_what_is_recorded_is_shown_sensibly(console: TestClient, path: str) -> None:
    answer = console.get(path)
    assert answer.status_code == 200
    assert not _SENSELESS.search(words_of(answer.text))


@pytest.mark.parametrize("path", ["/", "/runs", "/events"])
def test_code_to_begin_with_records_into_the_database_of_the_console(
    tmp_path: Path, path: str
) -> None:
    with SQLitePersistence(tmp_path / "mine.db") as persistence:
        page = client_of(persistence).get(path).text
    assert "connect(&#34;sqlite:///mine.db&#34;)" in page


@pytest.mark.parametrize("path", LISTS)
def test_a_page_of_an_empty_database_is_no_blank_page(empty: TestClient, path: str) -> None:
    answer = empty.get(path)
    assert answer.status_code == 200
    assert not _SENSELESS.search(words_of(answer.text))
    main = answer.text.partition("<main")[2].partition("</main>")[0]
    assert len(words_of(main)) > 20


@pytest.mark.parametrize(
    "path", [each for each in PAGES if each.count("/") > 1 and not each.startswith("/settings")]
)
def test_what_was_deleted_or_never_recorded_is_not_found(empty: TestClient, path: str) -> None:
    answer = empty.get(path)
    assert answer.status_code == 404
    assert "deleted or never recorded" in words_of(answer.text)
    assert re.search(rf'class="button" href="/{path.split("/")[1]}">All', answer.text)


@pytest.mark.parametrize("path", ["/runs", "/events", "/sessions", "/traces"])
def test_filters_that_nothing_passes_are_dropped_by_a_click(console: TestClient, path: str) -> None:
    answer = console.get(f"{path}?agent_id=nobody&since=30d")
    assert answer.status_code == 200
    main = answer.text.partition("<main")[2]
    assert f'href="{path}?since=30d"' in main
    assert f'href="{path}?agent_id=nobody"' in main


_STATES: dict[str, tuple[Exception, str]] = {
    "busy": (BusyError("locked"), "The database is busy"),
    "full pool": (PoolTimeoutError("none free"), "The database is busy"),
    "away": (UnavailableError("refused /secret/path"), "The database does not answer"),
    "slow": (QueryTimeoutError("10 s"), "Narrow the window"),
    "missing": (MissingDatabaseError("no file"), "There is no database yet"),
}


_SOME = ("/runs", "/events", "/search?q=x")
"""The pages on which the rarer states are tried: all get them by the same way."""


@pytest.mark.parametrize("path", PAGES)
def test_a_page_without_its_database_says_so(path: str) -> None:
    check_problem(path, *_STATES["away"])


@pytest.mark.parametrize("state", _STATES)
@pytest.mark.parametrize("path", _SOME)
def test_a_state_of_the_database_is_told(path: str, state: str) -> None:
    check_problem(path, *_STATES[state])


def check_problem(path: str, error: Exception, said: str) -> None:
    answer = client_without(error).get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert said in words_of(answer.text)
    assert "/secret/path" not in answer.text
    # A page that waits looks again by itself.
    assert ("data-retry" in answer.text) is not isinstance(error, QueryTimeoutError)


_OLDER = SchemaMismatchError("Old.", found="3", wanted="7", command="curio-persistence migrate")
_NEWER = SchemaMismatchError("New.", found="9", wanted="7")


@pytest.mark.parametrize("error", [_OLDER, _NEWER], ids=["older", "newer"])
@pytest.mark.parametrize("path", _SOME)
def test_tables_of_another_version_are_told_with_both_versions(
    path: str, error: SchemaMismatchError
) -> None:
    answer = client_without(error).get(path)
    assert answer.status_code == 503
    said = words_of(answer.text)
    assert f"Found is {error.found}; this program needs 7." in said
    assert error.command is None or error.command in said


@pytest.mark.parametrize("path", ["/runs", "/runs/run", "/sessions/s", "/costs", "/"])
def test_a_cost_that_is_not_known_is_never_zero(path: str) -> None:
    with InMemoryPersistence() as persistence:
        persistence.create_agent_run(AgentRun("agent", "run", session_id="s"))
        persistence.log_llm_usage(
            AgentLLMUsage("agent", "run", "p", "m", input_tokens=10, output_tokens=1)
        )
        answer = client_of(persistence).get(path)
    assert answer.status_code == 200
    without_axes = re.sub(r"<svg.*?</svg>", "", answer.text, flags=re.DOTALL)
    said = words_of(without_axes.partition("<main")[2])
    assert "unknown" in said or "unpriced" in said or "–" in said
    assert not re.search(r"\$0(\.0+)?\b", said)


def test_times_that_are_missing_or_the_wrong_way_round_are_words() -> None:
    with InMemoryPersistence() as persistence:
        persistence.create_agent_run(AgentRun("agent", "stub", status="running"))
        persistence.append_event("orphan", "agent", "log")
        run = persistence.get_agent_run("stub")
        assert run is not None
        run.status, run.started_at, run.finished_at = "completed", NOW, NOW - timedelta(seconds=5)
        persistence.update_agent_run("stub", run)
        client = client_of(persistence)
        for path in ("/", "/runs", "/runs/stub", "/runs/orphan", "/events", "/sessions", "/traces"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert not _SENSELESS.search(words_of(answer.text))


_WITHOUT_DATA = {"/preferences", "/settings"}


@pytest.mark.thorough
def test_pages_of_a_server_that_was_stopped_recover(private_postgres: PostgresServer) -> None:
    with PostgresPersistence(dsn=private_postgres.dsn, clock=Clock(lambda: NOW)) as persistence:
        record(persistence, 20)
        client = client_of(persistence)
        with private_postgres.down():
            for path in set(PAGES) - _WITHOUT_DATA:
                answer = client.get(path)
                assert answer.status_code == 503, path
                assert "The database does not answer" in words_of(answer.text)
        for path in PAGES:
            assert client.get(path).status_code == 200, path
