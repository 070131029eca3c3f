"""An error for too many open files says so, instead of naming missing permissions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curio_persistence import ConfigurationError, SQLitePersistence

PROGRAM = """
import resource, subprocess, sys, threading
from curio_persistence import SQLitePersistence, UnavailableError
persistence = SQLitePersistence("fd.db")
before = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, before[1]))
errors, go, ready = [], threading.Event(), threading.Barrier(31)
def read():
    try:
        persistence.get_agent_runs()
    except Exception as error:
        errors.append(error)
    ready.wait()
    go.wait()
for _ in range(30):
    threading.Thread(target=read).start()
ready.wait()
assert errors
assert {type(error) for error in errors} == {UnavailableError}, errors
assert all("ulimit -n" in str(error) for error in errors), errors
go.set()
resource.setrlimit(resource.RLIMIT_NOFILE, before)
subprocess.run([sys.executable, "-c", LOCKED], check=True)
"""

LOCKED = """
import fcntl
with open("fd.db", "rb+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except BlockingIOError:
        raise SystemExit(0)
raise SystemExit("the other process has lost its lock")
"""
"""What SQLite does to learn whether a connection that closes is the last one."""


def test_running_out_of_descriptors_is_reported_as_such_and_ends_no_lock(tmp_path: Path) -> None:
    program = f"LOCKED = {LOCKED!r}\n{PROGRAM}"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=120)


@pytest.mark.parametrize("uri", ["file::memory:?cache=shared", "file:agent.db?mode=ro"])
def test_a_uri_is_not_taken_for_a_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="file: URI"):
        SQLitePersistence(uri)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("refused", ["sqlite:///agent.db", "file:folder/agent.db", "folder/a\0b"])
def test_for_a_name_that_is_refused_no_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError):
        SQLitePersistence(refused)
    assert not list(tmp_path.iterdir())


def test_a_path_that_names_memory_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLitePersistence(Path(":memory:")) as persistence:
        persistence.append_event("run", "agent", "log")
        assert len(persistence.get_agent_runs()) == 1
    assert not list(tmp_path.iterdir())
