"""The same servers as in `tests/backends`."""

from __future__ import annotations

from tests.backends.conftest import application, ask, dsn, open_postgres

__all__ = ["application", "ask", "dsn", "open_postgres"]
