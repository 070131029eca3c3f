"""New events as rows of HTML, for the pages that follow them.

Each page has a stream of its own, and all streams share one reader. A row is rendered once for all
pages that show the same: in one time zone, with one choice of filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import Any

from curio_persistence.capabilities.live import LiveItem, LiveStream
from curio_persistence.console.parts.event_rows import row_of
from curio_persistence.console.request.viewer import Viewer
from curio_persistence.console.site import Site
from curio_persistence.errors import ClosedError, PersistenceError, QueryTimeoutError
from curio_persistence.models import AgentRunEvent
from curio_persistence.persistence import Persistence

_AT_ONCE = 200
"""Events of one frame."""
_RENDERED = 4_000
"""Rows that are kept for other pages: those of some seconds."""
MOST_RESUMED = 1_000
"""Events that a page gets which it has missed. It keeps 500, so that older ones are of no use."""
_LONGEST_LOOK = 1.0
"""Seconds after which a page is taken to have missed more."""
OF_STREAMS = ("agent_id", "run_id", "session_id")
"""Filters that the stream itself knows; the others are looked at for each event."""


class Look:
    """The view of one page on events: its filters, and the time zone of its reader."""

    def __init__(self, site: Site, viewer: Viewer, filters: Mapping[str, Any]) -> None:
        self.persistence = site.persistence
        self.filters = filters
        # One for all rows: to render a template for each takes three times as long.
        template = site.templates.get_template("parts/event_rows.html")
        rows: Any = template.make_module({"paths": site.paths, "viewer": viewer})
        self._line = rows.line
        self.key = (site.paths.base_path, viewer.zone_name, repr(sorted(filters.items())))

    def shows(self, event: AgentRunEvent) -> bool:
        """Return whether an event passes the filters."""
        return not self.filters or self.persistence.events.matches(event, **self.filters)

    def row(self, event: AgentRunEvent) -> str:
        """Return the row of an event; "" if it does not pass the filters."""
        return str(self._line(row_of(event))).replace("\n", "") if self.shows(event) else ""


class RenderedRows:
    """The rows that were rendered last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: dict[tuple[Any, ...], str] = {}

    def of(self, event: AgentRunEvent, look: Look) -> str:
        """Return the row of an event as a page shows it."""
        key = (event.id, *look.key)
        with self._lock:
            if key not in self._rows:
                if len(self._rows) >= _RENDERED:
                    self._rows.clear()
                self._rows[key] = look.row(event)
            return self._rows[key]


class RowFrames:
    """Takes what is at hand of a stream, and returns it as frames for one page."""

    def __init__(self, rows: RenderedRows, look: Look) -> None:
        self._rows = rows
        self._look = look
        self._has_skipped = False

    def open(self, after: str | None) -> LiveStream:
        """Return the stream behind an id, or from now on if too much has come since."""
        persistence = self._look.persistence
        self._look.shows(AgentRunEvent("-", "-"))  # Refuses filters that are wrong.
        filters = {name: self._look.filters.get(name) for name in OF_STREAMS}
        begin = partial(persistence.stream, kinds="event", **filters)
        self._has_skipped = after is not None and _is_far_behind(persistence, begin, after)
        return begin() if self._has_skipped else begin(after=after)

    def __call__(self, stream: LiveStream) -> str | None:
        if self._has_skipped:
            self._has_skipped = False
            return frame("skipped", "", stream.id)
        try:
            items = stream.take(_AT_ONCE, timeout=0)
        except ClosedError:
            raise
        except PersistenceError:
            return frame("away", "", stream.id)
        return self._frames(items) if items else None

    def _frames(self, items: list[LiveItem]) -> str:
        """Return a frame of rows, the newest first, after one for those that were dropped."""
        events = [item.record for item in reversed(items) if isinstance(item.record, AgentRunEvent)]
        rows = "".join(self._rows.of(event, self._look) for event in events)
        missed, last = sum(item.missed for item in items), items[-1].id
        skipped = frame("skipped", f"{missed:,}", last) if missed else ""
        return skipped + (frame("rows", rows, last) if rows else "")


def _is_far_behind(persistence: Persistence, begin: Callable[..., LiveStream], after: str) -> bool:
    """Return whether more events have come since than a page is to get."""
    count = 0
    try:
        with persistence.deadline(_LONGEST_LOOK), begin(after=after) as stream:
            while count <= MOST_RESUMED and (items := stream.take(_AT_ONCE, timeout=0)):
                count += len(items)
    except QueryTimeoutError:
        return True
    return count > MOST_RESUMED


def frame(kind: str, text: str, ident: str) -> str:
    """Return a server-sent event. A line of its text is a line of data, so that none ends early."""
    data = "".join(f"data: {line}\n" for line in text.replace("\r", "&#13;").split("\n"))
    return f"id: {ident}\nevent: {kind}\n{data}\n"
