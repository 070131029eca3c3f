"""Numbers and times in words, the same on a terminal and on a page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

NOTHING = "–"

_UNITS = (("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12))
_BYTES = (("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12))


def local_time(moment: datetime | None, timespec: str = "seconds") -> str:
    """Return a time as `2026-11-20 10:30:05`, in the local time zone."""
    if moment is None:
        return NOTHING
    try:
        local = moment.astimezone()
    except (OverflowError, ValueError, OSError):  # The first or the last day there is.
        local = moment
    return local.replace(tzinfo=None).isoformat(" ", timespec)


def duration(begin: datetime | None, end: datetime | None) -> str:
    """`0.4 ms`, `850 ms`, `3.2 s`, `4m 05s`, `2h 03m` or `3d 04h`."""
    if begin is None or end is None:
        return NOTHING
    return span((end - begin) / timedelta(milliseconds=1))


def span(milliseconds: float) -> str:
    """A length of time as `duration` says it."""
    if milliseconds < 0:
        return f"-{span(-milliseconds)}"
    if 0 < milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    whole = round(milliseconds)
    if whole < 1000:
        return f"{whole} ms"
    if whole < 59_950:
        return f"{whole / 1000:.1f} s"
    minutes, seconds = divmod(round(whole / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02d}h"
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {seconds:02d}s"


def money(dollars: Decimal | None) -> str:
    """`$1,200.50`, exact."""
    return "unknown" if dollars is None else f"${dollars:,f}"


def price(dollars: Decimal | None) -> str:
    """`$1,200.50`, `$0.0398` or `$0.0000012`: rounded to what a reader compares."""
    if dollars is None:
        return "unknown"
    size = abs(dollars)
    sign = "-" if dollars < 0 else ""
    if size >= 1 or size == 0:
        return f"{sign}${size:,.2f}"
    if size >= 0.0001:
        return f"{sign}${size:.4f}"
    places = 1 - size.adjusted()
    return f"{sign}${size:.{min(places, 20)}f}"


def number(value: float | None) -> str:
    """`7,076`, `28.7 k` or `20.2 M`: what is below ten thousand is exact."""
    return NOTHING if value is None else _scaled(value, 10_000, _UNITS, f"{value:,}")


def counted(count: int, noun: str) -> str:
    """`1 model call`, `2 model calls` or `28.7 k model calls`."""
    return f"{number(count)} {noun}{'s' * (count != 1)}"


def size(count: int | None) -> str:
    """`411 bytes`, `28.7 kB` or `20.2 MB`."""
    if count is None:
        return NOTHING
    return _scaled(count, 1000, _BYTES, "1 byte" if count == 1 else f"{count} bytes")


def _scaled(value: float, exact_below: int, units: tuple[tuple[str, int], ...], exact: str) -> str:
    """Return three digits and a unit, without zeros at their end."""
    if abs(value) < exact_below:
        return exact
    for unit, factor in units:
        scaled = value / factor
        if abs(scaled) < 999.5 or unit == units[-1][0]:
            break
    digits = max(0, 3 - len(f"{abs(scaled):.0f}"))
    text = f"{scaled:,.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"


def share(part: float, whole: float) -> str:
    """`7.2 %`, `66 %`, or a dash where there is no whole."""
    if not whole:
        return NOTHING
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"


def ago(moment: datetime | None, now: datetime) -> str:
    """`12 s ago`, `33 min ago`, `19 h ago`, `2 d ago`; `in 5 min` for what is to come."""
    if moment is None:
        return NOTHING
    seconds = (now - moment).total_seconds()
    words = _rough(abs(seconds))
    if words == "0 s":
        return "now"
    return f"in {words}" if seconds < 0 else f"{words} ago"


def _rough(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:,.0f} d"
