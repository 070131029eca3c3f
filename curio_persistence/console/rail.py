"""The list of pages on the left, without those that the application does not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from starlette.routing import BaseRoute, Route


class Entry(NamedTuple):
    """A page of the rail: its name, its word, its icon, and the path of its route."""

    name: str
    label: str
    icon: str
    path: str


class Section(NamedTuple):
    """A part of the rail; the first has no title."""

    title: str
    entries: tuple[Entry, ...]


_SECTIONS = (
    Section(
        "",
        (
            Entry("overview", "Overview", "layout-dashboard", "/"),
            Entry("runs", "Runs", "list-tree", "/runs"),
            Entry("sessions", "Sessions", "messages-square", "/sessions"),
            Entry("traces", "Traces", "chart-gantt", "/traces"),
            Entry("events", "Events", "radio", "/events"),
            Entry("search", "Search", "search", "/search"),
        ),
    ),
    Section(
        "Analyse",
        (
            Entry("costs", "Costs", "coins", "/costs"),
            Entry("activity", "Activity", "activity", "/activity"),
            Entry("metrics", "Metrics", "chart-line", "/custom-metrics"),
            Entry("agents", "Agents", "bot", "/agents"),
        ),
    ),
    Section(
        "Look after",
        (
            Entry("alerts", "Alerts", "bell", "/alerts"),
            Entry("health", "Health", "stethoscope", "/health"),
            Entry("settings", "Settings", "settings", "/settings"),
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
