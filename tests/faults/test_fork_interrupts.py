"""Ctrl-C in a fork: Python prints the exception of an at-fork hook, and forks anyway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from curio_persistence import InMemoryPersistence, Persistence, SQLitePersistence
from tests.support import soak
from tests.support.children import Fork
from tests.support.everypoint import Point, event, prepare


@pytest.fixture(params=["memory", "sqlite"])
def persistence(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Persistence]:
    made = (
        InMemoryPersistence()
        if request.param == "memory"
        else SQLitePersistence(tmp_path / "agents.db", lock_timeout=2)
    )
    with closing(made) as persistence:
        yield persistence


def fork_and_wait() -> None:
    parent = os.getpid()
    try:
        child = os.fork()
    finally:
        if os.getpid() != parent:
            os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.usefixtures("ignoring_interrupts")
def test_an_interrupt_at_any_point_of_a_fork_locks_nothing(persistence: Persistence) -> None:
    prepare(persistence, "run")
    for number in soak.points(20, 7):
        point = Point(number)
        point.interrupt(fork_and_wait)
        if not point.reached:
            break
        try:
            write_in_child_and_parent(persistence)
        except BaseException as error:
            error.add_note(f"Interrupted at {point.place}")
            raise


def write_in_child_and_parent(persistence: Persistence) -> None:
    def write() -> None:
        persistence.log_agent_run_event(event("run", "after"))

    write()
    Fork(write).result()


@pytest.fixture
def ignoring_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
