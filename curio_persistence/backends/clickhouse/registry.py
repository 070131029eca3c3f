"""List the databases that a replica has; let one program at a time write the rows of each."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from curio_persistence.backends.clickhouse.client import ClickHouseClient
from curio_persistence.clock import utc_now
from curio_persistence.errors import BusyError, ConflictError, UnsupportedError
from curio_persistence.store.change_feed import Watermark
from curio_persistence.store.codecs import encode_time

_SOURCES = 1 << 15
"""The number of sources that a replica has room for."""
_ATTEMPTS = 20
_LASTS = 60.0
"""Seconds for which a lease is valid."""
_SETTLES = 0.2
"""Seconds in which a program that has found no lease writes its own."""
_NOW = "toUnixTimestamp64Milli(now64(3)) / 1000"
"""The server's clock in SQL, in seconds."""
_held: set[str] = set()
"""The leases that replicators in this process have, or are about to take."""


class Source(NamedTuple):
    """A database that is replicated."""

    name: str
    number: int
    identity: str
    location: str


def sources(client: ClickHouseClient) -> list[Source]:
    """Return the sources of a replica."""
    found = client.rows(
        "SELECT source_name, number, identity, location FROM replica_sources FINAL ORDER BY number"
    )
    return [Source(*row) for row in found]


def seconds_behind(client: ClickHouseClient) -> dict[str, float]:
    """Return for each source the seconds since all its committed rows had been sent."""
    return dict(
        client.rows(
            f"SELECT source_name, {_NOW} - toFloat64(mark) FROM replica_sync FINAL "
            "WHERE name = 'current'"
        )
    )


def note_current(client: ClickHouseClient, source: str, ago: float) -> None:
    """Note that the replica has all rows committed so many seconds ago, by the server's clock."""
    client.command(
        "INSERT INTO replica_sync (source_name, name, n, mark, intent) SELECT %s, 'current', "
        f"toUnixTimestamp64Micro(now64(6)), toString({_NOW} - %s), ''",
        (source, ago),
    )


def waited_for(client: ClickHouseClient, table: str) -> frozenset[str]:
    """Return the open transactions of sources whose rows of a table the replicators wait for.

    Also those that have ended while their rows are being sent: the intent is noted before.
    """
    noted = "SELECT mark, intent FROM replica_sync FINAL WHERE name = %s"
    rows = client.rows(noted, (table,))
    marks = [mark for mark, _ in rows if mark]
    marks += [json.loads(intent)[1] for _, intent in rows if intent]
    gaps = [each for mark in marks for each in Watermark.parse(mark).gaps]
    return frozenset(name for each in gaps for name in each.waiting)


def source_named(client: ClickHouseClient, name: str) -> Source | None:
    """Return a source by its name."""
    return next((each for each in sources(client) if each.name == name), None)


def register(client: ClickHouseClient, name: str, identity: str, location: str) -> Source:
    """Return the source with a name, which gets a number of its own if it is new.

    Raise ConflictError if the name is another database's.
    """
    for _ in range(_ATTEMPTS):
        known = sources(client)
        mine = next((each for each in known if each.name == name), None)
        if mine is None:
            _add(client, Source(name, _free_number(known), identity, location))
            time.sleep(random.uniform(0, _SETTLES))
        elif mine.identity != identity:
            raise ConflictError(
                f"{client.location} has another database under the name {name!r}: that of "
                f"{mine.location}. Give this one another name (--source, source=)."
            )
        elif [each.number for each in known].count(mine.number) == 1:
            return mine
        else:  # Another program registered another source in this moment.
            _add(client, mine._replace(number=_free_number(known)))
            time.sleep(random.uniform(0, _SETTLES))
    raise BusyError(f"Others keep registering sources in {client.location}. Try again.")


def _free_number(known: list[Source]) -> int:
    number = max((each.number for each in known), default=-1) + 1
    if number >= _SOURCES:
        raise UnsupportedError(f"A replica has room for {_SOURCES} sources.")
    return number


def _add(client: ClickHouseClient, source: Source) -> None:
    client.command(
        "INSERT INTO replica_sources "
        "(source_name, number, identity, location, created_at, version) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (*source, encode_time(utc_now())[:26], time.time_ns()),
    )


class Lease:
    """The right to write the rows of a source, which one program has at a time.

    It is a row that says who has it, until when; the program that has written it last has it.
    """

    def __init__(
        self, client: ClickHouseClient, source: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._source = source
        self._now = now
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._written = float("-inf")

    def take(self) -> None:
        """Take the lease; raise BusyError while another program has it."""
        self._refuse_others()
        _held.add(self._holder)
        try:
            self._write(_LASTS)
            time.sleep(_SETTLES)
            self._refuse_others()
        except BaseException:
            _held.discard(self._holder)
            raise

    def keep(self) -> None:
        """Prolong the lease in time; raise BusyError if another program has it."""
        if self._now() - self._written > _LASTS / 4:
            self._refuse_others()
            self._write(_LASTS)

    def give_back(self) -> None:
        """Let others have the lease at once."""
        _held.discard(self._holder)
        if self._stored()[0] == self._holder:
            self._write(0)

    def _refuse_others(self) -> None:
        holder, left = self._stored()
        if holder == self._holder or left <= 0 or _has_ended(holder):
            return
        host, process, _ = holder.rsplit(":", 2)
        raise BusyError(
            f"Another replicator writes {self._source!r} to {self._client.location}: process "
            f"{process} on {host}. End one of them; when it was killed, its right ends in "
            f"{left:.0f} seconds."
        )

    def _stored(self) -> tuple[str, float]:
        """Return who has the lease, and for how many seconds."""
        found = self._client.rows(
            f"SELECT intent, toFloat64(mark) - {_NOW} "
            "FROM replica_sync FINAL WHERE source_name = %s AND name = 'lease'",
            (self._source,),
        )
        return found[0] if found else ("", 0.0)

    def _write(self, seconds: float) -> None:
        self._client.command(
            "INSERT INTO replica_sync (source_name, name, n, mark, intent) SELECT %s, 'lease', "
            "toUnixTimestamp64Micro(now64(6)), "
            f"toString({_NOW} + %s), %s",
            (self._source, seconds, self._holder),
        )
        self._written = self._now()


def _has_ended(holder: str) -> bool:
    """Return whether a lease belongs to a process of this machine that has ended.

    One with the number of this process is left from an earlier one, unless a thread holds it.
    """
    host, process, _ = holder.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    if int(process) == os.getpid():
        return holder not in _held
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
