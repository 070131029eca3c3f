"""The lock of SQLite's one writer and of PostgreSQL's pooled connections."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

import pytest

from curio_persistence.concurrency import fair_lock
from curio_persistence.concurrency.fair_lock import FairLock, Ticket


@pytest.fixture(autouse=True)
def no_thread_looks_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_lock, "_LOOK_AGAIN", 1000.0)


def wait_for_queue(lock: FairLock, length: int) -> None:
    deadline = time.monotonic() + 10
    while lock.waiting() < length:
        assert time.monotonic() < deadline, "no thread came to wait"
        time.sleep(0.001)


@contextmanager
def held(lock: FairLock, timeout: float = 10) -> Iterator[Ticket]:
    ticket = Ticket()
    try:
        assert lock.acquire(ticket, timeout)
        yield ticket
    finally:
        lock.release(ticket)
        lock.wake()


def is_free(lock: FairLock) -> bool:
    ticket = Ticket()
    acquired = lock.acquire(ticket, 0)
    lock.release(ticket)
    return acquired


def test_threads_are_served_in_order_of_arrival() -> None:
    lock, served = FairLock(), []

    def pass_through(number: int) -> None:
        with held(lock):
            served.append(number)

    with ThreadPoolExecutor(20) as pool, held(lock):
        for number in range(20):
            pool.submit(pass_through, number)
            wait_for_queue(lock, number + 1)
    assert served == list(range(20))


def test_no_more_threads_hold_it_than_it_has_permits() -> None:
    lock, inside, most, count = FairLock(3), 0, 0, threading.Lock()

    def come_and_go() -> None:
        nonlocal inside, most
        for _ in range(300):
            with held(lock):
                with count:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0)
                with count:
                    inside -= 1

    with ThreadPoolExecutor(8) as pool:
        for work in [pool.submit(come_and_go) for _ in range(8)]:
            work.result()
    assert most == 3
    with held(lock), held(lock), held(lock):
        assert not is_free(lock)
    assert is_free(lock)


def test_a_permit_can_be_released_by_another_thread_and_twice() -> None:
    lock, ticket = FairLock(2), Ticket()
    assert lock.acquire(ticket, 0)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            pool.submit(lock.release, ticket).result()
    with held(lock), held(lock):
        assert not is_free(lock)


def test_a_thread_that_timed_out_takes_no_permit() -> None:
    lock, late = FairLock(), Ticket()
    with held(lock):
        assert not lock.acquire(late, 0.01)
    assert is_free(lock)


def test_a_lost_wake_up_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt may come between the release and the wake-up."""
    monkeypatch.setattr(fair_lock, "_LOOK_AGAIN", 0.01)
    lock, ticket = FairLock(), Ticket()
    assert lock.acquire(ticket, 0)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lock.acquire, Ticket(), 20)
        wait_for_queue(lock, 1)
        lock.release(ticket)
        assert other.result()


def test_the_names_of_its_holders_are_known() -> None:
    lock, come, go = FairLock(), threading.Event(), threading.Event()

    def stay() -> None:
        with held(lock):
            come.set()
            go.wait(10)

    thread = threading.Thread(target=stay, name="slowpoke")
    thread.start()
    come.wait(10)
    assert lock.holders() == "slowpoke"
    go.set()
    thread.join()
    assert "slowpoke" not in lock.holders()


def test_tickets_removed_from_the_queue_wait_no_longer() -> None:
    lock, taken = FairLock(), list[Ticket]()
    with ThreadPoolExecutor(1) as pool, held(lock):
        waiting = pool.submit(lock.acquire, Ticket(), 10)
        wait_for_queue(lock, 1)
        lock.take(lambda ticket: True, taken, 1)
        taken[0].signal()
        assert not waiting.result()
    assert is_free(lock)


def test_a_forked_child_keeps_the_permits_of_its_own_thread() -> None:
    lock = FairLock(2)
    with ThreadPoolExecutor(1) as pool, held(lock):
        pool.submit(lambda: lock.acquire(Ticket(), 0)).result()
        assert not is_free(lock)
        lock.start_again()
        with held(lock):
            assert not is_free(lock)


class Interrupted(BaseException):
    pass


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Make SIGUSR1 interrupt this thread, as Ctrl-C would."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_of_a_wait_loses_no_permit() -> None:
    lock, inside, done = FairLock(), threading.Event(), threading.Event()

    def hold_and_interrupt() -> None:
        with held(lock):
            inside.set()
            wait_for_queue(lock, 1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            done.wait(10)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold_and_interrupt)
        inside.wait(10)
        with pytest.raises(Interrupted), held(lock):
            pytest.fail("the lock was free")
        done.set()
        holder.result()
    assert is_free(lock)


@pytest.mark.usefixtures("interruptible")
def test_a_permit_given_at_the_moment_of_an_interrupt_goes_to_the_next() -> None:
    """The interrupt is raised after the wait, when the waiter already has the permit."""
    lock, inside, done = FairLock(), threading.Event(), threading.Event()

    def release_and_interrupt() -> None:
        with held(lock):
            inside.set()
            wait_for_queue(lock, 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        done.wait(10)

    for _ in range(50):
        inside.clear(), done.clear()
        other = threading.Thread(target=release_and_interrupt)
        other.start()
        inside.wait(10)
        with pytest.raises(Interrupted), held(lock):
            done.wait(10)  # On a busy machine the interrupt may come late.
        done.set()
        other.join()
        assert is_free(lock), "the permit was lost"


def test_a_garbage_collection_may_release_and_wake_anywhere() -> None:
    lock = FairLock()

    class Garbage:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            lock.release(Ticket())
            lock.wake()

    def come_and_go() -> None:
        for _ in range(500):
            with held(lock):
                Garbage()

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with ThreadPoolExecutor(4) as pool:
            for work in [pool.submit(come_and_go) for _ in range(4)]:
                work.result(timeout=60)
    finally:
        gc.set_threshold(*before)
    assert is_free(lock)
