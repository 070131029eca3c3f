"""Keep 90 days of a year in the database, and ask for all of it.

    python examples/a_year.py [file] [archive]

The archive is a directory, or the URL of an object store such as s3://bucket/prefix. It needs
`pip install 'curio-persistence[archive]'`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    Persistence,
    SQLitePersistence,
    archive_runs,
    connect,
)

NOW = datetime.now(UTC)
CITIES = ("Bergen", "Oslo", "Lisbon", "Porto", "Turin", "Lyon", "Ghent")


def main(db_path: str = "year.db", archive: str = "year-archive") -> None:
    with SQLitePersistence(db_path) as persistence:
        record(persistence)
        runs = persistence.get_agent_run_stats()["total_runs"]
    print(f"{runs:,} runs of a year take {megabytes(db_path)}")
    with SQLitePersistence(db_path) as persistence:
        moved = archive_runs(persistence, archive, older_than="90d", pace=1)
        print(f"{moved.runs:,} of them moved to the archive, {moved.events:,} events with them")
        print(f"words of last spring here: {len(persistence.search_text('volcano'))} found")
    print(f"the database takes {megabytes(db_path)}")
    # From here on the database and its archive are read as one.
    with connect(f"sqlite:///{db_path}", archive=archive) as persistence:
        [hit] = persistence.search_text("volcano")
        print(f"in both: {hit.run_id}: {hit.snippet}")
        show(persistence, str(hit.run_id))
        print(f"runs of all time: {persistence.count_agent_runs():,}")


def record(persistence: Persistence) -> None:
    """Store four runs of each day, with ten events each."""
    for day in range(365):
        runs = [run_of(day, number) for number in range(4)]
        persistence.create_agent_runs(runs)
        persistence.log_agent_run_events(event for run in runs for event in events_of(run))


def run_of(day: int, number: int) -> AgentRun:
    begin = NOW - timedelta(days=day, minutes=10 * number + 10)
    city = CITIES[(day + number) % len(CITIES)]
    question = f"What is the weather in {city}?"
    if (day, number) == (220, 3):
        question = "Which volcano closed the airport?"
    return AgentRun(
        agent_id="assistant",
        run_id=f"run-{day:03}-{number}",
        objective=question,
        status="completed",
        started_at=begin,
        finished_at=begin + timedelta(minutes=1),
        created_at=begin,
    )


def events_of(run: AgentRun) -> Iterator[AgentRunEvent]:
    for step in range(10):
        yield AgentRunEvent(
            agent_id=run.agent_id,
            run_id=run.run_id,
            timestamp=run.created_at + timedelta(seconds=step),
            event_type="tool_call",
            data={"tool": "forecast", "step": step, "answer": f"{run.run_id} is sunny " * 5},
        )


def show(persistence: Persistence, run_id: str) -> None:
    run = persistence.get_agent_run(run_id)
    assert run is not None
    events = persistence.get_agent_run_events(run_id)
    print(f"  {run.created_at:%B} · {run.objective} · {run.status} · {len(events)} events")


def megabytes(path: str) -> str:
    return f"{Path(path).stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    main(*sys.argv[1:])
