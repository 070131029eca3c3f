"""The reader of one request: theme, time zone, role, and the present."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from starlette.requests import Request

from curio_persistence.console.security.roles import role_of
from curio_persistence.tables.keys import ApiKey

THEME_COOKIE, ZONE_COOKIE = "curio_theme", "curio_zone"
THEMES = ("system", "light", "dark")


@dataclass(frozen=True)
class Viewer:
    """The reader, as far as pages need to know."""

    theme: str
    zone: tzinfo
    zone_name: str
    role: str
    now: datetime
    has_zone: bool = True
    """False while the browser has not told its time zone."""
    key: ApiKey | None = None
    """The key of a reader of a team's console."""

    @property
    def place(self) -> str:
        """The last word of the zone: `Berlin`, `UTC`."""
        return self.zone_name.rpartition("/")[2].replace("_", " ")

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the reader's zone; the moment itself at the ends of the calendar."""
        try:
            return moment.astimezone(self.zone)
        except (OverflowError, ValueError):
            return moment


def viewer_of(request: Request, now: datetime) -> Viewer:
    theme = request.cookies.get(THEME_COOKIE, "")
    told = request.cookies.get(ZONE_COOKIE, "").replace("%2F", "/")
    name = told if zone_named(told) else machine_zone()
    return Viewer(
        theme if theme in THEMES else "system",
        zone_named(name) or UTC,
        name,
        role_of(request),
        now,
        has_zone=name == told,
        key=request.scope.get("curio.key"),
    )


@lru_cache(maxsize=64)
def zone_named(name: str) -> tzinfo | None:
    """Return the time zone of an IANA name, None where it is not known here."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


@lru_cache(maxsize=1)
def machine_zone() -> str:
    """Return the IANA name of this machine's time zone, `UTC` where it has none."""
    try:
        target = Path("/etc/localtime").resolve().as_posix()
    except OSError:
        return "UTC"
    _, found, name = target.partition("/zoneinfo/")
    if name == "Etc/UTC":  # Browsers call it UTC, and would ask for the first page again.
        return "UTC"
    return name if found and zone_named(name) else "UTC"
