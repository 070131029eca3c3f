"""Prices of one's own, from a file, a list or the database: they come before genai-prices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from curio_persistence.errors import ConfigurationError
from curio_persistence.pricing.calls import Call, Listed, Now, Priced, Rates, per_token
from curio_persistence.tables.prices import SavedPrice

_RATES = ("input", "output", "cache_read", "cache_write", "reasoning")
_AMOUNTS = (*_RATES, "request")
_WORDS = ("model", "provider", "service_tier")
_TIMES = ("since", "until")
_NAMES = (*_WORDS, *_TIMES, *_AMOUNTS)
_VERSION = "price_version"
"""The member that `to_dict` adds to an entry; it is a hash of the others."""
_MOST = 10**6
"""The highest price, in US dollars per million tokens or for a request; beyond is a mistake."""


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """One entry: US dollars per million tokens, for the calls that it is about.

    `model` and `provider` are patterns with `*`, in which case does not matter. It is valid for
    `since ≤ t < until`. `request` is for each call.
    """

    model: str
    input: Decimal
    output: Decimal
    provider: str = "*"
    service_tier: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    request: Decimal = Decimal(0)

    def to_dict(self) -> dict[str, Any]:
        """Return what the entry says, and its version; amounts are decimal text."""
        given = {name: getattr(self, name) for name in _NAMES}
        plain = {
            name: value.isoformat() if isinstance(value, datetime) else str(value)
            for name, value in given.items()
            if value is not None and (name != "request" or str(value) != "0")
        }
        return {**plain, _VERSION: self.version}

    @property
    def version(self) -> str:
        """A name that changes with the entry."""
        from hashlib import sha256

        values = "\0".join(str(getattr(self, name)) for name in _NAMES)
        digest = sha256(values.encode(errors="surrogatepass")).hexdigest()
        return f"own {digest[:8]}"


class OwnTariff:
    """An entry, ready to compute."""

    def __init__(self, price: OwnPrice) -> None:
        self.entry = price
        self.version = price.version
        given = {name: getattr(price, name) for name in _RATES}
        self._rates = Rates(
            **{name: per_token(rate) for name, rate in given.items() if rate is not None}
        )
        self._request = per_token(price.request * 10**6)

    def price(self, call: Call, now: Now) -> Priced | None:
        """Return the cost of a call; None if the entry is not about it, or tokens are unknown."""
        entry = self.entry
        if (entry.since or entry.until) and not self._is_valid(call.moment(now)):
            return None
        if entry.service_tier is not None and entry.service_tier != call.tier():
            return None
        cost = self._rates.cost(call)
        if cost is None:
            return None
        version = self.version if entry.service_tier is None else f"{self.version}, {call.tier()}"
        return Priced(round(cost + self._request), version)

    def listed(self, call: Call, now: Now) -> Listed:
        """Return the prices of the entry, by the names that genai-prices has for them."""
        entry = self.entry
        given = {name: getattr(entry, name) for name in _RATES}
        prices = {f"{name}_mtok": price for name, price in given.items() if price is not None}
        prices |= {"request": entry.request} if entry.request else {}
        return Listed(entry.provider, entry.model, prices)

    def _is_valid(self, moment: datetime) -> bool:
        since, until = self.entry.since, self.entry.until
        return (since is None or since <= moment) and (until is None or moment < until)


class OwnPrices:
    """Some entries; the first one that is about a call counts."""

    def __init__(self, entries: Iterable[OwnPrice] = ()) -> None:
        self.entries = tuple(entries)
        self._tariffs = [OwnTariff(entry) for entry in self.entries]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return what the entries say, and their versions."""
        return [entry.to_dict() for entry in self.entries]

    def tariffs(self, provider: str, models: Sequence[str]) -> tuple[OwnTariff, ...]:
        """Return the entries that may be about a model, by any of its names."""
        return tuple(
            tariff
            for tariff in self._tariffs
            if _matches(tariff.entry.provider, provider)
            and any(_matches(tariff.entry.model, model) for model in models)
        )


def _matches(pattern: str, name: str) -> bool:
    """Return whether a name is as a pattern says, in which only `*` has a meaning."""
    parts = map(re.escape, pattern.lower().split("*"))
    return re.fullmatch(".*".join(parts), name.lower(), re.DOTALL) is not None


