"""A database for a first look: believable agents at work over some weeks, made by chance."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence
    from curio_persistence.progress import Progress


def record_demo(
    persistence: Persistence,
    *,
    events: int = 32_000,
    days: int = 30,
    until: datetime | None = None,
    seed: int = 1,
    latin: bool = False,
    progress: Progress | None = None,
) -> int:
    """Record what made-up agents did in the days until now, or another moment; return the events.

    The same arguments give the same records. `events` is about how many are recorded; with many,
    one run has 10,000 steps. With `latin`, all words are in Latin script. `progress` is called
    with the number recorded and the total.
    """
    # Here, since the modules of chance take time to import, and are seldom needed.
    from curio_persistence.console.demo.weeks import record_weeks
    from curio_persistence.console.demo.words import texts

    return record_weeks(persistence, events, days, until, seed, texts(latin=latin), progress)
