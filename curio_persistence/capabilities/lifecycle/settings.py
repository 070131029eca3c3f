"""The settings of the lifecycle, stored in the database: policies, holds, and the lease."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from curio_persistence.capabilities.deletions import actor
from curio_persistence.clock import Clock
from curio_persistence.errors import BusyError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Order
from curio_persistence.tables import LIFECYCLE
from curio_persistence.tables.lifecycle import setting_row

_LEASE = timedelta(seconds=30)
"""How long other programs wait for one that was killed. Each batch renews the lease."""
_LOCK = "lifecycle"


class Settings:
    """The named settings of each kind, as JSON objects."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the settings of one kind, by name, in the order in which they were made."""
        rows = self._store.select(LIFECYCLE, LIFECYCLE.where(kind=kind), order=(Order("id"),))
        found = LIFECYCLE.decode(rows)
        return {each.name: json.loads(each.settings or "{}") for each in found}

    def put(self, kind: str, name: str, settings: Mapping[str, Any]) -> None:
        """Store a setting in place of an earlier one of its name."""
        body = json.dumps(settings, sort_keys=True)
        row = setting_row(kind, name, body, self._clock.now())
        self._store.upsert(
            LIFECYCLE, [row], key=("kind", "name"), update=("settings", "updated_at")
        )

    def remove(self, kind: str, name: str) -> bool:
        """Remove a setting; return False if there is none of this name."""
        return bool(self._store.delete(LIFECYCLE, LIFECYCLE.where(kind=kind, name=name)))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change settings that an expiry heeds, in a transaction between two of its batches."""
        with self._store.transaction():
            self._store.advisory_lock(_LOCK)
            yield

    @contextmanager
    def lease(self, name: str) -> Iterator[Lease]:
        """Hold the only lease of this name; raise BusyError while another program holds it."""
        lease = Lease(self, self._store, self._clock, name)
        with self._store.transaction():
            lease.renew()
        try:
            yield lease
        finally:
            lease.end()


class Lease:
    """A lease, which ends by itself if its holder dies."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, name: str) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._name = name
        self._holder = os.urandom(8).hex()
        self._renewed = monotonic()

    def keep(self) -> None:
        """Prolong the lease, outside a transaction, if it was not for some time."""
        if monotonic() - self._renewed > _LEASE.total_seconds() / 3:
            with self._store.transaction():
                self.renew()

    def renew(self) -> None:
        """Prolong the lease, inside a transaction; raise BusyError if another program has it."""
        self._store.advisory_lock(_LOCK)
        held = self._settings.of("lease").get(self._name)
        now = self._clock.now()
        if held and held["holder"] != self._holder:
            left = datetime.fromisoformat(held["until"]) - now
            # Longer than a lease lasts: the clock was set back since.
            if timedelta(0) < left <= _LEASE:
                raise BusyError(
                    f"{self._name} is at work in another program ({held['actor']}), or was killed "
                    f"there: try again in {left.seconds + 1} seconds."
                )
        until = (now + _LEASE).isoformat()
        lease = {"holder": self._holder, "actor": actor(), "until": until}
        self._settings.put("lease", self._name, lease)
        self._renewed = monotonic()

    def end(self) -> None:
        """Give the lease up, unless another program has taken it over."""
        with self._store.transaction():
            self._store.advisory_lock(_LOCK)
            held = self._settings.of("lease").get(self._name)
            if held and held["holder"] == self._holder:
                self._settings.remove("lease", self._name)
