"""Errors for SQL that people wrote."""

from __future__ import annotations

from curio_persistence.backends.sql.migrations import VIEWS
from curio_persistence.errors import InvalidValueError


def refused_query(location: str, said: object) -> InvalidValueError:
    """Return the error for a query of a person that the database refused, in its words."""
    sentence, views = str(said).rstrip("."), ", ".join(VIEWS)
    return InvalidValueError(
        f"{location} refused the query: {sentence}. Expected is one statement, which only "
        f"reads. There are the views {views}.",
        field="query",
    )
