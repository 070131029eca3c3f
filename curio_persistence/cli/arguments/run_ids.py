"""Ids of runs in tables: of hex digits the first ones, by which people know them."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING

from curio_persistence.errors import NotFoundError

if TYPE_CHECKING:
    from curio_persistence import Persistence, Trace

_CUT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:[0-9a-f]{16}-)?[0-9a-f]{32}")
"""UUIDs, and the ids of runs that were received by OpenTelemetry."""
_SHORT = len("01a2283b-870b")
"""A UUIDv7 begins with its time: its first eight digits are the same for a minute."""


def short_ids(ids: Iterable[str | None]) -> Mapping[str, str]:
    """Return each id as a table shows it: hex digits cut to where they differ from the others."""
    known = sorted({each for each in ids if each is not None})
    return {
        each: each[: max(_SHORT, _shared(before, each) + 1, _shared(each, after) + 1)]
        if _CUT.fullmatch(each)
        else each
        for before, each, after in zip(["", *known], known, [*known[1:], ""], strict=False)
    }


def is_short(typed: str) -> bool:
    """Return whether a text looks like an id that a table has cut."""
    return re.fullmatch("[0-9a-f]{8}-?[0-9a-f-]{3,}", typed) is not None


def full_id(persistence: Persistence, typed: str) -> str:
    """Return the id of the run that a short id names, or `last`; any other text as it is."""
    if persistence.get_agent_run(typed) is not None:
        return typed
    if typed == "last":
        return next((run.run_id for run in persistence.query_agent_runs(limit=1)), typed)
    found = persistence.runs.find_ids(typed)
    if len(found) > 1:
        raise NotFoundError(
            f"{len(found):,} runs have ids that begin with {typed!r}: {', '.join(found[:5])}"
            f"{', …' if len(found) > 5 else ''}. Type more of the id."
        )
    return found[0] if found else typed


def short_trace_ids(ids: Iterable[str]) -> Mapping[str, str]:
    """Return each id of a trace cut to where it differs from the others shown."""
    known = sorted(set(ids))
    return {
        each: each[: max(_SHORT - 1, _shared(before, each) + 1, _shared(each, after) + 1)]
        for before, each, after in zip(["", *known], known, [*known[1:], ""], strict=False)
    }


def trace_of(persistence: Persistence, typed: str) -> Trace:
    """Return the trace with an id, of a run with an id, of the beginning of one, or the `last`.

    Raise NotFoundError, which names the candidates if there are several.
    """
    traces = persistence.traces
    if (trace := traces.get(typed)) is not None:
        return trace
    if typed == "last":
        # By its run: of a run without events, no id of a trace is stored.
        found = [each.run_id or each.trace_id for each in traces.query(limit=1)]
    else:
        # A run and its trace have the same digits.
        runs = {each.replace("-", ""): each for each in persistence.runs.find_ids(typed)}
        found = [*(runs | {each: each for each in traces.find_ids(typed)}).values()]
    if len(found) > 1:
        raise NotFoundError(
            f"{len(found):,} traces and runs have ids that begin with {typed!r}: "
            f"{', '.join(sorted(found)[:5])}{', …' if len(found) > 5 else ''}. Type more of the id."
        )
    trace = traces.get(found[0]) if found else None
    if trace is None:
        raise NotFoundError(f"{persistence.location} has no trace or run {typed!r}.")
    return trace


def resolve_run(persistence: Persistence, options: Namespace) -> None:
    """Put the whole id in place of what was given as --run."""
    if options.run_id is not None:
        options.run_id = full_id(persistence, options.run_id)


def _shared(one: str, other: str) -> int:
    """Return the length of the beginning that two ids share."""
    alike = (left == right for left, right in zip(one, other, strict=False))
    return sum(takewhile(bool, alike))
