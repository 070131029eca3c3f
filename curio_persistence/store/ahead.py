"""Making something in another thread, while this one fetches or stores.

Worth it where what this thread does leaves the interpreter to others: waiting for a server, say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

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
