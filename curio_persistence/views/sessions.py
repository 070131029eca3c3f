"""Sessions, and what a person reads of one: all that happened in order, and what was said."""

from __future__ import annotations

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.sessions import Sessions
from curio_persistence.errors import NotFoundError
from curio_persistence.store.filters import Where, checked_count
from curio_persistence.tables import SESSIONS
from curio_persistence.views.conversations import (
    CalledTool,
    Conversation,
    ConversationPage,
    Exchange,
)
from curio_persistence.views.moments import Counted, Moment, moment_of
from curio_persistence.views.steps import RecordRef
from curio_persistence.views.timelines import Timeline, TimelineEntry, TimelinePage

__all__ = [
    "CalledTool",
    "ConversationPage",
    "Counted",
    "Exchange",
    "Moment",
    "SessionViews",
    "TimelineEntry",
    "TimelinePage",
]


class SessionViews(Sessions):
    """Create, change, list and delete sessions; read what happened in one."""

    def timeline(
        self, session_id: str, *, limit: int | None = 100, cursor: str | None = None
    ) -> TimelinePage:
        """Return one page of the runs, events and model calls of a session, the oldest first.

        Raise NotFoundError if the session is not stored.
        """
        timeline = Timeline(self._store, self._existing(session_id))
        return timeline.page(_checked_limit(limit), cursor)

    def conversation(
        self, session_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> ConversationPage:
        """Return what was asked, done and answered in each run of a session, the oldest first.

        `limit` admits the last so many; `next_cursor` leads to those before. A run that was started
        by another one of the session belongs to that. Raise NotFoundError if the session is not
        stored.
        """
        conversation = Conversation(self._store, self._existing(session_id))
        return conversation.page(_checked_limit(limit), cursor)

    def moment(
        self, session_id: str, at: RecordRef | None = None, *, around: int = 10
    ) -> Moment | None:
        """Return a step of a session, and what was known when it had happened.

        `at` names the run, event or model call, as `event:7` does; without it, it is the first
        step, or None in a session without any. So many steps `around` it are told, too. Raise
        NotFoundError if the session has no such step, or is not stored.
        """
        steps = checked_count("around", around)
        timeline = Timeline(self._store, self._existing(session_id))
        found = next(iter(timeline.behind(None, 1)), None) if at is None else timeline.at(at)
        if found is None and at is not None:
            raise NotFoundError(f"Session {session_id!r} has no step {at}.")
        return None if found is None else moment_of(self._store, timeline, found, steps)

    def _existing(self, session_id: str) -> Where:
        """Return the filter for the runs of a session, which must be stored."""
        where = SESSIONS.where(session_id=checked_id("session_id", session_id))
        if not self._store.select_columns(SESSIONS, ("id",), where):
            self._stored(session_id)  # Raises the error.
        return where


def _checked_limit(limit: int | None) -> int | None:
    return None if limit is None else checked_count("limit", limit)
