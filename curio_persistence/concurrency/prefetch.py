"""Prepare the next item in another thread while this one is busy.

This pays off where the calling thread releases the GIL, as when it waits for a server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
U = TypeVar("U")


def prefetch_map(make: Callable[[T], U], items: Iterable[T], *, threads: int = 1) -> Iterator[U]:
    """Yield `make(item)` for each item in order: another thread makes one while one is used.

    With more `threads` so many are made at the same time. The calling thread fetches the items. An
    error of `make` is raised in place of its result. The other threads end with the last item, or
    when the iterator is closed.
    """
    from concurrent.futures import ThreadPoolExecutor  # Imported here: the import is slow.

    with ThreadPoolExecutor(threads, "curio-prefetch") as pool:
        making: deque[Future[U]] = deque()
        for item in items:
            making.append(pool.submit(make, item))
            if len(making) > threads:
                yield making.popleft().result()
        for made in making:
            yield made.result()


def prefetch(items: Generator[T]) -> Generator[T]:
    """Yield the items: another thread fetches one while one is used.

    That thread also closes the iterator of items, so it alone uses it.
    """
    from concurrent.futures import ThreadPoolExecutor

    end: Any = object()
    with ThreadPoolExecutor(1, "curio-prefetch") as pool:
        try:
            coming = pool.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = pool.submit(next, items, end)
                yield item
        finally:
            pool.submit(items.close)
