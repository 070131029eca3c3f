"""Answers "why does it not use my DB_PATH?": where each value in force is from, and what is not."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from curio_persistence.config.settings import (
    ENVIRONMENT,
    LIBPQ,
    SERVER_VARIABLES,
    Place,
    Setting,
    shown,
)

_LIBPQ_VARIABLES = {libpq.variable: name for name, libpq in LIBPQ.items()}
_OWN_URL, _HOSTS_URL = "CURIO_DATABASE_URL", "DATABASE_URL"


class Explanation:
    """Of a configuration that was made from some places.

    `in_force` are its values by name; those that are `defaults` nobody need have said. `variables`
    are the names that the database's values have in an environment, `beside` those of values that
    are looked up by themselves, whatever names the database.
    """

    def __init__(
        self,
        in_force: Mapping[str, Any],
        defaults: Collection[str],
        variables: Mapping[str, str],
        beside: Mapping[str, str],
        found: Sequence[Place],
    ) -> None:
        self._in_force = in_force
        self._defaults = defaults
        self._variables = variables
        self._beside = beside
        self._found = found
        self._first = {name: place for place in reversed(found) for name in place.variables}
        self._sources = {
            name: place.source(name) for name, place in self._first.items() if place.variables[name]
        }
        ours = (name for name in variables if name in self._sources)
        self._decider = next(
            (n for n in (_OWN_URL, next(ours, ""), _HOSTS_URL) if n in self._sources), ""
        )

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
        beside = {value: variable for variable, value in self._beside.items()}
        if name in beside:
            return self._sources.get(beside[name], "default")
        if self._decider not in self._variables:
            return (
                "default" if name in self._defaults else self._sources.get(self._decider, "default")
            )
        said_by = (name.upper(), *(SERVER_VARIABLES if name == "db_type" else ()))
        return next((self._sources[v] for v in said_by if v in self._sources), "default")

    def _unused(self) -> Iterator[Setting]:
        known = (_OWN_URL, *self._variables, *self._beside, _HOSTS_URL, *_LIBPQ_VARIABLES)
        for place in self._found:
            for variable in known:
                value = place.variables.get(variable)
                why = value and not place.is_argument and self._why_not(variable, place)
                if why:
                    name = self._name(variable)
                    yield Setting(name, shown(name, value), place.source(variable), why)

    def _name(self, variable: str) -> str:
        return {**_LIBPQ_VARIABLES, **self._variables, **self._beside}.get(variable, "url")

    def _why_not(self, variable: str, place: Place) -> str:
        """Why what a place says is not in force; empty if it is."""
        if variable in _LIBPQ_VARIABLES:
            return self._why_not_libpq(variable, place)
        if self._first[variable] is not place:
            return f"{self._first[variable].source(variable)} comes first"
        if variable in (self._decider, *self._beside) and variable not in self._variables:
            return ""
        if variable in self._variables and self._decider in self._variables:
            kind = self._in_force["db_type"]
            return "" if self._variables[variable] in self._in_force else f"{kind} has none"
        return f"{self._sources[self._decider]} comes first"

    def _why_not_libpq(self, variable: str, place: Place) -> str:
        name = self._name(variable)
        if name not in self._in_force:
            return "PostgreSQL is not chosen"
        if place.name != ENVIRONMENT:
            return "libpq looks into the environment only"
        return f"{self._source(name)} comes first" if self._in_force[name] is not None else ""
