"""How hard to try: tests of chance take a short form, unless `CURIO_SOAK` multiplies it."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("CURIO_SOAK", "1"))


def times(count: int) -> range:
    """`count` rounds, or as many more as `CURIO_SOAK` says."""
    return range(count * FACTOR)
