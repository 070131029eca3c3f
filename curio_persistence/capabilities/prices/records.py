"""Results of the capability of prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Price:
    """The cost of a model call, and the prices it follows from.

    `cost_usd` is None if it is unknown, for a `reason`. `provider` and `model` are the names in the
    list of prices, or the patterns of one's own. `prices` are in US dollars: `input_mtok` per
    million tokens, `web_searches_kcount` per thousand searches.
    """

    cost_usd: Decimal | None
    price_version: str | None
    provider: str | None
    model: str | None
    prices: Mapping[str, Decimal]
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON; amounts are decimal text."""
        return {
            **asdict(self),
            "cost_usd": _text(self.cost_usd),
            "prices": {name: str(price) for name, price in self.prices.items()},
        }


@dataclass(frozen=True, slots=True)
class Unpriced:
    """The calls of one model whose cost is unknown.

    Of them, `without_tokens` have no known number of input tokens. `reason` is `no price`, `no
    tokens` (of the input or the output), `no model`, or `has a price`: then `reprice` computes it,
    unless the tokens contradict one another.
    """

    provider: str
    model: str
    calls: int
    without_tokens: int
    input_tokens: int
    output_tokens: int
    first_at: datetime | None
    last_at: datetime | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON."""
        moments = {"first_at": self.first_at, "last_at": self.last_at}
        return {**asdict(self), **{name: at and at.isoformat() for name, at in moments.items()}}


@dataclass(frozen=True, slots=True)
class Repriced:
    """The calls of one model, computed anew: how many changed, and their costs before and after."""

    provider: str
    model: str
    calls: int
    changed: int
    before_usd: Decimal
    after_usd: Decimal

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON; amounts are decimal text."""
        amounts = {"before_usd": str(self.before_usd), "after_usd": str(self.after_usd)}
        return {**asdict(self), **amounts}


@dataclass(frozen=True, slots=True)
class RepriceReport:
    """The changes that `prices.reprice` made, or with `dry_run` would make.

    Of the `calls`, some `changed`, others are `unchanged`, `given` by their callers or `unknown`:
    without a cost that was known before or can be computed now. `before_usd` and `after_usd` are
    the known costs of all of them; `by_model` has the models of which calls changed.
    """

    dry_run: bool
    price_version: str | None
    calls: int = 0
    changed: int = 0
    unchanged: int = 0
    given: int = 0
    unknown: int = 0
    before_usd: Decimal = Decimal(0)
    after_usd: Decimal = Decimal(0)
    by_model: tuple[Repriced, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON; amounts are decimal text."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "before_usd": str(self.before_usd),
            "after_usd": str(self.after_usd),
            "by_model": [each.to_dict() for each in self.by_model],
        }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
