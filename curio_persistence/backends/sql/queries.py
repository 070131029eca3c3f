"""Refuse queries that people wrote, in the words of the database."""

from __future__ import annotations

from curio_persistence.errors import InvalidValueError


def refused(location: str, said: object) -> InvalidValueError:
    """Return the error for a statement that the database refused."""
    sentence = str(said).rstrip(".")
    return InvalidValueError(
        f"{location} refused the query: {sentence}. Expected is one statement, which only reads.",
        field="query",
    )
