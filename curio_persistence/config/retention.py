"""The retention policy that the environment sets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from curio_persistence.capabilities.lifecycle import RetentionPolicy
from curio_persistence.config.settings import Settings, sources
from curio_persistence.errors import ConfigurationError

_VARIABLES = (
    "CURIO_RETENTION_DAYS",
    "AGDD_STORAGE_RETENTION_DAYS",
    "MAGSAG_STORAGE_RETENTION_DAYS",
    "RETENTION_DAYS",
)
"""The variables that are understood, by rank: the last ones are those of other systems."""
_MOST_DIGITS = 6


def retention_from_env(
    environ: Mapping[str, str] | None = None, *, dotenv: bool = True
) -> RetentionPolicy | None:
    """Return the policy of `CURIO_RETENTION_DAYS`, named after it.

    The environment sets it, or the nearest `.env`. None if it is not set, or 0: keep runs for
    ever. `AGDD_STORAGE_RETENTION_DAYS`, `MAGSAG_STORAGE_RETENTION_DAYS` and `RETENTION_DAYS` are
    understood too.
    """
    values = Settings(sources(environ, dotenv=dotenv)).values
    name = next((name for name in _VARIABLES if name in values), None)
    if name is None:
        return None
    days = values[name]
    if not days.isascii() or not days.isdigit() or len(days) > _MOST_DIGITS:
        raise ConfigurationError(
            f"{name} is a whole number of days, 0 to keep runs for ever, not {days!r}."
        )
    return RetentionPolicy(name, timedelta(days=int(days))) if int(days) else None
