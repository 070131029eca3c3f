"""Switch recording off from outside of the program."""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "CURIO_DISABLED"
_ON = frozenset(("1", "true", "yes", "on"))


def is_disabled(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether `CURIO_DISABLED=1` is set in the environment: then nothing is recorded."""
    return (os.environ if environ is None else environ).get(VARIABLE, "").lower() in _ON
