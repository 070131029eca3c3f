"""Find out what a slow agent waits for: its trace, its critical path, and spans of its own.

python examples/slow_agent.py
"""

import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from curio_persistence import AgentSpan, InMemoryPersistence

PAGES = {"docs": 0.02, "wiki": 0.16, "news": 0.04}


def fetch(run, page):
    with run.tool("fetch", {"page": page}) as call:
        time.sleep(PAGES[page])
        call.result = f"words of {page}"


def research(persistence):
    with persistence.record_run(agent_id="researcher", objective="Compare databases") as run:
        with run.span("gather", kind="chain"), ThreadPoolExecutor() as pool:
            for page in PAGES:  # Each thread has a copy of the context: it knows the span.
                pool.submit(contextvars.copy_context().run, fetch, run, page)
        with run.llm(model="acme-large") as call:
            time.sleep(0.03)
            call.response = "The wiki knows best."
        # A library that has times of its own, say of a parser, can save them as a span.
        now = datetime.now(UTC)
        persistence.traces.save_span(
            AgentSpan(run.trace_id, "parser-1", "parse", started_at=now, ended_at=now, status="ok")
        )
    return run.run_id


def main():
    with InMemoryPersistence() as persistence:
        trace = persistence.traces.get(research(persistence))
        for node in trace.walk():
            print("  " * node.depth + f"{node.span.kind} {node.span.name}")
        slowest = max(trace.critical_path(), key=lambda segment: segment.duration_ms)
        print(f"It waited longest for {slowest.span.name} {slowest.span.input}.")
        print(f"{trace.summary.tool_calls} tool calls, {trace.summary.errors} errors")


if __name__ == "__main__":
    main()
