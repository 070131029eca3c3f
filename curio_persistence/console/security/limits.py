"""Limits of a team's console: requests of each key, streams, and logins of each address."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from math import ceil
from threading import Lock
from time import monotonic
from typing import Literal

from starlette.exceptions import HTTPException

REQUESTS_A_SECOND = 20
HEAVY_AT_ONCE = 4
STREAMS_OF_A_KEY = 6
STREAMS = 64
LOGINS_A_MINUTE = 5
_MOST_ADDRESSES = 1_000

Kind = Literal["light", "heavy", "stream"]
_STREAM = re.compile(r"/stream/?$")
_HEAVY = re.compile(
    r"^/(search|costs|activity|custom-metrics|compare)(/|$)"
    r"|^/api/v1/(search|spend|metrics|analytics|stats|diff)(/|$)"
    r"|^/compat/[^/]+/api/(analytics|search|stats)(/|$)"
    r"|/export/?$"
)


def kind_of(path: str) -> Kind:
    """Return what a request costs, by its path below the base path."""
    if _STREAM.search(path):
        return "stream"
    return "heavy" if _HEAVY.search(path) else "light"


def too_many(seconds: float, detail: str) -> HTTPException:
    """Return the error of a request that may come again after so many seconds."""
    return HTTPException(429, detail, {"Retry-After": str(max(1, ceil(seconds)))})


class Bucket:
    """A token bucket: as many requests at once as it holds, which come back by and by."""

    def __init__(self, holds: float, a_second: float, now: float) -> None:
        self._holds, self._a_second = holds, a_second
        self._left, self._at = holds, now

    def left(self, now: float) -> float:
        """Return the tokens that it has now."""
        return min(self._holds, self._left + (now - self._at) * self._a_second)

    def take(self, now: float) -> float:
        """Take a token; return the seconds to wait for one, 0 where it was taken."""
        self._left, self._at = self.left(now), now
        if self._left < 1:
            return (1 - self._left) / self._a_second
        self._left -= 1
        return 0

    def is_full(self, now: float) -> bool:
        return self.left(now) >= self._holds


@dataclass
class _Use:
    """The requests of one key that are open, and its bucket."""

    bucket: Bucket
    open: dict[Kind, int] = field(default_factory=lambda: {"light": 0, "heavy": 0, "stream": 0})


class KeyLimits:
    """Counts what each key asks for. Only the event loop's thread calls it."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._uses: dict[str, _Use] = {}
        self._streams = 0

    def enter(self, key_id: str, path: str) -> Callable[[], None]:
        """Admit a request of a key; return the function to call when it was answered.

        Raise HTTPException (429), with Retry-After, where the key asks for too much.
        """
        now, kind = self._now(), kind_of(path)
        use = self._uses.setdefault(key_id, _Use(self._new_bucket(now)))
        if wait := use.bucket.take(now):
            raise too_many(wait, f"A key may ask {REQUESTS_A_SECOND} times a second.")
        self._check_open(use, kind)
        use.open[kind] += 1
        self._streams += kind == "stream"
        return lambda: self._leave(use, kind)

    @staticmethod
    def _new_bucket(now: float) -> Bucket:
        return Bucket(REQUESTS_A_SECOND, REQUESTS_A_SECOND, now)

    def _check_open(self, use: _Use, kind: Kind) -> None:
        if kind == "heavy" and use.open[kind] >= HEAVY_AT_ONCE:
            raise too_many(2, f"A key may have {HEAVY_AT_ONCE} long requests at once.")
        if kind == "stream" and use.open[kind] >= STREAMS_OF_A_KEY:
            raise too_many(10, f"A key may follow {STREAMS_OF_A_KEY} streams at once.")
        if kind == "stream" and self._streams >= STREAMS:
            raise too_many(10, f"All {STREAMS} streams of this console are in use.")

    def _leave(self, use: _Use, kind: Kind) -> None:
        use.open[kind] -= 1
        self._streams -= kind == "stream"


class LoginLimit:
    """Counts the logins of each address, in the threads that answer them."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._buckets: dict[str, Bucket] = {}

    def check(self, address: str) -> None:
        """Count a login; raise HTTPException (429) for the sixth in a minute."""
        with self._lock:
            now = self._now()
            self._forget(now)
            bucket = self._buckets.setdefault(
                _network(address), Bucket(LOGINS_A_MINUTE, LOGINS_A_MINUTE / 60, now)
            )
            wait = bucket.take(now)
        if wait:
            raise too_many(wait, f"{LOGINS_A_MINUTE} logins a minute are possible. Wait a moment.")

    def _forget(self, now: float) -> None:
        """Forget addresses that may log in again as if they never had."""
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets = {a: b for a, b in self._buckets.items() if not b.is_full(now)}


def _network(address: str) -> str:
    """Return an address; of IPv6 its /64, of which a single machine has all addresses."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) else address
