"""The settings of retention and archiving, which only the environment has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from curio_persistence.capabilities.lifecycle import RetentionPolicy
from curio_persistence.config.settings import (
    DESTINATION,
    STORAGE_PREFIXES,
    Given,
    Setting,
    Settings,
    given_or_set,
    shown,
)
from curio_persistence.errors import ConfigurationError

_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_MOST_DIGITS = 6
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class LifecycleConfig:
    """How long runs are kept, and where they are moved, as the environment says.

    Runs are moved to `archive_destination`, if there is one, `hot_days` after their end.
    `policy` deletes what is left.
    """

    policy: RetentionPolicy | None = None
    hot_days: int = 7
    max_disk_mb: int | None = None
    archive_destination: str | None = None

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: bool = True,
        given: Given | None = None,
    ) -> LifecycleConfig:
        """Return what the environment says, or the nearest `.env`; see `DatabaseConfig.from_env`.

        `CURIO_RETENTION_DAYS` (0 is for ever) and `CURIO_MAX_DISK_MB` make the policy, which is
        named after its variable. `CURIO_HOT_DAYS` and `CURIO_ARCHIVE_DESTINATION` are for the
        archive, which `CURIO_ARCHIVE_ENABLED=0` switches off. The same names behind
        `AGDD_STORAGE_` or `MAGSAG_STORAGE_`, and `RETENTION_DAYS`, are understood too.
        """
        found = _Found(given_or_set(environ, dotenv, given))
        hot_days = found.value("hot_days") or cls.hot_days
        megabytes = found.value("max_disk_mb")
        return cls(_policy(found), hot_days, megabytes, _destination(found, hot_days))

    @classmethod
    def explain(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: bool = True,
        given: Given | None = None,
    ) -> list[Setting]:
        """Return each setting and its source, then what is set but ignored, and why."""
        config = cls.from_env(environ, dotenv=dotenv, given=given)  # Which refuses what is wrong.
        found = _Found(given_or_set(environ, dotenv, given))
        defaults = {"hot_days": config.hot_days}
        defaults["archive_enabled"] = config.archive_destination is not None
        settings = [found.setting(name, defaults.get(name)) for name in _READ]
        return [*settings, *found.unused()]


def _days(variable: str, text: str) -> int:
    return _number(variable, text, "a whole number of days, 0 to keep runs for ever")


def _hot_days(variable: str, text: str) -> int:
    what = "a whole number of days, 1 at least"
    return _number(variable, text, what, least=1)


def _megabytes(variable: str, text: str) -> int:
    return _number(variable, text, "a whole number of megabytes, 1 at least", least=1, digits=9)


def _number(
    variable: str, text: str, what: str, *, least: int = 0, digits: int = _MOST_DIGITS
) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= digits
    if not is_number or int(text) < least:
        raise ConfigurationError(f"{variable} is {what}, not {text!r}.")
    return int(text)


def _switch(variable: str, text: str) -> bool:
    if text.lower() not in _ON + _OFF:
        raise ConfigurationError(f"{variable} is 1 or 0, not {text!r}.")
    return text.lower() in _ON


def _text(variable: str, text: str) -> str:
    return text


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "retention_days": _days,
    "max_disk_mb": _megabytes,
    "hot_days": _hot_days,
    "archive_enabled": _switch,
    "archive_destination": _text,
}
_OTHERS = {"retention_days": ("RETENTION_DAYS",)}


def _variables(name: str) -> tuple[str, ...]:
    """Return the variables of a setting, by rank: the last ones are those of other systems."""
    return (*(prefix + name.upper() for prefix in STORAGE_PREFIXES), *_OTHERS.get(name, ()))


class _Found:
    """The variables that are set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def variable(self, name: str) -> str:
        """Return the variable that decides about a setting; empty if none is set."""
        return next((each for each in _variables(name) if each in self._settings.values), "")

    def value(self, name: str) -> Any:
        variable = self.variable(name)
        return _READ[name](variable, self._settings.values[variable]) if variable else None

    def setting(self, name: str, default: Any) -> Setting:
        variable = self.variable(name)
        if not variable:
            return Setting(name, default, "default")
        return Setting(name, _shown(name, self.value(name)), self._settings.source(variable))

    def unused(self) -> Iterator[Setting]:
        """Yield what is set but overruled."""
        for source in self._settings.sources:
            for name in _READ:
                used = self.variable(name)
                for variable in _variables(name):
                    value = source.variables.get(variable)
                    is_used = variable == used and self._settings.source_of(used) is source
                    if value and used and not is_used:
                        why = f"{self._settings.source(used)} comes first"
                        yield Setting(name, _shown(name, value), source.describe(variable), why)


def _policy(found: _Found) -> RetentionPolicy | None:
    """Return the policy that is named after the variable that sets it."""
    days, megabytes = found.value("retention_days"), found.value("max_disk_mb")
    if not days and not megabytes:
        return None
    return RetentionPolicy(
        found.variable("retention_days" if days else "max_disk_mb"),
        keep=timedelta(days=days) if days else None,
        max_bytes=megabytes * _MEGABYTE if megabytes else None,
    )


def _destination(found: _Found, hot_days: int) -> str | None:
    """Return where runs are moved; refuse a policy that deletes them before."""
    destination, enabled = found.value("archive_destination"), found.value("archive_enabled")
    if enabled and destination is None:
        raise ConfigurationError(
            f"{found.variable('archive_enabled')} is set, but not where runs are moved: set "
            "CURIO_ARCHIVE_DESTINATION, such as s3://bucket/prefix."
        )
    if destination is None or enabled is False:
        return None
    days = found.value("retention_days")
    if days and days < hot_days:
        raise ConfigurationError(
            f"{found.variable('retention_days')}={days} would delete runs before they are moved to "
            f"{_shown(DESTINATION, destination)}, {hot_days} days after their end: set "
            f"CURIO_HOT_DAYS to {days} at most."
        )
    return str(destination)


def _shown(name: str, value: Any) -> Any:
    return shown("url", value) if name == DESTINATION and "://" in value else value
