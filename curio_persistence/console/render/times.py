"""Moments in the reader's time zone, and in UTC for programs."""

from __future__ import annotations

from datetime import datetime

from curio_persistence.console.request.viewer import Viewer
from curio_persistence.console.request.windows import short_day


def moment_time(viewer: Viewer, moment: datetime) -> str:
    """Return `29 Nov 2026 09:20:00`."""
    local = viewer.local(moment)
    return f"{short_day(local)} {local.year:04d} {_seconds(local)}"


def clock_time(viewer: Viewer, moment: datetime) -> str:
    """Return `29 Nov 09:20:00`; with the year where that is another."""
    local = viewer.local(moment)
    year = "" if local.year == viewer.local(viewer.now).year else f" {local.year:04d}"
    return f"{short_day(local)}{year} {_seconds(local)}"


def minute_time(viewer: Viewer, moment: datetime) -> str:
    """Return `29 Nov 09:20`."""
    local = viewer.local(moment)
    return f"{short_day(local)} {local:%H:%M}"


def instant_time(viewer: Viewer, moment: datetime) -> str:
    """Return `09:20:00.123`, with the day where that is not today."""
    local = viewer.local(moment)
    time = f"{_seconds(local)}.{local.microsecond // 1000:03d}"
    if local.date() == viewer.local(viewer.now).date():
        return time
    return f"{clock_time(viewer, moment).rpartition(' ')[0]} {time}"


def iso_time(moment: datetime) -> str:
    """Return `2026-11-29T08:20:00.123Z`, for a `datetime` attribute."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(local: datetime) -> str:
    return f"{local.hour:02d}:{local.minute:02d}:{local.second:02d}"
