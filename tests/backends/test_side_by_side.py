"""Calls that two threads share out between them."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from traceback import extract_stack

import pytest

from curio_persistence.backends.sqlite.side_by_side import side_by_side


class Oops(BaseException):
    """Like an interrupt, it is no Exception."""


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if "side-by-side" in thread.name] == []


def in_both_threads(
    here: Callable[[], object], there: Callable[[], object]
) -> Callable[[], object]:
    """A call to make twice: it waits for the other thread to make it too, then they part."""
    me, meet = threading.current_thread(), threading.Barrier(2)

    def call() -> object:
        meet.wait(10)
        return here() if threading.current_thread() is me else there()

    return call


def fail() -> None:
    raise Oops


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Each new one would need more memory than there is."""
    before = threading.stack_size(2**46)
    try:
        yield
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_results_come_in_the_order_of_the_calls(count: int) -> None:
    assert side_by_side([partial(pow, n, 2) for n in range(count)]) == [n * n for n in range(count)]


def test_two_calls_are_under_way_at_a_time() -> None:
    call = in_both_threads(lambda: "here", lambda: "there")
    assert sorted(map(str, side_by_side([call, call]))) == ["here", "there"]


def test_without_a_thread_to_be_had_all_calls_are_made_nevertheless() -> None:
    with no_more_threads():
        assert side_by_side([threading.current_thread] * 3) == [threading.current_thread()] * 3


@pytest.mark.parametrize("where", ["here", "there"])
def test_what_a_call_raises_is_raised_once_both_threads_are_done(where: str) -> None:
    """And not printed as that of a thread that died of it: pytest would make that a failure."""
    ended = []
    calls = {"here": (fail, lambda: None), "there": (lambda: None, fail)}[where]
    call = in_both_threads(*calls)
    with pytest.raises(Oops):
        side_by_side([call, call], finish=lambda: ended.append(threading.current_thread()))
    assert [thread.name for thread in ended] == ["curio-side-by-side"]
    assert not ended[0].is_alive()


def test_where_both_threads_fail_one_error_is_raised() -> None:
    call = in_both_threads(fail, fail)
    with pytest.raises(Oops):
        side_by_side([call, call])


def main_thread_waits() -> None:
    """Wait until the main thread waits for this one to end."""
    main, deadline = threading.main_thread().ident, time.monotonic() + 10
    assert main is not None
    while "join" not in {frame.name for frame in extract_stack(sys._current_frames()[main])}:
        assert time.monotonic() < deadline, "it does something else"
        time.sleep(0.001)


@pytest.mark.parametrize("where", ["here", "there"])
def test_after_a_failure_no_other_call_is_begun(where: str) -> None:
    made: list[int] = []
    over = threading.Event()
    calls = {"here": (fail, main_thread_waits), "there": (lambda: over.wait(10), fail)}[where]
    call = in_both_threads(*calls)
    with pytest.raises(Oops):
        side_by_side([call, call, *[partial(made.append, n) for n in range(9)]], finish=over.set)
    assert made == []


def test_an_error_of_the_other_thread_is_not_kept_alive_by_its_own_frames() -> None:
    """It would hold on to what the failed call was about, until a garbage collection."""

    def fail_about(thing: set[int]) -> None:
        raise Oops

    thing = {1}
    reference = weakref.ref(thing)
    call = in_both_threads(lambda: None, partial(fail_about, thing))
    gc.disable()
    try:
        with suppress(Oops):
            side_by_side([call, call])
        del thing, call
        assert reference() is None
    finally:
        gc.enable()
