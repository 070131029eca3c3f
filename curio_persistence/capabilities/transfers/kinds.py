"""The kinds of records: the tables that are exported, imported, copied and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS_AND_STUBS, SCORES, USAGE

KINDS: Mapping[str, Table[Any]] = {
    "runs": RUNS_AND_STUBS,
    "events": EVENTS,
    "usage": USAGE,
    "scores": SCORES,
}
"""The tables by their names in commands, reports and exports; in this order they are copied."""
