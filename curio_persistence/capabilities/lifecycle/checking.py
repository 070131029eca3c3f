"""The checks of the lifecycle: whether rounds are done, and whether the clock may be right."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from curio_persistence.capabilities.lifecycle.rounds import FAILED, PLANNED, ROUND
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.clock import Clock
from curio_persistence.errors import UnsupportedError
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

_LONG_AGO = timedelta(days=7)
_LATE = timedelta(hours=6)
"""How long a round may be late: the program that planned it has ended, or works on another."""
_ADVICE = "To expire runs each day: curio-persistence lifecycle"
_MEND = "Mend that, and try again: curio-persistence lifecycle --once"
_JUMP = timedelta(days=366)
"""A database that stored nothing for longer than this was rather opened with a wrong clock."""


def check_rounds(settings: Settings, clock: Clock, last: str) -> HealthCheck:
    """Return what policies there are, when runs last expired, and when they will.

    `last` is the name of the stored report.
    """
    count = len(settings.of("policy"))
    policies = f"{count:,} policies" if count else "no policy is stored"
    report, rounds = settings.of("report").get(last), settings.of(ROUND)
    if failed := rounds.get(FAILED):
        said = f"{policies}; the round of {_moment(failed['at'])} failed: {failed['message']}"
        return HealthCheck("retention", "warning", said, _MEND)
    if report is None:
        if not count:
            return HealthCheck("retention", "ok", f"{policies}: runs are kept for ever")
        return HealthCheck("retention", "warning", f"{policies}, but none was used", _ADVICE)
    said = f"{policies}; {_told(report)}"
    now = clock.now()
    is_late = bool(count) and now - datetime.fromisoformat(report["ended_at"]) > _LONG_AGO
    if plan := rounds.get(PLANNED):
        said += f"; the next round is on {_moment(plan['at'])}"
        is_late = is_late or now - datetime.fromisoformat(plan["at"]) > _LATE
    if is_late:
        return HealthCheck("retention", "warning", said, _ADVICE)
    return HealthCheck("retention", "ok", said)


def _told(report: dict[str, Any]) -> str:
    moved = report.get("archived", 0)
    of_them = f", of which {moved:,} were archived," if moved else ""
    return f"{report['runs_deleted']:,} runs expired{of_them} on {_moment(report['ended_at'])}"


def _moment(stored: str) -> str:
    return f"{datetime.fromisoformat(stored):%Y-%m-%d %H:%M} UTC"


def check_clock(store: Store, clock: Clock) -> None:
    """Refuse to work if the clock is far ahead of all that is stored."""
    now = clock.now()
    newest = max(
        filter(None, (_newest(store, table, now) for table in (RUNS, EVENTS, USAGE))),
        default=None,
    )
    if newest is not None and now - newest > _JUMP:
        raise UnsupportedError(
            f"Nothing was deleted: the clock says {now:%Y-%m-%d}, but the newest record is of "
            f"{newest:%Y-%m-%d}. Set the clock right; if it is, pass check_clock=False "
            "(--no-clock-check)."
        )


def _newest(store: Store, table: Table[Any], now: datetime) -> datetime | None:
    """Return the time of the newest row of a table that is older than a day.

    Newer ones may have been stored under a wrong clock already.
    """
    yesterday = encode_time(now - timedelta(days=1))
    newest = (Order(table.ages_by, descending=True), Order("id", descending=True))
    old = (Filter(table.ages_by, "<", yesterday),)
    columns = store.select(table, old, order=newest, limit=1)
    stored = columns[table.names.index(table.ages_by)]
    return decode_time(stored[0]) if stored else None
