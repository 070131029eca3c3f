"""A persistence that cannot be reached for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curio_persistence import BasePersistence, UnavailableError


class Outage:
    """Wraps a persistence: after `after` calls, the next `calls` calls fail."""

    def __init__(self, persistence: BasePersistence, calls: int, after: int = 0) -> None:
        self.clock = persistence.clock
        self._persistence = persistence
        self._before = after
        self._left = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        reached = getattr(self._persistence, name)

        def attempt(*args: Any, **kwargs: Any) -> Any:
            if self._before:
                self._before -= 1
            elif self._left:
                self._left -= 1
                raise UnavailableError("The network is down.")
            return reached(*args, **kwargs)

        return attempt
