"""The parts of a stored model call on which its cost depends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.models import AgentLLMUsage, cost_in_metrics
from curio_persistence.store.codecs import decode_text, encode_money
from curio_persistence.store.table import Row
from curio_persistence.tables import USAGE
from curio_persistence.tables.columns import object_in

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction

REPORTED = "reported"
"""The price version of a cost that the sender reported, and that counts where ours is unknown."""

_RESPONSE_MODEL = re.compile(r'"response_model": ?"([^"\\]+)"')
_ASKED_MODEL = re.compile(r'"model": ?"([^"\\]+)"')
_TIERS = ("service_tier", "serviceTier", "processing", "speed")
STANDARD = frozenset({"standard", "default", "auto", "on_demand", "interactive", "normal"})
"""The tiers that cost what the list of prices says."""
TIER_HINT = (
    rf'"(?:{"|".join(_TIERS)})":'
    rf'(?! ?(?:null|"(?:{"|".join(sorted(STANDARD))})"))'
)
"""Finds a tier that may have prices of its own, without parsing JSON."""

Now = Callable[[], datetime]


class Call(NamedTuple):
    """A model call; its tokens are counted as in AgentLLMUsage.

    `metrics` and `params` are the stored texts of `usage_metrics` and `input_params`.
    """

    provider: str
    model: str
    at: str | None = None
    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    metrics: str | None = None
    params: str | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The model that answered, if the metrics name one, and the one that was asked."""
        if self.metrics is None or (found := _RESPONSE_MODEL.search(self.metrics)) is None:
            return (self.model,)
        return (decode_text(found[1]) or "", self.model)

    @property
    def asked_model(self) -> str:
        """The model in the parameters: where the other names are those of what answered."""
        found = None if self.params is None else _ASKED_MODEL.search(self.params)
        return "" if found is None else decode_text(found[1]) or ""

    def moment(self, now: Now) -> datetime:
        """Return the time of the call; one without a time happens now."""
        return now() if self.at is None else datetime.fromisoformat(self.at)

    def tier(self) -> str | None:
        """Return the service tier that is not the standard one, such as `batch` or `priority`."""
        metrics = object_in(self.metrics)
        for place in (metrics, metrics.get("usage")):
            for name in _TIERS:
                if (tier := _word(place, name)) is not None and tier not in STANDARD:
                    return tier
        return None

    def usage(self) -> Mapping[str, Any]:
        """Return the provider's own account of the tokens, if the metrics have it."""
        usage = object_in(self.metrics).get("usage")
        return usage if isinstance(usage, dict) else {}


def call_of(row: Row) -> Call:
    """Return the call of an encoded row."""
    get: Any = row.get
    return Call(
        get("provider"),
        get("model"),
        get("created_at"),
        get("input_tokens"),
        get("output_tokens"),
        get("cache_read_tokens"),
        get("cache_write_tokens"),
        get("reasoning_tokens"),
        get("usage_metrics"),
        get("input_params"),
    )


def call_in(usage: AgentLLMUsage) -> Call:
    """Return the call of a record, with its values checked."""
    return call_of(USAGE.encode(usage))


def reported_cost(metrics: str | None) -> int | None:
    """Return the cost in picodollars under `reported_cost` in stored metrics."""
    if metrics is None or '"reported_cost"' not in metrics:
        return None
    cost = cost_in_metrics({"cost_usd": object_in(metrics).get("reported_cost")})
    try:
        return None if cost is None else encode_money(cost)
    except ValueError:
        return None


def _word(place: Any, name: str) -> str | None:
    """Return a member that is a word; Bedrock has an object with its type there."""
    value = place.get(name) if isinstance(place, dict) else None
    if isinstance(value, dict):
        value = value.get("type")
    return value.lower() if isinstance(value, str) and value else None


class Priced(NamedTuple):
    """A cost in picodollars, and the version of the prices that it was computed with."""

    cost: int
    version: str


class Listed(NamedTuple):
    """Prices as a list has them: `input_mtok` is in US dollars per million tokens."""

    provider: str
    model: str
    prices: Mapping[str, Decimal]


class Rates(NamedTuple):
    """Picodollars for a token of each kind, exact; a kind without a rate costs as its whole."""

    input: int | Fraction
    output: int | Fraction | None = None
    cache_read: int | Fraction | None = None
    cache_write: int | Fraction | None = None
    reasoning: int | Fraction | None = None

    def cost(self, call: Call) -> int | None:
        """Return the picodollars of a call; None if its tokens are unknown, or contradictory."""
        input, output = call.input, call.output
        if input is None or (call.cache_read or 0) + (call.cache_write or 0) > input:
            return None
        if output is None:
            if self.output:
                return None
            output = 0
        cost: int | Fraction = 0
        if call.cache_read and self.cache_read is not None:
            cost += call.cache_read * self.cache_read
            input -= call.cache_read
        if call.cache_write and self.cache_write is not None:
            cost += call.cache_write * self.cache_write
            input -= call.cache_write
        if call.reasoning and self.reasoning is not None:
            cost += call.reasoning * self.reasoning
            output -= call.reasoning
        if input < 0 or output < 0:
            return None
        return round(cost + input * self.input + output * (self.output or 0))


def per_token(dollars_per_million: Any) -> int | Fraction:
    """Return picodollars per token of US dollars per million tokens."""
    from fractions import Fraction  # On use: slow to import.

    rate = Fraction(dollars_per_million) * 10**6
    return rate.numerator if rate.denominator == 1 else rate
