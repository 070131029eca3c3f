"""Keep the number of series small, and counters growing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

OTHER = "other"
_LONGEST = 100


class Names:
    """The values of one label that have series of their own; the rest shares `other`.

    They are those that counted most when they were first seen, up to a number. None is replaced
    later, or the series of `other` would lose what it has counted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str | None, str] = {}

    def learn(self, counted: Iterable[tuple[str | None, int]]) -> None:
        """Name the values that count most, while there is room."""
        totals: Counter[str | None] = Counter()
        for value, count in counted:
            if value not in self._known:
                totals[value] += count
        for value, _ in totals.most_common(max(self._most - len(self._known), 0)):
            self._known[value] = _label(value)

    def __getitem__(self, value: str | None) -> str:
        return self._known.get(value, OTHER)


def _label(value: str | None) -> str:
    """Return a value as a label: not too long, and UTF-8."""
    return str(value or "")[:_LONGEST].encode(errors="replace").decode()


class Counters:
    """Counters that never go down, while what they count is deleted.

    Prometheus takes a decrease for a restart, and would count everything once more.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], float] = {}
        self._lost: dict[tuple[str, ...], float] = {}

    def growing(self, key: tuple[str, ...], value: float) -> float:
        """Return the value of a counter, and what it has lost by deletions since the first call."""
        lost = self._lost.get(key, 0) + max(self._last.get(key, 0) - value, 0)
        self._last[key], self._lost[key] = value, lost
        return value + lost
