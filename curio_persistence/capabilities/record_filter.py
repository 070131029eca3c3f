"""The choice of records of one kind: a value, made once from the filters of a call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

from curio_persistence.capabilities.windows import BOUNDS, bound, checked_moment
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import Filter, Select, Where, refuse_unknown
from curio_persistence.store.payload_match import encode_pattern, read_pattern
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS

Value = str | tuple[str, ...]
"""The normal form of a filter's value: a text, or several in their order, each once."""


class Condition(NamedTuple):
    """A filter that is not a column's value: how to check it, and to compile its normal form.

    `read` returns from a normal form, or from its copy in JSON, what a caller would give.
    """

    checked: Callable[[Any], Value]
    where: Callable[[Any], Where]
    read: Callable[[Any], Any] = lambda value: value


@dataclass(frozen=True)
class RecordFilter:
    """The filters that a caller gave, checked and in normal form; None was not given.

    It can be compared and hashed, and kept as JSON. How long ago a window begins stays as it was
    given, so that a kept filter moves with the clock.
    """

    kind: FilterKind = field(repr=False)
    given: tuple[tuple[str, Value], ...] = ()

    def where(self, clock: Clock) -> Where:
        """Return the filters of the store; a window that moves with the clock is as of now."""
        table, of_run, conditions = self.kind.table, self.kind.of_run, self.kind.conditions
        own: list[Filter] = []
        runs: list[Filter] = []
        for name, value in self.given:
            if name in BOUNDS:
                own.append(bound(table.ages_by, BOUNDS[name], str(value), clock))
            elif name in conditions:
                own += conditions[name].where(value)
            else:
                (runs if name in of_run else own).append(equal(name, value))
        if runs:
            own.append(Filter("run_id", "in", Select(RUNS, "run_id", tuple(runs))))
        return tuple(own)

    def to_dict(self) -> dict[str, str | list[str]]:
        """Return the filters by name, as JSON has them."""
        return {name: v if isinstance(v, str) else list(v) for name, v in self.given}


@dataclass(frozen=True, eq=False)
class FilterKind:
    """The filters of one kind of records.

    `names` is the TypedDict of the filters. Each is a value of its column in `table`, or in the
    run of a record (`of_run`), unless it is a bound of a window or has a condition. One of several
    values may be asked for where its type in `names` is a Collection too.
    """

    table: Table[Any]
    names: type
    of_run: tuple[str, ...] = ()
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def of(self, filters: Mapping[str, Any]) -> RecordFilter:
        """Return the choice that keywords describe.

        Raise TypeError for an unknown name, InvalidValueError for what no such record can have.
        """
        refuse_unknown(filters, self.names)
        given = {name: value for name, value in filters.items() if value is not None}
        return RecordFilter(self, tuple((n, self._checked(n, given[n])) for n in sorted(given)))

    def from_dict(self, data: Mapping[str, Any]) -> RecordFilter:
        """Return the choice that `RecordFilter.to_dict` described; raise as `of` does."""
        if not isinstance(data, Mapping):
            raise InvalidValueError(
                f"Filters are a dict of names and values, not {type(data).__name__}."
            )
        reading = self.conditions
        return self.of({n: reading[n].read(v) if n in reading else v for n, v in data.items()})

    @cached_property
    def _several(self) -> frozenset[str]:
        """The filters of which one of several values may be asked for."""
        types = self.names.__annotations__
        return frozenset(name for name in types if "Collection" in str(types[name]))

    def _checked(self, name: str, value: Any) -> Value:
        if name in BOUNDS:
            return checked_moment(name, value)
        if name in self.conditions:
            return self.conditions[name].checked(value)
        table = RUNS if name in self.of_run else self.table
        if name in self._several:
            return checked_values(table, name, value)
        one: str = table.filter(name, "=", value).value
        return one


def checked_values(table: Table[Any], column: str, value: Any) -> Value:
    """Return one value of a column, or any of several, in normal form."""
    checked: Value = table.filter_any(column, value).value
    return checked


def _checked_tags(tags: Any) -> Value:
    """Return tags in stored form, each once."""
    encoded = RUNS.encode_value("tags", (tags,) if isinstance(tags, str) else tags)
    return tuple(sorted(json.loads(str(encoded)))) if encoded else ()


TAG_CONDITIONS: Mapping[str, Condition] = {
    "tags": Condition(_checked_tags, lambda tags: tuple(Filter("tags", "has", t) for t in tags)),
    "any_tags": Condition(_checked_tags, lambda tags: (Filter("tags", "has any", tags),)),
}
"""The filters of records with tags: all of some, and any of some."""


def of_their_runs(conditions: Mapping[str, Condition]) -> dict[str, Condition]:
    """Return conditions on runs as those on the records that belong to them."""

    def where(of_run: Condition, value: Any) -> Where:
        return (Filter("run_id", "in", Select(RUNS, "run_id", of_run.where(value))),)

    return {name: each._replace(where=partial(where, each)) for name, each in conditions.items()}


TAGS_OF_RUN: Mapping[str, Condition] = of_their_runs(TAG_CONDITIONS)
"""The filters of records by the tags of their runs."""


def of_runs(column: str, name: str) -> Condition:
    """Return the filter for records whose `column` is that of runs with a value as `name`."""
    return Condition(
        partial(checked_values, RUNS, name),
        lambda value: (Filter(column, "in", Select(RUNS, column, (equal(name, value),))),),
    )


def equal(column: str, value: Value) -> Filter:
    """Return the filter for a value in normal form, or for any of several."""
    return Filter(column, "=" if isinstance(value, str) else "in", value)


def containing(name: str, column: str) -> Condition:
    """Return the condition on values inside a column of JSON; `name` is that of the argument."""

    def checked(values: Any) -> Value:
        if not isinstance(values, Mapping):
            raise InvalidValueError(
                f"{name} is a dict of paths and values, not {type(values).__name__}.", field=name
            )
        try:
            return tuple(sorted({encode_pattern(path, v) for path, v in values.items()}))
        except (ValueError, TypeError) as error:
            raise InvalidValueError(f"{name} {error}.", field=name) from error

    def where(patterns: tuple[str, ...]) -> Where:
        return tuple(Filter(column, "contains", pattern) for pattern in patterns)

    def read(patterns: Any) -> dict[tuple[str, ...], Any]:
        try:
            return dict(map(read_pattern, patterns))
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise InvalidValueError(
                f"{name} is not a list of patterns: {error}.", field=name
            ) from error

    return Condition(checked, where, read)
