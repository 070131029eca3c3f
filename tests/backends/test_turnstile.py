"""The gate in front of the one writer, and of the pooled connections."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

import pytest

from curio_persistence.concurrency.fair_lock import Turnstile, Waiter


def wait_for_queue(turnstile: Turnstile, length: int) -> None:
    deadline = time.monotonic() + 10
    while len(turnstile._waiting) < length:
        assert time.monotonic() < deadline, "nobody came to wait"
        time.sleep(0.001)


def test_threads_pass_in_the_order_they_came() -> None:
    turnstile, passed = Turnstile(), []

    def pass_through(number: int) -> None:
        assert turnstile.enter(10)
        passed.append(number)
        turnstile.leave()

    with ThreadPoolExecutor(20) as pool:
        assert turnstile.enter(0)
        for number in range(20):
            pool.submit(pass_through, number)
            wait_for_queue(turnstile, number + 1)
        turnstile.leave()
    assert passed == list(range(20))


def test_no_more_threads_are_inside_than_there_are_places() -> None:
    turnstile, inside, most, lock = Turnstile(3), 0, 0, threading.Lock()

    def come_and_go() -> None:
        nonlocal inside, most
        for _ in range(300):
            assert turnstile.enter(10)
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0)
            with lock:
                inside -= 1
            turnstile.leave()

    with ThreadPoolExecutor(8) as pool:
        for work in [pool.submit(come_and_go) for _ in range(8)]:
            work.result()
    assert most == 3
    with occupied(turnstile), occupied(turnstile), occupied(turnstile):
        assert not turnstile.enter(0)
    assert turnstile.enter(0)


def test_who_waited_in_vain_takes_no_place_away() -> None:
    turnstile = Turnstile()
    with occupied(turnstile):
        assert not turnstile.enter(0.01)
    assert turnstile.enter(0)


def test_who_is_inside_may_enter_again_and_leaves_as_often() -> None:
    """As a signal handler does that interrupts somebody inside, even while others wait."""
    turnstile = Turnstile()
    assert turnstile.enter(0)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(turnstile.enter, 10)
        wait_for_queue(turnstile, 1)
        assert turnstile.enter(0)
        turnstile.leave()
        assert not other.done()
        turnstile.leave()
        assert other.result()


def test_who_is_inside_may_come_and_go_as_often_as_he_likes() -> None:
    """As a second signal handler does, after the first."""
    turnstile = Turnstile()
    assert turnstile.enter(0)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(turnstile.enter, 10)
        wait_for_queue(turnstile, 1)
        for _ in range(3):
            assert turnstile.enter(0)
            turnstile.leave()
        assert not other.done()
        turnstile.leave()
        assert other.result()


def test_who_is_served_in_the_moment_of_entering_takes_no_place_away() -> None:
    turnstile = Turnstile()

    class ServedLate(Waiter):
        def is_served(self) -> bool:
            return turnstile._am_inside()

    with ThreadPoolExecutor(1) as pool:
        with occupied(turnstile):
            late = pool.submit(lambda: turnstile.enter(10, ServedLate()))
            wait_for_queue(turnstile, 1)
        assert not late.result()
    assert turnstile.enter(0)


def test_a_place_whose_leaver_called_nobody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt may end a call before it is made."""
    monkeypatch.setattr("curio_persistence.concurrency.fair_lock._LOOK_AGAIN", 0.01)
    turnstile = Turnstile()
    monkeypatch.setattr(turnstile, "_call_next", lambda: None)
    with ThreadPoolExecutor(1) as pool:
        assert turnstile.enter(0)
        other = pool.submit(turnstile.enter, 20)
        wait_for_queue(turnstile, 1)
        turnstile.leave()
        assert other.result()


@contextmanager
def occupied(turnstile: Turnstile) -> Iterator[None]:
    """One place is taken, by another thread."""
    come, go = threading.Event(), threading.Event()

    def stay() -> None:
        assert turnstile.enter(10)
        come.set()
        go.wait(10)
        turnstile.leave()

    thread = threading.Thread(target=stay)
    thread.start()
    assert come.wait(10)
    try:
        yield
    finally:
        go.set()
        thread.join()


def test_those_inside_are_known_by_name() -> None:
    turnstile, come, go = Turnstile(), threading.Event(), threading.Event()

    def stay() -> None:
        turnstile.enter(0)
        come.set()
        go.wait(10)
        turnstile.leave()

    thread = threading.Thread(target=stay, name="slowpoke")
    thread.start()
    come.wait(10)
    assert turnstile.holders() == "slowpoke"
    go.set()
    thread.join()
    assert "slowpoke" not in turnstile.holders()


class Interrupted(BaseException):
    pass


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGUSR1 interrupts this thread, as Ctrl-C would."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_waiting_loses_no_place() -> None:
    turnstile = Turnstile()
    interrupter = threading.Thread(target=lambda: interrupt_waiting_main_thread(turnstile))
    with occupied(turnstile):
        interrupter.start()
        with pytest.raises(Interrupted):
            turnstile.enter(10)
        interrupter.join()
    assert turnstile.enter(0)


def interrupt_waiting_main_thread(turnstile: Turnstile) -> None:
    wait_for_queue(turnstile, 1)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


@pytest.mark.usefixtures("interruptible")
def test_a_place_given_in_the_moment_of_an_interrupt_goes_on_to_the_next() -> None:
    """The interrupt is raised when the wait is over already, and the place is the waiter's."""
    turnstile, inside, done = Turnstile(), threading.Event(), threading.Event()

    def leave_and_interrupt() -> None:
        turnstile.enter(0)
        inside.set()
        wait_for_queue(turnstile, 1)
        turnstile.leave()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        done.wait(10)

    for _ in range(50):
        inside.clear(), done.clear()
        other = threading.Thread(target=leave_and_interrupt)
        other.start()
        inside.wait(10)
        entered = False
        try:
            entered = turnstile.enter(10)
            done.wait(10)  # On a busy machine the interrupt may come late.
            pytest.fail("nobody interrupted")
        except Interrupted:
            done.set()
        other.join()
        if entered:
            turnstile.leave()
        assert turnstile.enter(0), "the place was lost"
        turnstile.leave()


def test_an_interrupt_just_when_the_place_is_taken_gives_it_back() -> None:
    turnstile = Turnstile()
    place = turnstile._places[0]

    class InterruptsWhenTaken:
        release = place.release
        _is_owned = place._is_owned  # type: ignore[attr-defined]

        def acquire(self, *, blocking: bool) -> bool:
            assert place.acquire(blocking=blocking)
            raise Interrupted

    turnstile._places[0] = InterruptsWhenTaken()  # type: ignore[assignment]
    with pytest.raises(Interrupted):
        turnstile.enter(0)
    turnstile._places[0] = place
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(turnstile.enter, 0).result(), "the place was lost"
