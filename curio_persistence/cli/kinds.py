"""The words for the kinds of records, as commands say them."""

from __future__ import annotations

WORDS = {
    "runs": "runs",
    "events": "events",
    "usage": "model calls",
    "scores": "scores",
    "sessions": "sessions",
    "agents": "agents",
}
"""By the names that the kinds have in exports and reports."""
