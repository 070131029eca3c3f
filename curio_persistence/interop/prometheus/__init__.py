"""Metrics of a persistence for Prometheus: `registry.register(CurioCollector(persistence))`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from threading import Event, Lock, Thread
from typing import NamedTuple

from curio_persistence.concurrency import forking
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import ConfigurationError
from curio_persistence.interop.prometheus.labels import Counters
from curio_persistence.interop.prometheus.sampling import Sample, Sampler
from curio_persistence.persistence import Persistence

try:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
    from prometheus_client.registry import Collector

    from curio_persistence.interop.prometheus.families import families
except ImportError as error:
    raise ConfigurationError(
        f"Metrics need prometheus_client ({error}): pip install 'curio-persistence[metrics]'"
    ) from error

__all__ = ["CurioCollector"]

_SHARE = 10
"""The next sample is taken after this many times what the last one took."""
_STUCK = 60.0
"""Seconds after which a sample that was due is not expected any more."""


class _Taken(NamedTuple):
    sample: Sample | None
    """None if it could not be taken."""
    at: float
    took: float

    @property
    def age(self) -> float:
        return time.monotonic() - self.at


class CurioCollector(Collector):
    """A collector of prometheus_client over the statistics of a persistence.

    The database counts; nothing is counted in the process but the records that it dropped. `top`
    agents, models and tools have series of their own, the rest shares `other`. A sample is used for
    `max_age` seconds, and for ten times what it took, so that a large database is asked seldom. A
    scrape waits for a sample no longer than `timeout` seconds, and then gets the last one.
    """

    def __init__(
        self,
        persistence: Persistence,
        *,
        top: int = 20,
        max_age: float = 5.0,
        timeout: float = 5.0,
    ) -> None:
        if not isinstance(persistence, Persistence):
            raise ConfigurationError(
                f"CurioCollector takes an open persistence, not {type(persistence).__name__}."
            )
        self._persistence = persistence
        if type(top) is not int or top < 1:
            raise ConfigurationError(f"top is a whole number from 1 on, not {top!r}.")
        self._sampler = Sampler(persistence, top)
        self._counters = Counters()
        self._max_age = checked_seconds("max_age", max_age)
        self._timeout = checked_seconds("timeout", timeout)
        self._lock = Lock()
        self._taken: _Taken | None = None
        self._taking: Event | None = None
        self._generation = forking.generation

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a registry would otherwise collect in order to know the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, of a sample that may be some seconds old."""
        own = Sample()
        self._sampler.add_own(own)  # First: queries wait until a queue is stored.
        taken = self._newest()
        about = {
            "version": version("curio-persistence"),
            "backend": self._persistence._store.dialect,
        }
        yield InfoMetricFamily("curio_build", "Version of curio_persistence, and backend.", about)
        yield GaugeMetricFamily("curio_up", "1 if the database answers.", self._is_up(taken))
        with self._lock:
            found = [*families(own, self._counters)]
            if taken is not None and taken.sample is not None:
                found += families(taken.sample, self._counters)
        yield from found
        if taken is not None:
            yield GaugeMetricFamily(
                "curio_collection_duration_seconds", "Time that the database took.", taken.took
            )
            yield GaugeMetricFamily(
                "curio_collection_age_seconds", "Age of the numbers.", taken.age
            )

    def _newest(self) -> _Taken | None:
        """Return the last sample, if it is not too old; or else a new one, if it comes in time."""
        with self._lock:
            if self._generation != forking.generation:  # The thread that takes one is the parent's.
                self._generation, self._taking = forking.generation, None
            if self._taken is not None and not self._is_old(self._taken):
                return self._taken
            if self._taking is None:
                self._taking = Event()
                Thread(
                    target=self._take, args=(self._taking,), name="curio-metrics", daemon=True
                ).start()
            taking = self._taking
        taking.wait(self._timeout)
        return self._taken

    def _is_old(self, taken: _Taken) -> bool:
        return taken.age > self._lasts(taken)

    def _lasts(self, taken: _Taken) -> float:
        """Return for how long a sample is used; one that failed is soon taken again."""
        return max(self._max_age, 0 if taken.sample is None else _SHARE * taken.took)

    def _is_up(self, taken: _Taken | None) -> bool:
        if taken is None or taken.sample is None:
            return False
        return taken.age < self._lasts(taken) + taken.took + _STUCK

    def _take(self, taking: Event) -> None:
        begin = time.monotonic()
        sample: Sample | None = None
        try:
            sample = self._sampler.sample()
        except Exception:
            import logging  # Imported here: it is slow, and seldom needed.

            logging.getLogger(__name__).warning("No metrics were collected.", exc_info=True)
        now = time.monotonic()
        with self._lock:
            self._taken, self._taking = _Taken(sample, now, now - begin), None
        taking.set()
