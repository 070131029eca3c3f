"""Prefetching: another thread prepares results while this one fetches items and uses results."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from itertools import islice

import pytest

from curio_persistence.concurrency.prefetch import prefetch, prefetch_map


class Oops(BaseException):
    """Like an interrupt, it is not an Exception."""


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if "ahead" in thread.name] == []


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_results_have_the_order_of_the_items(count: int) -> None:
    assert list(prefetch_map(str, range(count))) == [str(number) for number in range(count)]


def test_the_next_result_is_prepared_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(5)]
    for number, _ in enumerate(prefetch_map(lambda number: made[number].set(), range(5))):
        assert made[min(number + 1, 4)].wait(10)


def test_items_are_fetched_by_this_thread_and_prepared_by_another() -> None:
    def here() -> Iterator[threading.Thread]:
        yield threading.current_thread()

    [(fetched, made)] = prefetch_map(lambda thread: (thread, threading.current_thread()), here())
    assert fetched is threading.current_thread()
    assert made is not fetched


def test_a_failure_is_raised_in_place_of_its_result() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise Oops
        return number

    ahead = prefetch_map(make, range(5))
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(Oops):
        next(ahead)


def test_stopping_early_leaves_no_thread_behind() -> None:
    fetched: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            fetched.append(number)
            yield number

    ahead = prefetch_map(str, items())
    assert next(ahead) == "0"
    ahead.close()
    assert fetched == [0, 1]


def test_another_thread_can_fetch_items_and_close_them() -> None:
    threads: list[threading.Thread] = []

    def items() -> Generator[int]:
        try:
            for number in range(100):
                threads.append(threading.current_thread())
                yield number
        finally:
            threads.append(threading.current_thread())

    assert list(islice(prefetch(items()), 3)) == [0, 1, 2]
    assert list(prefetch(items())) == list(range(100))
    assert threading.current_thread() not in threads
    assert len(threads) == 4 + 1 + 100 + 1


def test_an_item_is_fetched_while_another_is_used() -> None:
    fetched = [threading.Event() for _ in range(5)]

    def items() -> Generator[int]:
        for number in range(5):
            fetched[number].set()
            yield number

    for number in prefetch(items()):
        assert fetched[min(number + 1, 4)].wait(10)


def test_a_failure_to_fetch_is_raised_in_place_of_the_item() -> None:
    def items() -> Generator[int]:
        yield 1
        raise Oops

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(Oops):
        next(ahead)
