"""The calls of a turn: told by records, or else by a running sum that is sent again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.places import Place
from curio_persistence.importers.sessions.turns import Tokens

_COUNTS = (
    *("input_tokens", "cached_input_tokens", "cache_write_input_tokens"),
    *("output_tokens", "reasoning_output_tokens"),
)


def tokens_of(usage: Any, place: Place) -> Tokens:
    """Return tokens. Input includes the cache, output includes reasoning."""
    return Tokens(
        place.count(usage, "input_tokens"),
        place.count(usage, "output_tokens"),
        place.count(usage, "cached_input_tokens"),
        place.count(usage, "cache_write_input_tokens"),
        place.count(usage, "reasoning_output_tokens"),
    )


class Counted:
    """The running sum of a thread, and the calls of its turn that wait for the turn's end.

    A turn with records counts by them alone.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._total: dict[str, Any] | None = None
        self._by_sum: list[ImportedRecord] = []
        self._by_record: list[ImportedRecord] = []
        self._repeated = 0

    def changes(self, info: Any) -> dict[str, Any] | None:
        """Return the tokens by which a sum grew; None if it did not, which is counted."""
        if not isinstance(info, dict):
            self._context.skip("token_count without info")
            return None
        total, last = info.get("total_token_usage"), info.get("last_token_usage")
        if total is not None and total == self._total:
            self._repeated += 1
            return None
        before, self._total = self._total, total
        if isinstance(last, dict):
            return last
        return _difference(total, before)

    def copied(self, info: Any) -> None:
        """Take the sum of a copied record as the one to go on from."""
        if isinstance(info, dict) and isinstance(info.get("total_token_usage"), dict):
            self._total = info["total_token_usage"]

    def add(self, calls: Iterable[ImportedRecord], *, by_record: bool) -> None:
        (self._by_record if by_record else self._by_sum).extend(calls)

    def end(self) -> Iterator[ImportedRecord]:
        """Yield the calls of the turn, each once."""
        if self._by_record:
            self._context.skip("token_count beside records", len(self._by_sum) + self._repeated)
        else:
            self._context.skip("token_count repeated", self._repeated)
        yield from self._by_record or self._by_sum
        self._by_sum, self._by_record, self._repeated = [], [], 0


def _difference(total: Any, before: Any) -> dict[str, Any] | None:
    if not isinstance(total, dict):
        return None
    earlier = before if isinstance(before, dict) else {}
    return {
        name: value - earlier.get(name, 0)
        for name in _COUNTS
        if type(value := total.get(name)) is int and type(earlier.get(name, 0)) is int
    }
