"""Store runs in PostgreSQL, with the connection in a `.env` file instead of in the code.

Put this into a file `.env` here or in a folder above, and run `python examples/postgres_env.py`:

    DB_TYPE=postgres
    DB_HOST=localhost
    DB_PORT=5432
    DB_NAME=agents
    DB_USER=agents
    DB_PASSWORD=secret
    DB_SCHEMA=agent_sdk
    DB_MAX_CONNECTIONS=10

Environment variables take precedence over the file, and unset ones have defaults. A URL works
as well: CURIO_DATABASE_URL=postgresql://agents:secret@localhost/agents?schema=agent_sdk
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from curio_persistence import DatabaseConfig, Persistence


def main() -> None:
    config = DatabaseConfig.from_env()
    if config.db_type != "postgres":
        sys.exit(f"No PostgreSQL is configured here, but {config.db_type}.\n\n{__doc__}")
    with config.get_persistence() as persistence:  # Creates schema and tables, if they are missing.
        for check in persistence.diagnose():
            print(f"{check.name:>8}  {check.message}")
        with ThreadPoolExecutor(max_workers=20) as threads:
            threads.map(lambda number: count_up(persistence, number), range(20))
        stats = persistence.get_agent_run_stats("counter")
        print(f"{stats['completed_runs']} runs completed, {stats['total_llm_calls']} model calls")


def count_up(persistence: Persistence, number: int) -> None:
    """Record a run; threads share the persistence, and wait their turn for its connections."""
    with persistence.record_run(agent_id="counter", objective=f"Count to {number}") as run:
        for step in range(number):
            run.log("counted", {"to": step + 1})


if __name__ == "__main__":
    main()
