"""Read values at a place in a file; an impossible value is a problem, and unknown."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.json_lines import parse
from curio_persistence.importers.common.writer import SourceLocation
from curio_persistence.store.json_text import json_text

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

_MOST_DOLLARS = 1_000_000


class Place(NamedTuple):
    """The place of a record: a line of a file, or a row or message in it."""

    context: SessionContext
    file: str
    line: int | None = None
    what: str = ""
    """The row of a database, or the message of a document."""

    @property
    def location(self) -> SourceLocation:
        return SourceLocation(self._name, self.line)

    @property
    def _name(self) -> str:
        return f"{self.file} {self.what}" if self.what else self.file

    def problem(self, why: object) -> None:
        """Tell that something cannot be read."""
        self.context.problem(self._name, self.line, why)

    def tokens(self, value: Any) -> int | None:
        """Return a number of tokens; None where there is none."""
        return self.context.tokens(value, self._name, self.line)

    def count(self, values: Any, name: str) -> int | None:  # type: ignore[override]  # A tuple's.
        """Return the number of tokens that a member tells."""
        return self.tokens(member(values, name))

    def time(self, value: Any) -> datetime | None:
        """Return a time, as text or in seconds since 1970."""
        return self.context.moment(value, self._name, self.line)

    def utc(self, value: Any) -> datetime | None:
        """Return a time that the source always writes in UTC, with or without saying so."""
        is_bare = isinstance(value, str) and not value.endswith("Z") and "+" not in value
        return self.time(f"{value}Z" if is_bare else value)

    def milliseconds(self, value: Any) -> datetime | None:
        """Return a time in milliseconds since 1970."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.time(value / 1000 if is_number else value)

    def cost(self, value: Any) -> Decimal | None:
        """Return a cost in US dollars; 0 is what a subscription tells, and not the cost."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not value:
            return None
        if 0 < value < _MOST_DOLLARS:
            return Decimal(str(value))
        self.problem(f"has a cost that cannot be: {value!r:.40}")
        return None

    def json(self, text: Any) -> Any:
        """Return the value that a JSON text holds; None, and a problem, if it holds none."""
        if not isinstance(text, str):
            return None
        try:
            return parse(text.encode("utf-8", "surrogatepass"))
        except InvalidValueError as error:
            self.problem(error)
            return None


def member(value: Any, *names: str) -> Any:
    """Return what lies in objects inside one another; None where one of them is missing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def an_object(value: Any) -> dict[str, Any]:
    """Return an object as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects_in(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; none for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return a text, the text of a list of content blocks, or JSON of anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and any(isinstance(member(each, "text"), str) for each in value):
        return text_of(value)
    return "" if value is None else json_text(value)


def text_of(value: Any) -> str:
    """Return a text; of a list of parts, those that are text."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return text_of(value.get("text"))
    if isinstance(value, list):
        return "\n".join(filter(None, map(text_of, value)))
    return ""
