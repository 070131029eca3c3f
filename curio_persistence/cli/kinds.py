"""The words for the kinds of records, as commands say them."""

from __future__ import annotations

from collections.abc import Iterable

WORDS = {
    "runs": "runs",
    "events": "events",
    "usage": "model calls",
    "scores": "scores",
    "approvals": "approvals",
    "snapshots": "snapshots",
    "spans": "spans",
    "sources": "sources of spans",
    "sessions": "sessions",
    "agents": "agents",
}
"""By the names that the kinds have in exports and reports."""

BESIDE_RUNS = tuple(kind for kind in WORDS if kind not in ("runs", "sources", "sessions", "agents"))
"""The kinds of what belongs to runs."""
_ALWAYS_TOLD = ("runs", "events", "usage")


def told(report: object, kinds: Iterable[str] = WORDS) -> list[str]:
    """Return those of the kinds of which a report has any, and those that are always told."""
    return [kind for kind in kinds if kind in _ALWAYS_TOLD or getattr(report, kind)]


def said(report: object, kinds: Iterable[str] = WORDS) -> str:
    """Return the numbers of a report as a part of a sentence."""
    return ", ".join(f"{getattr(report, kind):,} {WORDS[kind]}" for kind in told(report, kinds))
