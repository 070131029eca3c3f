"""Prices: what model calls cost, which have no known cost, and history computed anew."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from os import PathLike
from typing import Any, Unpack

from curio_persistence.capabilities.arguments import check_progress, checked_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.prices.records import Price, RepriceReport, Unpriced
from curio_persistence.capabilities.prices.repricing import Repricing
from curio_persistence.capabilities.usage import USAGE_FILTERS, UsageFilters
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError, UnsupportedError
from curio_persistence.models import AgentLLMUsage
from curio_persistence.pricing import Pricing
from curio_persistence.pricing.calls import Call, call_in
from curio_persistence.progress import Progress
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money, decode_time
from curio_persistence.store.filters import COUNT, Filter, Measure, total
from curio_persistence.tables import PRICES, USAGE
from curio_persistence.tables.prices import SavedPrice, price_row

_LOCK = "prices"
_MEASURES = (
    COUNT,
    Measure("count", "input_tokens"),
    Measure("count", "output_tokens"),
    total("input_tokens"),
    total("output_tokens"),
    Measure("min", "created_at"),
    Measure("max", "created_at"),
)


class Prices(Capability):
    """Explain and recompute the costs of model calls.

    A call that is written without a cost gets one: by prices of one's own, or those of
    genai-prices, or as its sender reported it.
    """

    def __init__(self, store: Store, clock: Clock, pricing: Pricing) -> None:
        super().__init__(store, clock)
        self._pricing = pricing

    def version(self) -> str | None:
        """Return the version of genai-prices, which it loads; None where it is not used.

        Without this, the first call that needs a price loads it, in a tenth to a third of a second.
        """
        return self._pricing.version

    def own(self) -> builtins.list[dict[str, Any]]:
        """Return the entries of one's own prices, the first that fits a call first.

        Those that were given when the database was opened come before those that are saved in it,
        which are read anew: from then on, this program computes with them.
        """
        self._pricing.read_saved(self._store)
        return self._pricing.own.to_dicts() if self._pricing.own else []

    def save(self, prices: str | PathLike[str] | Iterable[Mapping[str, Any]]) -> builtins.list[str]:
        """Save prices of one's own in the database, and return their versions.

        `prices` is a TOML or JSON file, or a list of entries, as for `connect(prices=…)`. They come
        before those that were saved earlier. Other programs use them when they open the database.
        """
        from curio_persistence.pricing.own import read_prices  # On use: few have their own.

        entries = [entry.to_dict() for entry in read_prices(prices).entries]
        versions = [str(entry["price_version"]) for entry in entries]
        now = self._clock.now()
        rows = {
            version: price_row(SavedPrice(version, json.dumps(entry, ensure_ascii=False), now))
            for version, entry in zip(versions, entries, strict=True)
        }
        with self._store.transaction():
            self._store.advisory_lock(_LOCK)
            self._store.delete(PRICES, (PRICES.filter_any("price_version", versions),))
            self._store.insert_many(PRICES, [*rows.values()][::-1])
            for version, entry in zip(versions, entries, strict=True):
                audit(self._store, self._clock, "create", version, "price", None, **entry)
        self._pricing.read_saved(self._store)
        return versions

    def remove(self, price_version: str) -> bool:
        """Remove a saved price by its version; return False if there is none.

        Costs that were computed by it stay, until `reprice` computes them anew.
        """
        version = checked_id("price_version", price_version)
        with self._store.transaction():
            self._store.advisory_lock(_LOCK)
            removed = self._store.delete(PRICES, PRICES.where(price_version=version))
            if removed:
                audit(self._store, self._clock, "delete", version, "price")
        self._pricing.read_saved(self._store)
        return bool(removed)

    def of(
        self,
        provider: str,
        model: str,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        service_tier: str | None = None,
        usage: Any = None,
        at: datetime | None = None,
    ) -> Price:
        """Return what a call costs, by which prices; stores nothing.

        Cached, cache-writing and reasoning tokens are parts of the input and the output.
        `service_tier` is `"batch"`, `"flex"`, `"priority"` or another that has prices of its own.
        `usage` is the provider's own account, for what the others do not count: audio, images,
        searches. `at` is now by default.
        """
        metrics = {"service_tier": service_tier, "usage": usage}
        record = AgentLLMUsage(
            None,
            None,
            provider,
            model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            usage_metrics={name: value for name, value in metrics.items() if value is not None},
            created_at=at,
        )
        call = call_in(record)
        if not call.model:
            raise InvalidValueError("model is required.", field="model")
        listed, priced = self._pricing.explain(call)
        reason = "" if priced else self._reason(call, "the tokens contradict one another")
        return Price(
            decode_money(priced.cost) if priced else None,
            priced.version if priced else None,
            listed.provider if listed else None,
            listed.model if listed else None,
            dict(listed.prices) if listed else {},
            reason,
        )

    def unpriced(self, **filters: Unpack[UsageFilters]) -> builtins.list[Unpriced]:
        """Return the models whose calls have no known cost, those with the most calls first."""
        self._pricing.read_saved(self._store)
        where = (*USAGE_FILTERS.of(filters).where(self._clock), Filter("cost_usd", "is null"))
        groups = self._store.aggregate(USAGE, _MEASURES, where, group_by=("provider", "model"))
        models = map(self._unpriced, groups)
        return sorted(models, key=lambda each: (-each.calls, each.provider, each.model))

    def reprice(
        self,
        *,
        dry_run: bool = True,
        given: bool = False,
        progress: Progress | None = None,
        **filters: Unpack[UsageFilters],
    ) -> RepriceReport:
        """Compute the costs of stored calls anew, and return what changes.

        Each call has the prices of its time. With `dry_run=False` the costs are stored, a thousand
        calls to a transaction; if that is interrupted, call it again. Costs that the callers gave
        stay, unless they are to be replaced, with `given=True`; so does a cost that cannot be
        computed now. The filters are those of `query_llm_usage`. Calls that have expired, or are in
        an archive, keep their costs.
        """
        check_progress(progress)
        where = USAGE_FILTERS.of(filters)
        self._pricing.read_saved(self._store)
        if not self._pricing.is_on:
            raise UnsupportedError("Prices are switched off (prices=False, CURIO_PRICES=0).")
        if self._pricing.library is None and self._pricing.own is None:
            raise UnsupportedError(self._missing())
        repricing = Repricing(self._store, self._clock, self._pricing, given=given)
        return repricing.run(where, dry_run=dry_run, progress=progress)

    def _unpriced(self, group: tuple[Any, ...]) -> Unpriced:
        provider, model, calls, counted, answered, input, output, first, last = group
        tokens = (input if counted else None, output if answered else None)
        reason = self._reason(Call(provider, model, last, *tokens), "has a price")
        moments = (decode_time(first), decode_time(last))
        return Unpriced(
            provider, model, calls, calls - counted, input or 0, output or 0, *moments, reason
        )

    def _reason(self, call: Call, otherwise: str) -> str:
        """Return why calls have no cost."""
        if not any(call.models):
            return "no model"
        if not self._pricing.is_on:
            return "prices are switched off"
        if not self._pricing.tariffs(call):
            return "no price" if self._pricing.library else self._missing()
        if call.output is None and self._pricing.compute(call) is None:
            return "no tokens"
        return "no tokens" if call.input is None else otherwise

    def _missing(self) -> str:
        from curio_persistence.pricing.library import MISSING  # On use, with its package.

        return MISSING
