"""The model calls of a session, of which the log knows little before it is shut down.

A shutdown has sums by model, of all calls since the session was begun or resumed: each sum is one
row. Where no shutdown follows, each answer is a row, of which only the output is known.

After an hour of silence an import considers a session ended, and stores its answers one by one. If
a shutdown follows all the same, their tokens are subtracted from its sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.files import STILL_AFTER
from curio_persistence.importers.sessions.places import Place, member
from curio_persistence.importers.sessions.turns import OpenTurn, Tokens

PROVIDER = "copilot"
"""A provider without list prices: a subscription is paid in credits, not in dollars."""


class _Call(NamedTuple):
    turn: OpenTurn
    key: str
    at: datetime | None
    model: str
    tokens: Tokens
    place: Place


class Calls:
    """The calls since the session was begun or resumed."""

    def __init__(self) -> None:
        self._held: list[_Call] = []
        self._told: dict[str, Tokens] = {}
        self._last: datetime | None = None

    def until(self, at: datetime | None) -> Iterator[ImportedRecord]:
        """Yield the calls that are held back, if nothing happened in the hour before this time."""
        last, self._last = self._last, at or self._last
        if last is None or at is None or (at - last).total_seconds() < STILL_AFTER:
            return
        for call in self._held:
            self._told[call.model] = _with(self._told.get(call.model, Tokens()), call.tokens)
        yield from self._one_by_one()

    def add(
        self,
        turn: OpenTurn,
        key: str,
        at: datetime | None,
        model: str,
        tokens: Tokens,
        place: Place,
    ) -> None:
        """Hold a call back, because a sum that includes it may follow."""
        self._held.append(_Call(turn, key, at, model, tokens, place))

    def one_by_one(self) -> Iterator[ImportedRecord]:
        """Yield the calls that are held back: no sums follow."""
        self._told = {}
        yield from self._one_by_one()

    def _one_by_one(self) -> Iterator[ImportedRecord]:
        held, self._held = self._held, []
        for call in held:
            yield from call.turn.call(
                call.key, call.at, call.tokens, call.place, model=call.model, provider=PROVIDER
            )

    def sums(
        self, turn: OpenTurn, key: str, at: datetime | None, data: Any, place: Place
    ) -> Iterator[ImportedRecord]:
        """Yield the sums of a shutdown, as calls of the last turn."""
        models = member(data, "modelMetrics")
        if not isinstance(models, Mapping) or not models:
            yield from self.one_by_one()
            return
        self._held, before = [], self._told
        self._told = {}
        for model, told in models.items():
            tokens = tokens_of(member(told, "usage"), place)
            tokens = _without(tokens, before.get(model, Tokens()))
            requests = member(told, "requests")
            metrics = {
                "requests": member(requests, "count"),
                "premium_requests": member(requests, "cost"),
                "nano_aiu": member(told, "totalNanoAiu"),
            }
            yield from turn.call(
                f"{key}/{model}",
                at,
                tokens,
                place,
                model=str(model),
                provider=PROVIDER,
                usage_metrics={name: value for name, value in metrics.items() if value is not None},
            )


def _with(tokens: Tokens, more: Tokens) -> Tokens:
    return Tokens(*((one or 0) + (other or 0) for one, other in zip(tokens, more, strict=True)))


def _without(tokens: Tokens, told: Tokens) -> Tokens:
    """Return tokens without those that are told already; an unknown number stays unknown."""
    return Tokens(
        *(
            one if one is None or not other else max(0, one - other)
            for one, other in zip(tokens, told, strict=True)
        )
    )


def tokens_of(usage: Any, place: Place) -> Tokens:
    """Return tokens; the input has those that the cache was read and written with."""
    return Tokens(
        place.count(usage, "inputTokens"),
        place.count(usage, "outputTokens"),
        place.count(usage, "cacheReadTokens"),
        place.count(usage, "cacheWriteTokens"),
        place.count(usage, "reasoningTokens"),
    )
