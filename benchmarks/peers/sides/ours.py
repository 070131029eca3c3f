"""The package itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.sides.base import Words
from benchmarks.peers.sides.our_tables import OurTables
from curio_persistence import AgentRunEvent, SQLitePersistence


class Ours(OurTables):
    title = "curio_persistence"
    calls = Words(
        single="`log_agent_run_event(event)`",
        batch="`log_agent_run_events(events)`",
        page='`query_events(agent_id=…, event_type=…, order="newest", limit=100)`, and a '
        "dataclass made of every row",
        statistics="`get_agent_run_stats(agent_id)`",
        newest="`curio-persistence usage --limit 10 --json`",
        search="`curio-persistence search WORD --limit 10 --json`, of everything, as the newest of "
        "it are model calls; it was indexed before",
    )

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._persistence = SQLitePersistence(path)

    def log(self, record: AgentRunEvent) -> object:
        return self._persistence.log_agent_run_event(record)

    def log_many(self, records: Sequence[AgentRunEvent]) -> object:
        return self._persistence.log_agent_run_events(records)

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        return list(
            self._persistence.query_events(
                agent_id=agent_id, event_type=event_type, order="newest", limit=limit
            )
        )

    def statistics(self, agent_id: str | None) -> dict[str, Any]:
        return self._persistence.get_agent_run_stats(agent_id)

    def newest(self, limit: int) -> Sequence[str]:
        return self._listing("usage", limit=limit)

    def search(self, word: str, limit: int) -> Sequence[str]:
        return self._listing("search", word, limit=limit)

    def _listing(self, *command: str, limit: int) -> Sequence[str]:
        options = ("--limit", str(limit), "--json", "--db-path", str(self.path))
        return [sys.executable, "-m", "curio_persistence", *command, *options]

    def pragma(self, name: str) -> Any:
        store = self._persistence._store
        with self._persistence.transaction():  # In it, reads use the connection that writes.
            return store._read(f"PRAGMA {name}", ())[0][0]

    def close(self) -> None:
        self._persistence.close()
