"""What another thread makes, while this one fetches and uses."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from itertools import islice

import pytest

from curio_persistence.concurrency.prefetch import fetched_ahead, one_ahead


class Oops(BaseException):
    """Like an interrupt, it is no Exception."""


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if "ahead" in thread.name] == []


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_what_is_made_comes_in_the_order_of_the_items(count: int) -> None:
    assert list(one_ahead(str, range(count))) == [str(number) for number in range(count)]


def test_the_next_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(5)]
    for number, _ in enumerate(one_ahead(lambda number: made[number].set(), range(5))):
        assert made[min(number + 1, 4)].wait(10)


def test_items_are_fetched_by_the_thread_that_asks_and_made_by_another() -> None:
    def here() -> Iterator[threading.Thread]:
        yield threading.current_thread()

    [(fetched, made)] = one_ahead(lambda thread: (thread, threading.current_thread()), here())
    assert fetched is threading.current_thread()
    assert made is not fetched


def test_a_failure_comes_where_its_result_would() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise Oops
        return number

    ahead = one_ahead(make, range(5))
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(Oops):
        next(ahead)


def test_who_stops_early_leaves_no_thread_behind() -> None:
    fetched: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            fetched.append(number)
            yield number

    ahead = one_ahead(str, items())
    assert next(ahead) == "0"
    ahead.close()
    assert fetched == [0, 1]


def test_items_can_be_fetched_by_another_thread_which_closes_them() -> None:
    threads: list[threading.Thread] = []

    def items() -> Generator[int]:
        try:
            for number in range(100):
                threads.append(threading.current_thread())
                yield number
        finally:
            threads.append(threading.current_thread())

    assert list(islice(fetched_ahead(items()), 3)) == [0, 1, 2]
    assert list(fetched_ahead(items())) == list(range(100))
    assert threading.current_thread() not in threads
    assert len(threads) == 4 + 1 + 100 + 1


def test_one_is_fetched_while_one_is_used() -> None:
    fetched = [threading.Event() for _ in range(5)]

    def items() -> Generator[int]:
        for number in range(5):
            fetched[number].set()
            yield number

    for number in fetched_ahead(items()):
        assert fetched[min(number + 1, 4)].wait(10)


def test_a_failure_to_fetch_comes_where_the_item_would() -> None:
    def items() -> Generator[int]:
        yield 1
        raise Oops

    ahead = fetched_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(Oops):
        next(ahead)
