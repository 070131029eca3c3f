"""Refuse queries that people wrote, in the words of the database."""

from __future__ import annotations

from curio_persistence.backends.sql.migrations import VIEWS
from curio_persistence.errors import InvalidValueError


def refused(location: str, said: object) -> InvalidValueError:
    """Return the error for a statement that the database refused."""
    sentence, views = str(said).rstrip("."), ", ".join(VIEWS)
    return InvalidValueError(
        f"{location} refused the query: {sentence}. Expected is one statement, which only reads. "
        f"There are the views {views}.",
        field="query",
    )
