"""Samples of what other tools leave behind, and how what was imported of them reads.

`sessions/MANIFEST.md` tells what is odd in each; `sessions/expected.json` has their readings.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.pricing import Pricing
from curio_persistence.pricing.calls import call_in

_PRICES = Pricing()
FOLDER = Path(__file__).parent / "sessions"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


class Sample(NamedTuple):
    """A sample: its name in expected.json, its source, and the files or folders to import."""

    name: str
    source: str
    paths: tuple[str, ...]

    def copied_to(self, folder: Path) -> list[Path]:
        """Return copies of the files, in which nothing has changed for two hours."""
        return [copied(FOLDER / path, folder / path) for path in self.paths]


SAMPLES = [
    Sample("claude-code", "claude-code", ("claude-code",)),
    Sample("codex", "codex", ("codex",)),
    Sample("gemini-cli", "gemini-cli", ("gemini-cli",)),
    Sample("opencode", "opencode", ("opencode",)),
    Sample("copilot-cli", "copilot-cli", ("copilot-cli",)),
    Sample("copilot-cli/otel", "copilot-cli", ("copilot-cli/otel",)),
    Sample("llm/logs.db", "llm", ("llm/logs.db",)),
    Sample("llm/logs-0.27.db", "llm", ("llm/logs-0.27.db",)),
    Sample("llm/logs-0.12.db", "llm", ("llm/logs-0.12.db",)),
    Sample("openai-agents", "openai-agents", ("openai-agents",)),
    Sample("langgraph", "langgraph", ("langgraph",)),
    *(
        Sample(name, name.partition("/")[0], (name,))
        for name in (
            *("langfuse/observations_v2", "langfuse/trace.json", "langfuse/observations.csv"),
            *("langsmith/runs.jsonl", "phoenix/spans.json", "phoenix/phoenix.db"),
            *("phoenix/spans.parquet", "mlflow/mlflow.db"),
            *("atif/trajectory-v1.2.json", "atif/trajectory-v1.8.json"),
        )
    ),
    Sample(
        "mlflow/traces.jsonl + traces-2.json",
        "mlflow",
        ("mlflow/traces.jsonl", "mlflow/traces-2.json"),
    ),
]
"""Those whose reader is there."""


def copied(original: Path, copy: Path) -> Path:
    copy.parent.mkdir(parents=True, exist_ok=True)
    if original.is_dir():
        shutil.copytree(original, copy)
    else:
        shutil.copy(original, copy)
    leave_still(copy)
    return copy


def leave_still(path: Path, hours: int = 2) -> None:
    """Make files look as if nothing had changed in them for some hours."""
    then = time.time() - hours * 3600
    for each in (path, *path.rglob("*")):
        if each.is_file():
            os.utime(each, (then, then))


def reading(persistence: Persistence, source: str) -> dict[str, Any]:
    """Return what is stored of a source's runs, in the shape of expected.json."""
    runs = [run for run in persistence.iter_agent_runs() if run.run_id.startswith(f"{source}/")]
    usage = [each for each in persistence.iter_llm_usage() if str(each.event_id).startswith(source)]
    tools = [event for run in runs for event in _tools(persistence, run)]
    return {
        "sessions": sorted({run.session_id for run in runs if run.session_id}),
        "counts": {
            "sessions": len({run.session_id for run in runs if run.session_id}),
            "runs": len(runs),
            "turns": sum(run.parent_run_id is None for run in runs),
            "agents": sum(run.parent_run_id is not None for run in runs),
            "by_status": dict(Counter(run.status for run in runs)),
            "tool_calls": len(tools),
            "tool_errors": sum(_failed(tool) for tool in tools),
        },
        "totals": _totals(usage),
        "by_model": {
            model: _totals([each for each in usage if each.model == model])
            for model in {each.model for each in usage}
        },
        "tools": _by_tool(tools),
        "runs": [_run(run, usage, tools) for run in runs],
    }


def _tools(persistence: Persistence, run: AgentRun) -> list[AgentRunEvent]:
    events = persistence.get_agent_run_events(run.run_id)
    return [event for event in events if event.event_type in ("tool_call", "mcp.call")]


def _failed(tool: AgentRunEvent) -> bool:
    return bool(tool.get_data_dict().get("error"))


def _totals(usage: Iterable[AgentLLMUsage]) -> dict[str, Any]:
    rows = list(usage)

    def total(name: str) -> int:
        return sum(getattr(row, name) or 0 for row in rows)

    told = [row.cost_usd for row in rows if row.cost_source in ("given", "reported")]
    listed = [priced.cost for row in rows if (priced := _PRICES.compute(call_in(row)))]
    return {
        "calls": len(rows),
        "input": total("input_tokens"),
        "output": total("output_tokens"),
        "cache_read": total("cache_read_tokens"),
        "cache_write": total("cache_write_tokens"),
        "reasoning": total("reasoning_tokens"),
        "failed": sum(row.status != "success" for row in rows),
        "unknown_input": sum(row.input_tokens is None for row in rows),
        "cost_told": sum(filter(None, told), Decimal()) if told else None,
        "list_price": Decimal(sum(listed)) / 10**12 if listed else None,
        "unpriced": sum(row.cost_usd is None for row in rows),
    }


def words(text: str) -> str:
    """Return what was said: a value that is no text, in whatever way it was written, as JSON."""
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError):
            value = read(text)
            return value if isinstance(value, str) else json.dumps(value)
    return text


def _by_tool(tools: Iterable[AgentRunEvent]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tool in tools:
        data = tool.get_data_dict()
        name = data.get("tool_name") or data["tool"]
        if data.get("server"):
            name = f"mcp__{data['server']}__{name}"
        one = found.setdefault(name, {"calls": 0, "errors": 0, "unfinished": 0})
        one["calls"] += 1
        one["errors"] += _failed(tool)
        one["unfinished"] += bool(data.get("unfinished"))
    return found


def _run(
    run: AgentRun, usage: Iterable[AgentLLMUsage], tools: Iterable[AgentRunEvent]
) -> dict[str, Any]:
    calls = [each for each in usage if each.run_id == run.run_id]
    return {
        "key": run.run_id,
        "session": run.session_id,
        "parent": run.parent_run_id,
        "status": run.status,
        "objective": run.objective,
        "final": run.final_output,
        "error": run.error_message,
        "calls": len(calls),
        "input": sum(each.input_tokens or 0 for each in calls),
        "output": sum(each.output_tokens or 0 for each in calls),
        "tools": sum(tool.run_id == run.run_id for tool in tools),
    }
