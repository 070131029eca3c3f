"""The prices of genai-prices: those in the package, never newer ones from the network."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Context, Decimal, localcontext
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.concurrency.time_limit import not_counted
from curio_persistence.pricing.calls import TIER_HINT, Call, Listed, Now, Priced, Rates, per_token
from curio_persistence.store.codecs import encode_money

if TYPE_CHECKING:
    from genai_prices import Usage
    from genai_prices.types import ModelInfo, ModelPrice, Provider

MISSING = "genai-prices is not installed: pip install 'curio-persistence[prices]'"
_BASE = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_reasoning_mtok": "reasoning",
}
"""The prices of the tokens that a row counts."""
_USAGES = ("usage", "usageMetadata", "usage_info", "tokenUsage")
_UNLISTED = frozenset(
    {
        *("ollama", "vllm", "lmstudio", "lm_studio", "llama.cpp", "llamacpp", "llamafile"),
        *("localai", "gpt4all", "sglang", "tgi", "mlx", "transformers", "local"),
        "copilot",
    }
)
"""Programs that run models on machines of one's own, and Copilot's own logs, which count credits
of a subscription: no list has their prices."""
_EXACT = Context(prec=60)
_REFUSALS = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError)
"""The errors of the library for what is no usage that it knows."""


@cache
def library() -> Library | None:
    """Return the prices of genai-prices; None where it is not installed. Takes 0.1 to 0.3 s."""
    try:
        return not_counted(Library)
    except ImportError:
        return None


class Library:
    """The providers and models of genai-prices."""

    def __init__(self) -> None:
        from importlib.metadata import version

        from genai_prices.data import providers

        self.version = f"genai-prices {version('genai-prices')}"
        self._providers: list[Provider] = providers

    def tariff(self, provider: str, models: Sequence[str]) -> Tariff | None:
        """Return what the first of some names of a model costs; None if no provider has it."""
        if provider.lower() in _UNLISTED:
            return None
        for seller in self._sellers(provider):
            for model in models:
                if found := self._model(seller, model):
                    return Tariff(self.version, seller, found)
        for model in models:
            for seller, name in self._makers(model):
                if found := self._model(seller, name):
                    return Tariff(self.version, seller, found)
        return None

    def _sellers(self, name: str) -> Iterator[Provider]:
        """Yield the providers that a name means, as OpenTelemetry and others spell it."""
        from genai_prices.data_snapshot import find_provider_by_id

        for spelling in dict.fromkeys((name, name.replace("_", "-"))):
            if spelling and (seller := find_provider_by_id(self._providers, spelling)):
                yield seller

    def _makers(self, model: str) -> Iterator[tuple[Provider, str]]:
        """Yield the providers that the name of a model points to, and its name there."""
        prefix, separator, rest = model.partition("/" if "/" in model else ":")
        if separator and prefix.lower() in _UNLISTED:
            return
        if separator:
            yield from ((seller, rest) for seller in self._sellers(prefix))
        for seller in self._providers:
            if seller.model_match is not None and seller.model_match.is_match(model.lower()):
                yield seller, model

    def _model(self, seller: Provider, name: str) -> ModelInfo | None:
        return seller.find_model(name, all_providers=self._providers)


class Tariff:
    """The prices of one model of a provider.

    Where the row counts all that is priced, a multiplication takes 1 µs. Batches, audio, images,
    searches and the like are left to `calc_price`, which takes hundreds.
    """

    def __init__(self, version: str, seller: Provider, model: ModelInfo) -> None:
        self.version = version
        self.seller = seller
        self.model = model
        self._rates: dict[int, LevelRates | None] = {}
        self._is_dated = isinstance(model.prices, list)
        # The library has variants only for a provider's own models.
        self._has_tiers = bool(model.price_variants) and any(m is model for m in seller.models)
        hints = [TIER_HINT] if self._has_tiers else []
        hints += sorted(self._hints_of_details())
        self._hint = re.compile("|".join(hints)) if hints else None

    def price(self, call: Call, now: Now) -> Priced | None:
        """Return the cost of a call; None if it is unknown."""
        if self._hint is not None and call.metrics and self._hint.search(call.metrics):
            return self._calculated(call, now)
        rates = self._rates_of(self.prices_at(call, now))
        if rates is None:
            return self._calculated(call, now)
        cost = rates.at(call.input or 0).cost(call)
        return None if cost is None else Priced(cost, self.version)

    def listed(self, call: Call, now: Now) -> Listed:
        """Return the prices in the list that a call is priced by."""
        tier = call.tier() if self._has_tiers else None
        given = _set_prices(self.model.get_prices(call.moment(now), _context(tier)))
        level = call.input or 0
        prices = {name: _at_level(price, level) for name, price in given.items()}
        return Listed(self.seller.id, self.model.id, prices)

    def prices_at(self, call: Call, now: Now) -> ModelPrice:
        """Return the standard prices at the time of a call."""
        prices: Any = self.model.prices
        return self.model.get_prices(call.moment(now)) if self._is_dated else prices

    def _rates_of(self, prices: ModelPrice) -> LevelRates | None:
        """Return the rates of prices; None if they have no rate for input, or one for requests."""
        key = id(prices)  # The model keeps them.
        if key not in self._rates:
            self._rates[key] = _level_rates(_set_prices(prices))
        return self._rates[key]

    # --- what only the library can compute ------------------------------------------------------

    def _calculated(self, call: Call, now: Now) -> Priced | None:
        """Return the cost that the library computes; None if it refuses the call.

        It does if more tokens were read from a cache than there were, for example.
        """
        with suppress(*_REFUSALS), localcontext(_EXACT):  # The caller's may round to fewer digits.
            return self._refusing(call, call.moment(now))
        return None

    def _refusing(self, call: Call, at: datetime) -> Priced | None:
        extracted = self._extracted(call)
        usage = extracted or _counted(call)
        tier = call.tier() if self._has_tiers else None
        context = _context(tier)
        if usage is None or (extracted is None and self._lacks_output(call, at, context)):
            return None
        price = self.model.calc_price(
            usage, self.seller, genai_request_timestamp=at, price_context=context
        ).total_price
        because = (self.version, tier, "details" if extracted else None)
        return Priced(encode_money(price), ", ".join(filter(None, because)))

    def _lacks_output(self, call: Call, at: datetime, context: Mapping[str, str] | None) -> bool:
        """Return whether the output has a price, and its tokens are unknown."""
        price = self.model.get_prices(at, context).output_mtok
        return call.output is None and price is not None and price != 0

    def _extracted(self, call: Call) -> Usage | None:
        """Return the usage that the library reads from the provider's own account of it.

        Each API of the provider has a reader. Of those that read the numbers of the call, the one
        that reads the most is meant.
        """
        read = (usage for usage in self._readings(call.usage()) if _agrees(usage, call))
        return max(read, key=lambda usage: len(vars(usage)), default=None)

    def _readings(self, usage: Mapping[str, Any]) -> Iterator[Usage]:
        for extractor in self.seller.extractors or ():
            for spelt in (dict, _in_camel_case):
                with suppress(*_REFUSALS):
                    yield extractor.extract(_answer(extractor.root, spelt(usage)))[1]

    def _hints_of_details(self) -> Iterator[str]:
        """Yield expressions that find what has a price, and that a row does not count."""
        priced = {key for prices in self._all_prices() for key in _set_prices(prices)} - {*_BASE}
        from genai_prices.data_units import unit_data

        details = {unit for unit, told in unit_data.items() if told["price_key"] in priced}
        for extractor in self.seller.extractors or ():
            for mapping in extractor.mappings:
                if mapping.dest in details:
                    yield from _hints_of(mapping.path)

    def _all_prices(self) -> Iterator[ModelPrice]:
        prices: Any = self.model.prices
        yield from (dated.prices for dated in prices) if self._is_dated else (prices,)
        yield from (variant.prices for variant in self.model.price_variants or ())


def _set_prices(prices: ModelPrice) -> dict[str, Any]:
    return {key: price for key, price in vars(prices).items() if price is not None}


class LevelRates(NamedTuple):
    """The rates above each of some numbers of input tokens; most models have one level, from 0."""

    above: tuple[int, ...]
    rates: tuple[Rates, ...]

    def at(self, tokens: int) -> Rates:
        """Return the rates of a call with so many input tokens."""
        return self.rates[bisect_left(self.above, tokens)]


def _level_rates(prices: Mapping[str, Any]) -> LevelRates | None:
    if "input_mtok" not in prices or "requests_kcount" in prices:
        return None
    counted = {_BASE[key]: price for key, price in prices.items() if key in _BASE}
    above = sorted({tier.start for price in counted.values() for tier in _tiers(price)})
    levels = [
        Rates(**{name: per_token(_at_level(price, level)) for name, price in counted.items()})
        for level in (0, *(start + 1 for start in above))
    ]
    return LevelRates(tuple(above), tuple(levels))


def _tiers(price: Any) -> Sequence[Any]:
    return getattr(price, "tiers", ())


def _at_level(price: Any, tokens: int) -> Decimal:
    """Return the price of a call with so many input tokens, as the library chooses it."""
    above = [tier.price for tier in _tiers(price) if tokens > tier.start]
    found: Decimal = above[-1] if above else getattr(price, "base", price)
    return found


def _context(tier: str | None) -> Mapping[str, str] | None:
    """Return the context by which the library knows a tier."""
    if tier is None:
        return None
    if tier in ("batch", "batches", "async"):
        return {"processing": "batch"}
    return {"service_tier": tier, "speed": tier}


def _counted(call: Call) -> Usage | None:
    """Return the usage that a row counts; None without the tokens of the input."""
    from genai_prices import Usage

    if call.input is None:
        return None
    return Usage(
        input_tokens=call.input,
        output_tokens=call.output,
        cache_read_tokens=call.cache_read,
        cache_write_tokens=call.cache_write,
        output_reasoning_tokens=call.reasoning,
    )


def _agrees(usage: Usage, call: Call) -> bool:
    told = vars(usage)
    return (told.get("input_tokens", 0), told.get("output_tokens", 0)) == (
        call.input or 0,
        call.output or 0,
    )


def _answer(root: Any, usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer that has a usage where the library looks for it."""
    path = [root] if isinstance(root, str) else list(root)
    at = next((at for at, name in enumerate(path) if name in _USAGES), len(path) - 1)
    answer: Any = usage
    for name in reversed(path[: at + 1]):
        answer = {name: answer}
    return dict(answer)


def _hints_of(path: Any) -> Iterator[str]:
    """Yield an expression that finds a number at a path which is not 0, in either spelling."""
    steps = [path] if isinstance(path, str) else list(path)
    for step in steps[:-1]:
        if not isinstance(step, str):  # One of a list of objects, by the value of a member.
            yield f'"{re.escape(str(getattr(step.match, "equals", "")))}"'
            return
    for name in dict.fromkeys((steps[-1], _in_snake_case(steps[-1]))):
        yield f'"{re.escape(name)}": ?[1-9]'


def _in_snake_case(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _in_camel_case(value: Any) -> Any:
    """Return JSON with names as Google's API has them; its SDK spells them in another way."""
    if isinstance(value, list):
        return [_in_camel_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub("_([a-z])", lambda found: found[1].upper(), name): _in_camel_case(item)
        for name, item in value.items()
    }
