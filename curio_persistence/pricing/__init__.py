"""Compute the cost of model calls for which the caller gave none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from os import PathLike
from typing import TYPE_CHECKING, Any

from curio_persistence.clock import utc_now
from curio_persistence.errors import ConfigurationError, UnsupportedError
from curio_persistence.pricing.calls import (
    REPORTED,
    Call,
    Listed,
    Now,
    Priced,
    call_of,
    reported_cost,
)
from curio_persistence.redaction import Redaction
from curio_persistence.store.base import Store
from curio_persistence.store.table import Row
from curio_persistence.tables import PRICES, USAGE

if TYPE_CHECKING:
    from curio_persistence.pricing.library import Library, Tariff
    from curio_persistence.pricing.own import OwnPrices, OwnTariff
    from curio_persistence.tables.prices import SavedPrice

PricesLike = bool | str | PathLike[str] | Iterable[Mapping[str, Any]]
"""True for the prices of genai-prices, False for none; a file or a list has prices of one's own."""

_REMEMBERED = 4096
"""Names of models that are remembered with their prices."""
_MOST = 2**63


class Pricing:
    """Computes costs, for all threads.

    Own prices come first: those that were given, then those that are saved in the database. Then
    come those of genai-prices, then the cost that the sender reported in `usage_metrics`.
    genai-prices is imported when the first call needs it.
    """

    def __init__(self, prices: PricesLike = True, now: Now = utc_now) -> None:
        self.is_on, self._given = _chosen(prices)
        self.own = self._given
        self._now = now
        self._find = lru_cache(_REMEMBERED)(self._tariffs)

    @classmethod
    def of(cls, redaction: Redaction, prices: PricesLike = True, now: Now = utc_now) -> Pricing:
        """Return the pricing of the door that records pass; its first owner decides on it."""
        found = redaction.completed_by.get(USAGE.name)
        if isinstance(found, cls):
            return found
        redaction.completed_by[USAGE.name] = pricing = cls(prices, now)
        return pricing

    def read_saved(self, store: Store) -> None:
        """Read the prices that are saved in a database; a replica has none."""
        if not self.is_on:
            return
        with suppress(UnsupportedError):
            saved = PRICES.decode(store.select(PRICES))
            self.own = _with_saved(self._given, saved)
            self._find = lru_cache(_REMEMBERED)(self._tariffs)

    @property
    def library(self) -> Library | None:
        """The prices of genai-prices; None if they are not used, or not installed."""
        if not self.is_on:
            return None
        from curio_persistence.pricing.library import library  # On use: with its package.

        return library()

    @property
    def version(self) -> str | None:
        """The version of genai-prices, which this loads; None where it is not used."""
        return None if self.library is None else self.library.version

    def fill(self, row: Row) -> None:
        """Set the cost of an encoded row that has none, and the version of the prices."""
        if "cost_usd" in row:
            return
        priced = self.price(call_of(row))
        if priced is not None:
            row["cost_usd"], row["price_version"] = priced

    def price(self, call: Call) -> Priced | None:
        """Return the cost of a call: computed, or as it was reported; None if it is unknown."""
        priced = self.compute(call) if self.is_on else None
        if priced is not None:
            return priced
        cost = reported_cost(call.metrics)
        return None if cost is None else Priced(cost, REPORTED)

    def compute(self, call: Call) -> Priced | None:
        """Return the computed cost of a call; None if tokens or prices are unknown."""
        if call.input is None and not call.metrics:
            return None
        for tariff in self.tariffs(call):
            priced = tariff.price(call, self._now)
            if priced is not None and priced.cost < _MOST:
                return priced
        return None

    def explain(self, call: Call) -> tuple[Listed | None, Priced | None]:
        """Return the prices by which a call is priced, and its cost, as far as they are known."""
        priced = self.compute(call)
        tariffs = self.tariffs(call)
        used = [tariff for tariff in tariffs if tariff.price(call, self._now) == priced]
        return next((tariff.listed(call, self._now) for tariff in used or tariffs), None), priced

    def tariffs(self, call: Call) -> Sequence[Tariff | OwnTariff]:
        """Return the prices of a call's model, by rank."""
        found = self._find(call.provider, call.models)
        if not found and (asked := call.asked_model):
            return self._find(call.provider, (asked,))
        return found

    def _tariffs(self, provider: str, models: Sequence[str]) -> Sequence[Tariff | OwnTariff]:
        models = [model for model in models if model]
        if not models:
            return ()
        own = self.own.tariffs(provider, models) if self.own else ()
        found = self.library.tariff(provider, models) if self.library else None
        return own if found is None else (*own, found)


def _with_saved(given: OwnPrices | None, saved: Sequence[SavedPrice]) -> OwnPrices | None:
    """Return the given prices, followed by the saved ones."""
    if not saved:
        return given
    from curio_persistence.pricing.own import OwnPrices, read_saved  # On use, as below.

    return OwnPrices((*(given.entries if given else ()), *map(read_saved, saved)))


def _chosen(prices: Any) -> tuple[bool, OwnPrices | None]:
    """Return whether costs are computed, and the prices of one's own."""
    if isinstance(prices, bool):
        return prices, None
    if not isinstance(prices, str | PathLike | Iterable) or isinstance(prices, Mapping | bytes):
        raise ConfigurationError(
            "prices is True, False, a TOML or JSON file, or a list of entries, "
            f"not {type(prices).__name__} (CURIO_PRICES)."
        )
    from curio_persistence.pricing.own import read_prices  # On use: few have their own.

    return True, read_prices(prices)
