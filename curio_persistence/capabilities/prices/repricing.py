"""Compute the costs of stored model calls anew, some at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import nullcontext
from decimal import Decimal
from typing import Any, NamedTuple

from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.prices.records import Repriced, RepriceReport
from curio_persistence.capabilities.record_filter import RecordFilter
from curio_persistence.clock import Clock
from curio_persistence.pricing import Pricing
from curio_persistence.pricing.calls import Priced, call_of
from curio_persistence.progress import Progress
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Row
from curio_persistence.tables import USAGE

_AT_ONCE = 1_000
_MODELS = 1_000
"""The models that a report names; a database may have any number of names."""
_OTHERS = ("", "(others)")
_BY_ID = (Order("id"),)
_CALLS = USAGE.part(
    *("id", "created_at", "provider", "model", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "usage_metrics"),
    *("input_params", "cost_usd", "price_version"),
)


class Outcome(NamedTuple):
    """The result for one call; `cost` is its cost from now on, None if it is unknown."""

    kind: str
    cost: int | None
    priced: Priced | None = None
    """The new cost and version to store; None if nothing changes."""


class _Sums:
    """The sums of some calls, in picodollars."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.before = self.after = 0

    def add(self, before: int | None, outcome: Outcome) -> None:
        self.kinds[outcome.kind] += 1
        self.before += before or 0
        self.after += outcome.cost or 0

    def dollars(self) -> tuple[Decimal, Decimal]:
        zero = Decimal(0)
        return decode_money(self.before) or zero, decode_money(self.after) or zero


class Repricing:
    """One pass over some model calls, in the order of their ids."""

    def __init__(self, store: Store, clock: Clock, pricing: Pricing, *, given: bool) -> None:
        self._store = store
        self._clock = clock
        self._pricing = pricing
        self._given = given
        self._all = _Sums()
        self._models: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
        self._is_audited = False

    def run(
        self, filters: RecordFilter, *, dry_run: bool, progress: Progress | None
    ) -> RepriceReport:
        """Look at all calls that pass the filters, store what changes, and report it."""
        where = filters.where(self._clock)
        expected = self._store.count(USAGE, where) if progress else 0
        last, done = 0, 0
        while True:
            with nullcontext() if dry_run else self._store.transaction():
                rows = self._read(where, last)
                changes = self._changes(rows)
                if changes and not dry_run:
                    self._write(changes, filters)
            done += len(rows)
            if progress is not None:
                progress(done, max(expected, done))
            if len(rows) < _AT_ONCE:
                return self._report(dry_run)
            last = rows[-1]["id"]

    def _read(self, where: Where, last: int) -> list[dict[str, Any]]:
        behind = (*where, Filter("id", ">", last))
        columns = self._store.select(_CALLS, behind, order=_BY_ID, limit=_AT_ONCE)
        return [dict(zip(_CALLS.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _changes(self, rows: list[dict[str, Any]]) -> dict[Priced, list[int]]:
        """Return the ids of the calls that change, by what they change to."""
        changes: dict[Priced, list[int]] = defaultdict(list)
        for row in rows:
            outcome = self._outcome(row)
            key = (row["provider"], row["model"])
            known = key in self._models or len(self._models) < _MODELS
            for sums in (self._all, self._models[key if known else _OTHERS]):
                sums.add(row["cost_usd"], outcome)
            if outcome.priced is not None:
                changes[outcome.priced].append(row["id"])
        return changes

    def _outcome(self, row: Row) -> Outcome:
        cost: Any = row["cost_usd"]
        version = row["price_version"]
        if cost is not None and version is None and not self._given:
            return Outcome("given", cost)
        # Such a cost depended on metrics, which the deletion of a run or a policy removes.
        is_frozen = ", " in str(version) and not row["usage_metrics"]
        call = call_of(row)
        priced = None if is_frozen else self._pricing.compute(call)
        if priced is None and cost is None:
            priced = self._pricing.price(call)
        if priced is None:
            return Outcome("unknown" if cost is None else "unchanged", cost)
        if priced.cost == cost and version is not None:
            return Outcome("unchanged", cost)
        return Outcome("changed", priced.cost, priced)

    def _write(self, changes: dict[Priced, list[int]], filters: RecordFilter) -> None:
        for (cost, version), ids in changes.items():
            where = (Filter("id", "in", tuple(ids)),)
            self._store.update(USAGE, where, {"cost_usd": cost, "price_version": version})
        if not self._is_audited:
            about = {"given": self._given, "filters": filters.to_dict()}
            version = self._pricing.version or ""
            audit(self._store, self._clock, "reprice", version, "usage", **about)
            self._is_audited = True

    def _report(self, dry_run: bool) -> RepriceReport:
        kinds = self._all.kinds
        changed = [(key, sums) for key, sums in self._models.items() if sums.kinds["changed"]]
        models = [
            Repriced(*key, sums.kinds.total(), sums.kinds["changed"], *sums.dollars())
            for key, sums in changed
        ]
        before, after = self._all.dollars()
        return RepriceReport(
            dry_run,
            self._pricing.version,
            kinds.total(),
            kinds["changed"],
            kinds["unchanged"],
            kinds["given"],
            kinds["unknown"],
            before,
            after,
            tuple(sorted(models, key=lambda each: (-each.changed, each.provider, each.model))),
        )
