"""`console --demo` shows made-up agents."""

from __future__ import annotations

import json
import signal
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from curio_persistence import SQLitePersistence
from tests.cli.program import Program

DEMO = ("console", "--demo", "3000", "--no-browser", "--port", "0")


def first_page(program: Program, *more: str) -> str:
    """Return the page that the URL opens, and end the console."""
    with program.start(*DEMO, *more) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        try:
            with build_opener(HTTPCookieProcessor()).open(url) as answer:
                page = answer.read().decode()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    return str(page)


@pytest.mark.slow
def test_the_demonstration_is_shown_and_a_file_of_its_own_is_kept(program: Program) -> None:
    assert "Migrate the billing service" in first_page(program, "--db-path", "shown.db")
    with SQLitePersistence(program.folder / "shown.db", read_only=True) as persistence:
        runs = persistence.count_agent_runs()
    first_page(program, "--db-path", "shown.db")
    with SQLitePersistence(program.folder / "shown.db", read_only=True) as persistence:
        assert persistence.count_agent_runs() == runs > 50


@pytest.mark.slow
def test_without_a_file_nothing_is_left(program: Program) -> None:
    first_page(program)
    assert not [*program.folder.glob("*.db")]


def test_a_database_that_is_named_by_a_url_is_not_filled(program: Program) -> None:
    code, _, said = program(*DEMO, "--url", "postgresql://localhost/agents")
    assert (code, said.count("\n")) == (2, 1)
    assert "--db-path" in said
