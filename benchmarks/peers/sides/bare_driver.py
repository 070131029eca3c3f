"""The bare driver, with which the other sides are compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.sides.base import Words
from benchmarks.peers.sides.our_tables import OurTables
from benchmarks.raw import RawSQLite
from benchmarks.raw.columns import READ_EVENT
from curio_persistence import AgentRunEvent

_NEWEST = """
import json, sqlite3, sys
path, limit = sys.argv[1:]
connection = sqlite3.connect(path)
connection.row_factory = sqlite3.Row
found = connection.execute(
    "SELECT * FROM agent_llm_usage ORDER BY created_at DESC, id DESC LIMIT ?", (int(limit),)
)
print(json.dumps([dict(row) for row in found], indent=2, ensure_ascii=False))
"""
_ID = READ_EVENT.split(", ").index("id")


class BareDriver(OurTables):
    title = "bare driver"
    calls = Words(
        single="one `INSERT` by `sqlite3`, its statement made for this table, of the same "
        "dataclass encoded without any check (`benchmarks/raw`)",
        batch="`executemany` between `BEGIN IMMEDIATE` and `COMMIT`; fills the ids in",
        page="one `SELECT … ORDER BY timestamp DESC, id DESC LIMIT 100`, to bare tuples",
        statistics="the fastest statements found, the same answer",
        newest="a Python that does no more: `sqlite3`, one `SELECT`, `json`",
    )

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._raw = RawSQLite(path)

    def log(self, record: AgentRunEvent) -> object:
        return self._raw.log_event(record)

    def log_many(self, records: Sequence[AgentRunEvent]) -> object:
        return self._raw.log_events(records)

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        return self._raw.newest_events(agent_id, event_type, limit)

    def ids(self, page: Sequence[Any]) -> list[int]:
        return [values[_ID] for values in page]

    def statistics(self, agent_id: str | None) -> dict[str, Any]:
        return self._raw.stats_of_one(agent_id) if agent_id else self._raw.stats_of_all()

    def newest(self, limit: int) -> Sequence[str]:
        return [sys.executable, "-c", _NEWEST, str(self.path), str(limit)]

    def pragma(self, name: str) -> Any:
        return self._raw.fetch(f"PRAGMA {name}")[0][0]

    def close(self) -> None:
        self._raw.close()
