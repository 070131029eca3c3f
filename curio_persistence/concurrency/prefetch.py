"""What another thread does while this one is busy.

Worth it where what this thread does leaves the interpreter to others: waiting for a server, say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
U = TypeVar("U")


def one_ahead(make: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """What is made of each item, in order, by another thread: one is made while one is used.

    The items are fetched by this thread. What `make` raises is raised where its result would come.
    The other thread has ended when there are no more, or when the iterator is closed.
    """
    from concurrent.futures import ThreadPoolExecutor  # It takes long to import.

    with ThreadPoolExecutor(1, "curio-ahead") as pool:
        making: deque[Future[U]] = deque()
        for item in items:
            making.append(pool.submit(make, item))
            if len(making) > 1:
                yield making.popleft().result()
        for made in making:
            yield made.result()


def fetched_ahead(items: Generator[T]) -> Generator[T]:
    """The items, fetched by another thread: one is fetched while one is used.

    It also closes them, so that they are nobody else's.
    """
    from concurrent.futures import ThreadPoolExecutor

    end: Any = object()
    with ThreadPoolExecutor(1, "curio-ahead") as pool:
        try:
            coming = pool.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = pool.submit(next, items, end)
                yield item
        finally:
            pool.submit(items.close)
