"""Say of an exception all that it carries: its text, its notes, its causes and its members."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

from curio_persistence.models import AgentRunStatus

_MOST_LINES = 50
_LONGEST = 10_000
_LONGEST_TRACEBACK = 50_000
_CANCELLATIONS = (KeyboardInterrupt, SystemExit, GeneratorExit)


class Told(Exception):
    """A failure of which another program reported only the text."""


def describe(error: BaseException | str | None) -> str | None:
    """Return `ValueError: text`; below it what the exception was raised from, and members.

    A group's members, notes and causes each have an indented line of their own.
    """
    if error is None or isinstance(error, str):
        return error
    return "\n".join(islice(_lines(error, "", set()), _MOST_LINES))


def _lines(error: BaseException, relation: str, seen: set[int], depth: int = 0) -> Iterator[str]:
    if id(error) in seen or depth > _MOST_LINES:
        return
    seen.add(id(error))
    indent = "  " * depth
    yield f"{indent}{relation}{_said(error)}"
    for note in getattr(error, "__notes__", None) or ():
        yield f"{indent}  note: {str(note)[:_LONGEST]}"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _lines(member, "", seen, depth + 1)
    if error.__cause__ is not None:
        yield from _lines(error.__cause__, "caused by ", seen, depth + 1)
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from _lines(error.__context__, "while handling ", seen, depth + 1)


def _said(error: BaseException) -> str:
    try:
        said = str(error)[:_LONGEST]
    except Exception:
        said = "(it has no text)"
    name = "" if isinstance(error, Told) else type(error).__name__
    return ": ".join(filter(None, (name, said)))


def traceback_of(error: BaseException) -> str:
    """Return the traceback as Python prints it; of a very long one, the end."""
    from traceback import format_exception

    return "".join(format_exception(error))[-_LONGEST_TRACEBACK:]


def status_of(error: BaseException) -> AgentRunStatus:
    """Return the status of a run that an exception ends; a group counts by its members."""
    leaves = list(_leaves(error))
    if all(map(is_cancellation, leaves)):
        return AgentRunStatus.CANCELLED
    if all(isinstance(leaf, TimeoutError) for leaf in leaves):
        return AgentRunStatus.TIMEOUT
    return AgentRunStatus.ERROR


def is_cancellation(error: BaseException) -> bool:
    """Return whether an exception asks the program to stop, and is not a failure of it."""
    # Looked up, not imported: asyncio takes almost as long to import as all of this package.
    asyncio = sys.modules.get("asyncio.exceptions")
    return isinstance(error, _CANCELLATIONS) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    )


def is_orderly_exit(error: BaseException) -> bool:
    """Return whether it is `sys.exit()` or `sys.exit(0)`, by which a program ends well."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for member in error.exceptions:
        yield from _leaves(member)
