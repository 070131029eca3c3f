"""Work of which no instrumentation makes spans, which would be stored or sent in their turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_KEYS = ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY")


@contextmanager
def untraced() -> Iterator[None]:
    """Ask instrumentations of database drivers and of HTTP clients to make no spans meanwhile."""
    context = sys.modules.get("opentelemetry.context")
    if context is None:  # Then nothing is instrumented.
        yield
        return
    silent = context.get_current()
    for key in _KEYS:
        if hasattr(context, key):
            silent = context.set_value(getattr(context, key), True, silent)
    token = context.attach(silent)
    try:
        yield
    finally:
        context.detach(token)
