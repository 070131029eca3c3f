"""Measures how many events a second some processes store together: `python benchmarks/writers.py`.

On SQLite, and on PostgreSQL in both layouts, with a disk that is waited for. docs/scaling.md has
such a table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from benchmarks.support.workspace import disk  # noqa: E402
from tests.support.postgres import PostgresServer  # noqa: E402

SECONDS = 4.0
CASES = ((1_000, 1), (1_000, 2), (1_000, 4), (1, 1), (1, 4))
"""Events in each call, and processes."""
_WRITE = """
import sys, time
from curio_persistence import AgentRunEvent, connect

url, size, name, *times = sys.argv[1:]
size, (begin, seconds) = int(size), map(float, times)
payload = {"text": "some words of a model " * 12}
stored = 0
with connect(url) as persistence:
    persistence.append_event(f"run-{name}", "agent", "first")
    time.sleep(max(begin - time.time(), 0))
    while time.time() < begin + seconds:
        if size == 1:
            persistence.log_agent_run_event(AgentRunEvent("agent", f"run-{name}", data=payload))
        else:
            persistence.log_agent_run_events(
                AgentRunEvent("agent", f"run-{name}", event_type="log", data=payload)
                for _ in range(size)
            )
        stored += size
print(stored)
"""


def main() -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=disk()))
        dsn = stack.enter_context(PostgresServer(fsync=True)).dsn
        urls = {
            "SQLite": f"sqlite:///{Path(folder, 'events.db')}",
            "PostgreSQL": f"{dsn}&schema=plain",
            "PostgreSQL, timed": f"{dsn}&schema=timed&layout=timed",
        }
        print("| events a call, processes |", " | ".join(urls), "|")
        print("|:---|", "|".join(["---:"] * len(urls)), "|", sep="")
        for size, processes in CASES:
            rates = [_rate(url, size, processes) for url in urls.values()]
            print(
                f"| {size:,}, {processes} |", " | ".join(f"{rate:,.0f} /s" for rate in rates), "|"
            )


def _rate(url: str, size: int, processes: int) -> float:
    begin = time.time() + 1.5
    command = [sys.executable, "-c", _WRITE, url, str(size)]
    ends = [str(begin), str(SECONDS)]
    running = [
        subprocess.Popen(
            [*command, str(number), *ends], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for number in range(processes)
    ]
    return sum(int(process.communicate()[0]) for process in running) / SECONDS


if __name__ == "__main__":
    main()
