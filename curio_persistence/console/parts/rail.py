"""The list of pages on the left, without those that the application does not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from starlette.routing import BaseRoute, Route


class Entry(NamedTuple):
    """A page of the rail: its name, word, icon, the path of its route, and its letter after g."""

    name: str
    label: str
    icon: str
    path: str
    letter: str


class Section(NamedTuple):
    """A part of the rail; the first has no title."""

    title: str
    entries: tuple[Entry, ...]


_SECTIONS = (
    Section(
        "",
        (
            Entry("overview", "Overview", "layout-dashboard", "/", "o"),
            Entry("runs", "Runs", "list-tree", "/runs", "r"),
            Entry("sessions", "Sessions", "messages-square", "/sessions", "s"),
            Entry("traces", "Traces", "chart-gantt", "/traces", "t"),
            Entry("events", "Events", "radio", "/events", "e"),
            Entry("search", "Search", "search", "/search", "f"),
        ),
    ),
    Section(
        "Analyse",
        (
            Entry("costs", "Costs", "coins", "/costs", "c"),
            Entry("activity", "Activity", "activity", "/activity", "a"),
            Entry("metrics", "Metrics", "chart-line", "/custom-metrics", "m"),
            Entry("agents", "Agents", "bot", "/agents", "g"),
        ),
    ),
    Section(
        "Look after",
        (
            Entry("alerts", "Alerts", "bell", "/alerts", "l"),
            Entry("health", "Health", "stethoscope", "/health", "h"),
            Entry("settings", "Settings", "settings", "/settings", ","),
        ),
    ),
)


def rail_of(routes: Iterable[BaseRoute]) -> tuple[Section, ...]:
    """Return the sections with the pages that these routes have."""
    paths = {route.path for route in routes if isinstance(route, Route)}
    sections = (
        Section(title, tuple(entry for entry in entries if entry.path in paths))
        for title, entries in _SECTIONS
    )
    return tuple(section for section in sections if section.entries)
