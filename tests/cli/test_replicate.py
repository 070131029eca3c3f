"""The command `replicate`, in a process of its own as users run it."""

from __future__ import annotations

import json

import pytest

from curio_persistence import SQLitePersistence
from tests.cli.program import Program

pytestmark = pytest.mark.slow


def test_what_was_sent_is_told_and_compared(program: Program, agents_db: str) -> None:
    to = ("--to", f"chdb://{program.folder / 'replica'}", "--db-path", agents_db)
    sent = program("replicate", *to, "--once", "--source", "laptop").json()
    assert sent["source"] == "laptop"
    assert sent["rows"] == sum(sent["sent"].values()) > 0
    path = program.folder / agents_db
    with SQLitePersistence(path) as persistence:
        run = persistence.query_agent_runs(limit=1)[0]
        persistence.append_event(run.run_id, run.agent_id, "log")
    checked = program("replicate", *to, "--check", "--source", "laptop")
    assert (checked.code, checked.json()["behind"]) == (0, 1)
    with SQLitePersistence(path) as persistence:
        persistence.delete_agent_run(run.run_id)
    differing = program("replicate", *to, "--check", "--deep", "--source", "laptop")
    assert differing.code == 5
    assert run.run_id in {each["run_id"] for each in json.loads(differing.out)["differences"]}


@pytest.mark.parametrize("option", ["--deep", "--compact"])
def test_options_of_other_forms_are_refused(program: Program, agents_db: str, option: str) -> None:
    ended = program("replicate", "--to", "chdb:///nowhere", option, "--db-path", agents_db)
    assert ended.code == 2
    assert f"{option} is for" in ended.said
