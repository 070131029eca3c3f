"""Answers "why does it not use my DB_PATH?": where each value in force is from, and what is not."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from curio_persistence.config.settings import (
    ENVIRONMENT,
    HOSTS_URL,
    LIBPQ,
    OWN_URL,
    SERVER_VARIABLES,
    ConfigSource,
    Setting,
    Settings,
    shown,
)
from curio_persistence.recording import switch

_LIBPQ_VARIABLES = {libpq.variable: name for name, libpq in LIBPQ.items()}


class Explanation:
    """Explain a configuration.

    `in_force` are its values by name; `defaults` are the names whose values need no source.
    `variables` are the names of values by variable. `used` are the variables of `settings` that the
    configuration is made from.
    """

    def __init__(
        self,
        in_force: Mapping[str, Any],
        defaults: Collection[str],
        variables: Mapping[str, str],
        settings: Settings,
        used: Collection[str],
    ) -> None:
        self._in_force = in_force
        self._defaults = defaults
        self._variables = variables
        self._settings = settings
        self._used = used

    def settings(self) -> list[Setting]:
        """The values in force, and then the others."""
        return [*map(self._setting, self._in_force), *self._unused()]

    def _setting(self, name: str) -> Setting:
        value = self._in_force[name]
        variable = LIBPQ[name].variable if name in LIBPQ else ""
        if value is None and os.environ.get(variable):
            return Setting(name, shown(name, os.environ[variable]), f"{ENVIRONMENT}: {variable}")
        return Setting(name, shown(name, value), self._source(name))

    def _source(self, name: str) -> str:
        if name in LIBPQ and self._in_force[name] is None:
            return "libpq"
        said_by = [variable for variable, named in self._variables.items() if named == name]
        if name == "db_type":
            said_by += SERVER_VARIABLES
        for variable in said_by:
            if variable in self._used:
                return self._settings.source(variable)
        decider = self._settings.decider
        if decider in (OWN_URL, HOSTS_URL) and name not in self._defaults:
            return self._settings.source(decider)
        return "default"

    def _unused(self) -> Iterator[Setting]:
        known = (OWN_URL, *self._variables, HOSTS_URL, *_LIBPQ_VARIABLES)
        for source in self._settings.sources:
            for variable in known:
                value = source.variables.get(variable)
                why = value and not source.is_argument and self._why_not(variable, source)
                if why:
                    name = self._name(variable)
                    yield Setting(name, shown(name, value), source.describe(variable), why)

    def _name(self, variable: str) -> str:
        return {**_LIBPQ_VARIABLES, **self._variables}.get(variable, "url")

    def _why_not(self, variable: str, source: ConfigSource) -> str:
        """Return why a variable of a source is not in force; empty if it is."""
        settings = self._settings
        if variable in _LIBPQ_VARIABLES:
            return self._why_not_libpq(variable, source)
        if variable == switch.VARIABLE and source.name != ENVIRONMENT:
            return "recording looks into the environment only"
        if settings.source_of(variable) is not source:
            return f"{settings.source(variable)} comes first"
        if variable in self._used:
            return ""
        if settings.is_foreign(variable):
            return "it names a database of another kind"
        decided_by_url = settings.decider in (OWN_URL, HOSTS_URL)
        if variable in self._variables and not decided_by_url:
            return f"{self._in_force['db_type']} has none"
        return f"{settings.source(settings.decider)} comes first"

    def _why_not_libpq(self, variable: str, source: ConfigSource) -> str:
        name = self._name(variable)
        if name not in self._in_force:
            return "PostgreSQL is not chosen"
        if source.name != ENVIRONMENT:
            return "libpq looks into the environment only"
        return f"{self._source(name)} comes first" if self._in_force[name] is not None else ""
