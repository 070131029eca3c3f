"""The options that pick records: one for each filter of the queries, the same in every command."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.cli.arguments.options import length_of_time
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import _ActionsContainer

    from curio_persistence import Persistence


class _Option(NamedTuple):
    """The option of a filter: its names and its help."""

    names: tuple[str, ...]
    help: str
    several: bool = False
    """True if it may be given more than once."""
    metavar: str | None = None
    read: Callable[[str], Any] = str


def _value_at_path(text: str) -> tuple[str, Any]:
    """Return a path into a JSON object, and the value wanted there."""
    import json  # Both take long to import, and few ever need them.
    from decimal import Decimal

    path, equals, value = text.partition("=")
    if not path or not equals:
        raise ArgumentTypeError(f"{text!r} is not PATH=VALUE, such as tool_name=search")
    try:
        read = json.loads(value, parse_float=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        return path, value
    return path, value if isinstance(read, dict | list) else read


_SEPARATOR = re.compile(r"[/\\]")
_ONE_OF = "given more than once, with one of these"
_VALUES = (
    "JSON numbers, true, false, null and text in quotation marks are that, anything else is text; "
    "given more than once, all of these"
)
_OPTIONS = {
    "agent_id": _Option(("--agent",), "only this agent's {records}", metavar="ID"),
    "run_id": _Option(("--run", "--run-id"), "only this run's {records}", metavar="ID"),
    "session_id": _Option(("--session",), "only {records} of this session", metavar="ID"),
    "user_id": _Option(("--user",), "only {records} for this user", metavar="ID"),
    "parent_run_id": _Option(("--parent",), "only {records} that this run began", metavar="ID"),
    "status": _Option(
        ("--status",),
        "only {records} with this status: of runs pending, running, completed (or succeeded), "
        "error, timeout (failed is both), cancelled (or canceled); of model calls success (or "
        f"succeeded), error (or failed); or another that an agent gave; {_ONE_OF}",
        several=True,
    ),
    "source": _Option(
        ("--source",), f"only {{records}} of runs of this tool, such as codex; {_ONE_OF}", True
    ),
    "project": _Option(
        ("--project",),
        f"only {{records}} of runs in this project: its path, or its last part; {_ONE_OF}",
        True,
    ),
    "tags": _Option(
        ("--tag",), "only {records} with this tag; given more than once, with all", several=True
    ),
    "any_tags": _Option(
        ("--any-tag",), f"only {{records}} with this tag; {_ONE_OF}", several=True, metavar="TAG"
    ),
    "metadata": _Option(
        ("--metadata",),
        "only {records} whose metadata has this value there, such as release=7 or plan=pro; "
        f"{_VALUES}",
        several=True,
        metavar="PATH=VALUE",
        read=_value_at_path,
    ),
    "event_type": _Option(
        ("--type",), "only {records} of this type; given more than once, of one of these", True
    ),
    "level": _Option(
        ("--level",),
        "only {records} of this level: debug, info, warning, error, critical, or another that an "
        "agent gave; given more than once, of one of these",
        several=True,
    ),
    "min_level": _Option(("--min-level",), "only {records} that are so severe", metavar="LEVEL"),
    "payload": _Option(
        ("--payload",),
        "only {records} whose payload has this value there, such as tool_name=search or "
        f"result.count=3; {_VALUES}",
        several=True,
        metavar="PATH=VALUE",
        read=_value_at_path,
    ),
    "seq": _Option(
        ("--seq",), "only {records} at this position of a run log", metavar="N", read=int
    ),
    "model": _Option(
        ("--model",), "only {records} of this model; given more than once, of one of these", True
    ),
    "action": _Option(("--action",), f"only {{records}} with this action; {_ONE_OF}", True),
    "actor_id": _Option(("--actor",), "only {records} of this actor", metavar="ID"),
    "resource": _Option(("--resource",), "only {records} about this resource"),
    "provider": _Option(
        ("--provider",),
        "only {records} to this provider; given more than once, to one of these",
        True,
    ),
}

_STATUSES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "runs": {
        "failed": ("error", "timeout"),
        "succeeded": ("completed",),
        "canceled": ("cancelled",),
    },
    "usage": {"failed": ("error",), "succeeded": ("success",)},
}
"""Other systems' words for our statuses, by the kind of records."""


def add_filters(parser: _ActionsContainer, records: str, *names: str) -> None:
    """Add the options of these filters; `records` is the help's word for what they select."""
    for name in names:
        option = _OPTIONS[name]
        parser.add_argument(
            *option.names,
            dest=name,
            metavar=option.metavar or option.names[0].removeprefix("--").upper(),
            type=option.read,
            action="append" if option.several else "store",
            help=option.help.format(records=records),
        )


def resolve_projects(persistence: Persistence, options: Namespace) -> None:
    """Replace each name given as --project by the paths that end in it."""
    if options.project:
        known = persistence.values("project")
        options.project = [path for given in options.project for path in _named(given, known)]


def _named(given: str, known: Iterable[str]) -> list[str]:
    given = given.rstrip("/") or given
    return [path for path in known if _SEPARATOR.split(path)[-1] == given] or [given]


def filters(options: Namespace, *kinds: str) -> dict[str, Any]:
    """Return the filters that were given; `kinds` are the kinds of records with a status."""
    told = {
        name: getattr(options, name)
        for name in (*_OPTIONS, "since", "until")
        if hasattr(options, name)
    }
    _refuse_empty_window(told.get("since"), told.get("until"))
    if told.get("status"):
        told["status"] = [word for given in told["status"] for word in _meant(given, kinds)]
    for name in ("payload", "metadata"):
        if told.get(name):
            told[name] = _by_path(name, told[name])
    return told


def misspelt(chosen: Mapping[str, Any]) -> str | None:
    """Return a message about a status or level of these filters that is like a known one."""
    from difflib import get_close_matches

    for name, known in _KNOWN.items():
        for word in chosen.get(name) or ():
            if word not in known and (alike := get_close_matches(word, known, 1)):
                return f"No record has the {name} {word!r}; did you mean {alike[0]}?"
    return None


def _by_path(name: str, given: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for path, value in given:
        if wanted.setdefault(path, value) != value:
            raise ConfigurationError(f"--{name} {path}= is given twice: no record has both values.")
    return wanted


_KNOWN = {
    "status": (
        *("pending", "running", "completed", "error", "cancelled", "timeout"),
        *("success", "failed"),
    ),
    "level": ("debug", "info", "warning", "error", "critical", "fatal"),
}
"""The words that agents use, unless they have their own."""


def _refuse_empty_window(since: str | None, until: str | None) -> None:
    """Refuse a window in which no record can be."""
    now = datetime.now(UTC)
    begin, end = _moment(since, now), _moment(until, now)
    if begin is not None and end is not None and end <= begin:
        raise ConfigurationError(
            f"The window is empty: --until {until} is not later than --since {since}."
        )


def _moment(text: str | None, now: datetime) -> datetime | None:
    """Return the moment that a text means; None for none, or what the query will refuse."""
    if text is None:
        return None
    with suppress(ArgumentTypeError, OverflowError):
        return now - length_of_time(text)
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromisoformat(text).astimezone()
    return None


def _meant(status: str, kinds: Iterable[str]) -> list[str]:
    """Return the statuses that a word means for these kinds of records."""
    words = (_STATUSES[kind].get(status, (status,)) for kind in kinds if kind in _STATUSES)
    return list(dict.fromkeys(chain.from_iterable(words))) or [status]