def read_prices(source: str | PathLike[str] | Iterable[Mapping[str, Any]]) -> OwnPrices:
    """Return the prices of a TOML or JSON file, or of a list of entries.

    Raise ConfigurationError, which names the entry and its member, for anything that is no price.
    """
    if isinstance(source, str | PathLike):
        place = fspath(source)
        entries = _entries_of(Path(place).expanduser())
    else:
        place, entries = "prices", source
    if isinstance(entries, Mapping) or not isinstance(entries, Iterable):
        raise ConfigurationError(f"{place} must have a list of prices: {_EXAMPLE}")
    return OwnPrices(_entry(f"{place}, entry {n}", entry) for n, entry in enumerate(entries, 1))


def read_saved(saved: SavedPrice) -> OwnPrice:
    """Return an entry that is saved in a database; raise ConfigurationError for a damaged one."""
    place = f"The price {saved.price_version!r}, which is saved in the database,"
    try:
        return _entry("it", json.loads(saved.entry))
    except (ConfigurationError, ValueError, RecursionError) as error:
        said = str(error).rstrip(".")
        raise ConfigurationError(f"{place} is damaged: {said}. Remove it: {_REMOVE}") from error


_REMOVE = "curio-persistence prices remove VERSION"
_EXAMPLE = '[[prices]] model = "acme-*" input = 0.5 output = 1.5'


def _entries_of(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows begins files with a mark.
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The prices in {path} cannot be read ({getattr(error, 'strerror', error)}). "
            "Own prices are a TOML or JSON file; CURIO_PRICES may also be 1 or 0."
        ) from error
    try:
        if path.suffix.lower() == ".json":
            parsed = json.loads(text, parse_float=Decimal)
        else:
            from tomllib import loads  # On use: few have prices of their own.

            parsed = loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise ConfigurationError(f"The prices in {path} are not {kind}: {error}") from error
    if isinstance(parsed, dict):
        if parsed.keys() != {"prices"}:
            raise ConfigurationError(f"{path} must have `prices`, and nothing else: {_EXAMPLE}")
        return parsed["prices"]
    return parsed


def _entry(place: str, entry: Any) -> OwnPrice:
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"{place} is {type(entry).__name__}, not a table: {_EXAMPLE}")
    if unknown := [name for name in entry if name not in (*_NAMES, _VERSION)]:
        raise ConfigurationError(
            f"{place} has {', '.join(map(repr, unknown))}; it may have {', '.join(_NAMES)}."
        )
    for name in ("model", "input", "output"):
        if entry.get(name) is None:
            free = "" if name == "model" else " (0 if it costs nothing)"
            raise ConfigurationError(f"{place} needs {name}{free}: {_EXAMPLE}")
    values: dict[str, Any] = {}
    for name, value in entry.items():
        if value is not None and name != _VERSION:
            values[name] = _READERS[name](f"{place}: {name}", value)
    since, until = values.get("since"), values.get("until")
    if since and until and until <= since:
        raise ConfigurationError(f"{place}: until is not later than since.")
    return OwnPrice(**values)


def _word(place: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{place} must be text, not {value!r}.")
    return value


def _tier(place: str, value: Any) -> str:
    return _word(place, value).lower()


def _amount(place: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ConfigurationError(f"{place} must be a number of US dollars, not {value!r}.")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ConfigurationError(f"{place} must be a number of US dollars, not {value!r}.")
    if not 0 <= amount <= _MOST:
        raise ConfigurationError(f"{place} must be from 0 to {_MOST:,} US dollars, not {value}.")
    return amount


def _time(place: str, value: Any) -> datetime:
    """Return a moment; a date is its beginning in UTC."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
    except ValueError:
        pass
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigurationError(f"{place} needs an offset, such as {value.isoformat()}Z.")
        return value
    if not isinstance(value, date):
        raise ConfigurationError(f"{place} must be a date, such as 2026-11-20, not {value!r}.")
    return datetime.combine(value, time(), UTC)


_READERS: Mapping[str, Any] = {
    **dict.fromkeys(_WORDS, _word),
    "service_tier": _tier,
    **dict.fromkeys(_TIMES, _time),
    **dict.fromkeys(_AMOUNTS, _amount),
}
