"""The filters of a list: from its form to the façade's values, and the links that change them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any

from starlette.datastructures import QueryParams

from curio_persistence.console.http.paths import query_text
from curio_persistence.console.request.moments import is_age, zoned
from curio_persistence.errors import InvalidValueError

SEVERAL = frozenset(
    (
        *("status", "tags", "any_tags", "event_type", "level", "model", "provider", "kinds"),
        *("action", "source", "project"),
    )
)
"""Filters that take several values: `status=error&status=timeout`."""
BY_PATH = frozenset(("payload", "metadata"))
"""Filters that take values at paths: `payload=tool=search&payload=result.count=3`."""
BOUNDS = frozenset(("since", "until"))
WHOLE = frozenset(("seq", "limit"))
RUN_FILTERS = (
    *("status", "agent_id", "tags", "any_tags", "session_id", "user_id", "parent_run_id"),
    *("run_id", "source", "project", "metadata", "since", "until"),
)
EVENT_FILTERS = (
    *("agent_id", "run_id", "session_id", "user_id", "event_type", "level", "min_level"),
    *("source", "project", "payload", "seq", "since", "until"),
)
SEARCH_FILTERS = (
    *("agent_id", "run_id", "session_id", "event_type", "level", "model"),
    *("since", "until"),
)
USAGE_FILTERS = (
    *("agent_id", "run_id", "session_id", "user_id", "model", "provider", "status"),
    *("source", "project", "since", "until"),
)


@dataclass(frozen=True)
class Filters:
    """The filters of a page: `chosen` has their texts, `further` the page's own parameters.

    `url` is the page's URL without its query. Values of filters that take several are tuples.
    """

    url: str
    chosen: Mapping[str, str | tuple[str, ...]]
    further: Mapping[str, str]

    @classmethod
    def of(
        cls,
        url: str,
        params: QueryParams,
        names: Iterable[str],
        further: Iterable[str] = ("cursor",),
    ) -> Filters:
        """Return what a query says; what is empty counts as left out.

        Raise InvalidValueError for a parameter that the page does not have.
        """
        names, further = tuple(names), tuple(further)
        chosen: dict[str, str | tuple[str, ...]] = {}
        own: dict[str, str] = {}
        for name in dict.fromkeys(params):
            values = tuple(dict.fromkeys(value for value in params.getlist(name) if value))
            if name not in names and name not in further:
                raise InvalidValueError(
                    f"{name!r} is no filter here. There are {', '.join(names)}.", field=name
                )
            if values and name in further:
                own[name] = values[-1]
            elif values:
                chosen[name] = values if name in SEVERAL | BY_PATH else values[-1]
        return cls(url, chosen, own)

    def values(self, zone: tzinfo = UTC) -> dict[str, Any]:
        """Return the filters as the façade takes them; times without a zone are in this one."""
        return {name: _value(name, text, zone) for name, text in self.chosen.items()}

    def get(self, name: str) -> str:
        """Return the text of a filter that takes one value; "" where it is not chosen."""
        found = self.chosen.get(name, "")
        return found if isinstance(found, str) else found[-1]

    def several(self, name: str) -> tuple[str, ...]:
        """Return the values of a filter that takes several."""
        found = self.chosen.get(name, ())
        return (found,) if isinstance(found, str) else found

    def choice(self, name: str, known: Sequence[str], usual: str) -> str:
        """Return one of the page's own parameters, which takes one of some values.

        Raise InvalidValueError for another value.
        """
        chosen = self.further.get(name, usual)
        if chosen not in known:
            raise InvalidValueError(
                f"{name} is one of {', '.join(known)}, not {chosen[:100]!r}.", field=name
            )
        return chosen

    @property
    def cursor(self) -> str | None:
        return self.further.get("cursor")

    def link(self, **further: Any) -> str:
        """Return the URL with these filters; the page's own parameters are those given."""
        return self.url + query_text({**self.chosen, **further})

    def with_(self, **changed: Any) -> str:
        """Return the URL with some filters changed, from the first page on; None drops one."""
        kept = {name: text for name, text in self.further.items() if name != "cursor"}
        return self.url + query_text({**self.chosen, **kept, **changed})

    def pager(self, next_cursor: str | None) -> dict[str, Any]:
        """Return the URLs of the first page and of the next one, None where there is none."""
        return {
            "newest": self.with_() if self.cursor else None,
            "older": self.with_(cursor=next_cursor) if next_cursor else None,
        }

    def without(self, name: str, value: str | None = None) -> str:
        """Return the URL without a filter, or without one of its values."""
        left = tuple(each for each in self.several(name) if each != value)
        return self.with_(**{name: (left or None) if value is not None else None})

    def toggled(self, name: str, value: str) -> str:
        """Return the URL in which a value of a filter is added, or taken away if it is there."""
        if value in self.several(name):
            return self.without(name, value)
        return self.with_(**{name: (*self.several(name), value)})

    def pairs(self) -> list[tuple[str, str]]:
        """Return all parameters but the cursor, as a form sends them again."""
        chosen = [(name, value) for name in self.chosen for value in self.several(name)]
        return [*chosen, *(pair for pair in self.further.items() if pair[0] != "cursor")]

    def told(self) -> list[tuple[str, str, str]]:
        """Return each chosen value with its name and the URL that drops it."""
        return [
            (name, value, self.without(name, value))
            for name in self.chosen
            for value in self.several(name)
        ]


def _value(name: str, text: str | tuple[str, ...], zone: tzinfo) -> Any:
    if name in BY_PATH:
        return _by_path(name, (text,) if isinstance(text, str) else text)
    if name in WHOLE:
        return _whole(name, str(text))
    if name in BOUNDS and not is_age(str(text)):
        with suppress(ValueError, OverflowError):  # The façade says what is wrong with it.
            return zoned(str(text), zone)
    return list(text) if isinstance(text, tuple) else text


def _by_path(name: str, given: Iterable[str]) -> dict[str, Any]:
    """Return values by their paths: JSON where a text is JSON, else the text."""
    wanted: dict[str, Any] = {}
    for each in given:
        path, equals, text = each.partition("=")
        if not path or not equals:
            raise InvalidValueError(
                f"{name} is written as path=value, such as tool_name=search, not {each!r}.",
                field=name,
            )
        if wanted.setdefault(path, value := _leaf(text)) != value:
            raise InvalidValueError(f"{name} {path} is given twice.", field=name)
    return wanted


def _leaf(text: str) -> Any:
    try:
        read = json.loads(text, parse_float=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(read, dict | list) else read


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidValueError(f"{name} is a whole number, not {text[:100]!r}.", field=name)
    return int(text)
