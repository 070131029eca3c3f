"""Switch recording off from outside of the program."""

from __future__ import annotations

import os

_ON = frozenset(("1", "true", "yes", "on"))


def is_disabled() -> bool:
    """Return whether `CURIO_DISABLED=1` is set: then nothing is recorded."""
    return os.environ.get("CURIO_DISABLED", "").lower() in _ON
