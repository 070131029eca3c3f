"""Watch an agent record itself into a SQLite file, then read its history back from that file.

    python examples/demo.py [file]

Run it again and the history grows.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from agent import Researcher

from curio_persistence import AgentRun, AgentRunEvent, Persistence, SQLitePersistence

SOURCES = Path(__file__).parents[1] / "curio_persistence"


def main(db_path: str = "demo.db") -> None:
    with SQLitePersistence(db_path) as persistence:
        ask_questions(persistence)
    # From here on everything is read from the file.
    with SQLitePersistence(db_path, read_only=True) as persistence:
        runs = persistence.get_agent_runs(limit=5)
        show_history(runs)
        show_events(persistence, runs[-1])
        show_cost(persistence, runs[-1])
        show_statistics(persistence)
    show_commands(db_path, runs[0])


def ask_questions(persistence: Persistence) -> None:
    heading("An agent at work")
    agent = Researcher(SOURCES, persistence=persistence)
    ask(agent, "How often is 'transaction' mentioned?")
    ask(agent, "Which is mentioned more often, 'connection' or 'cursor'?")
    ask(Researcher("nowhere", persistence=persistence), "How often is 'fork' mentioned?")


def ask(agent: Researcher, question: str) -> None:
    print(f"  {question}")
    try:
        print(f"  → {agent.ask(question)}")
    except FileNotFoundError as error:
        print(f"  ✗ {error}")


def show_history(runs: list[AgentRun]) -> None:
    heading("Its history", "persistence.get_agent_runs(limit=5)")
    for run in reversed(runs):
        name = f"└ {run.agent_id}" if run.parent_run_id else run.agent_id
        took = (run.finished_at - run.started_at).total_seconds() * 1000
        line(f"  {name:<12} {run.status:<9} {took:5.0f} ms  {run.objective}")
        if run.error_message:
            line(f"  {'':<32} {run.error_message}")


def show_events(persistence: Persistence, run: AgentRun) -> None:
    heading("What happened in the first", "persistence.get_agent_run_events(run_id)")
    for event in persistence.get_agent_run_events(run.run_id):
        after = (event.timestamp - run.started_at).total_seconds() * 1000
        line(f"  {after:7.1f} ms  {event.event_type:<18}  {gist(event)}")


def gist(event: AgentRunEvent) -> str:
    """Return the interesting part of an event's data."""
    data = event.get_data_dict()
    for key in ("objective", "iteration", "result", "args", "verdict", "status"):
        if data.get(key):
            return f"{data.get('tool_name') or data.get('tool') or ''} {data[key]}".strip()
    return ""


def show_cost(persistence: Persistence, run: AgentRun) -> None:
    heading("What it cost", "persistence.get_llm_usage(run_id=run_id)")
    calls = persistence.get_llm_usage(run_id=run.run_id)
    for call in reversed(calls):
        tokens = f"{call.input_tokens:5} tokens in {call.output_tokens:5} out"
        line(f"  {call.model:<12} {tokens}   ${call.cost_usd:.6f}")
    line(f"  {'together':<41} ${sum(call.cost_usd for call in calls):.6f}")


def show_statistics(persistence: Persistence) -> None:
    heading("All runs together", "persistence.get_agent_run_stats()")
    stats = persistence.get_agent_run_stats()
    by_status = ", ".join(f"{n} {status}" for status, n in stats["runs_by_status"].items())
    line(f"  {stats['total_runs']} runs: {by_status}; {stats['avg_iterations']} rounds on average")
    line(
        f"  {stats['total_llm_calls']} model calls: {stats['total_input_tokens']} tokens in, "
        f"{stats['total_output_tokens']} out, ${stats['total_cost_usd']:.6f}"
    )
    for name, tool in stats["tool_metrics"].items():
        line(
            f"  {name:<12} {tool['call_count']:3} calls  {tool['error_count']:3} failed"
            f"  {tool['avg_latency_ms']:8.2f} ms on average"
        )


def show_commands(db_path: str, run: AgentRun) -> None:
    heading("Look further")
    # `make demo` installs the command beside its own Python, which need not be on the PATH.
    beside = Path(sys.executable).with_name("curio-persistence")
    command = "curio-persistence"
    if beside.exists() and not shutil.which(command):
        command = os.path.relpath(beside)
    print(f"  {command} runs --db-path {db_path}")
    print(f"  {command} show {run.run_id} --db-path {db_path}")
    print(f"  {command} failures --db-path {db_path}")
    print(f"  {command} stats --db-path {db_path}")
    print(f"  {command} doctor --db-path {db_path}")
    heading("See it in a browser", "pip install 'curio-persistence[console]'")
    print(f"  {command} console --db-path {db_path}")
    print(f"  {command} console --demo")


def heading(title: str, call: str = "") -> None:
    call = f" {call}" if call else ""
    print(f"\n{title} {call:─>{79 - len(title)}}\n")


def line(text: str) -> None:
    """Print at most 80 columns."""
    print(text if len(text) <= 80 else f"{text[:79]}…")


if __name__ == "__main__":
    main(*sys.argv[1:])
