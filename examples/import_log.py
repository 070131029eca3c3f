"""Import a log of events of another program, as often as you like.

Each line gets an event_id, so that an imported line is recognised. After a crash, or when
the log has grown, import it again from the beginning.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from curio_persistence import AgentRunEvent, SQLitePersistence

LOG = Path("agent.jsonl")


def events(path: Path) -> Iterator[AgentRunEvent]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            entry = json.loads(line)
            yield AgentRunEvent(
                agent_id=entry["agent"],
                run_id=entry["run"],
                timestamp=datetime.fromisoformat(entry["at"]),
                event_type=entry["what"],
                data=entry,
                event_id=f"{path.name}:{number}",
            )


def write_log(lines: int) -> None:
    """Write the log, as the other program does."""
    with LOG.open("w", encoding="utf-8") as log:
        for number in range(lines):
            at = f"2026-11-20T10:{number // 60:02}:{number % 60:02}+00:00"
            entry = {"agent": "scout", "run": f"run-{number % 3}", "at": at, "what": "step"}
            log.write(json.dumps(entry) + "\n")


with SQLitePersistence("imported.db") as persistence:
    for lines in (2_000, 2_000, 2_500):
        write_log(lines)
        new = persistence.log_agent_run_events(events(LOG))
        print(f"{lines} lines, {new} new events")

    newest = persistence.query_events(agent_id="scout", limit=3)
    for event in newest:
        print(event.timestamp.time(), event.run_id, event.event_type)
