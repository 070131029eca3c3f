"""Run folders as AGDD and MAGSAG write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN = 1_763_634_600.0
"""2025-11-20T10:30:00Z"""


class RunFolder:
    """`.runs/agents/<run_id>/`, written as a run writes it: by lines and files."""

    def __init__(self, root: Path, run_id: str, slug: str = "offer-mag") -> None:
        self.path = root / run_id
        self.path.mkdir(parents=True)
        self.run_id = run_id
        self.slug = slug
        self._logs = 0

    def log(self, event: str, data: Any = None, **others: Any) -> None:
        """Write a line of `logs.jsonl`, a second after the previous one."""
        entry = {
            "run_id": self.run_id,
            "event": event,
            "timestamp": BEGIN + self._logs,
            "data": {} if data is None else data,
            "span_id": "span-1",
        }
        self._logs += 1
        self.line("logs.jsonl", {**entry, **others})

    def start(self, **data: Any) -> None:
        self.log("start", {"agent": "Offer Orchestrator", "slug": self.slug, **data})

    def line(self, file: str, entry: Mapping[str, Any] | bytes) -> None:
        """Write a line of any file; bytes are written unchanged."""
        text = entry if isinstance(entry, bytes) else json.dumps(entry, ensure_ascii=False).encode()
        with (self.path / file).open("ab") as lines:
            lines.write(text + b"\n")

    def metrics(self, **values: Sequence[Any]) -> None:
        """Write `metrics.json`, each value a second after the previous one."""
        self.file("metrics.json", self._metrics(values))

    def _metrics(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        return {
            key: [
                {"run_id": self.run_id, "value": value, "timestamp": BEGIN + number}
                for number, value in enumerate(those)
            ]
            for key, those in values.items()
        }

    def summary(self, **others: Any) -> None:
        """Write `summary.json`, the last file of a run; `metrics=` as by `metrics()`."""
        summary = {
            "run_id": self.run_id,
            "slug": self.slug,
            "total_logs": self._logs,
            "metrics": self._metrics(others.pop("metrics", {})),
            "run_dir": str(self.path),
            "span_id": "span-1",
            "cost_usd": 0.0042,
            "token_count": 1200,
            "otel_enabled": False,
        }
        self.file("summary.json", {**summary, **others})

    def file(self, name: str, content: Any) -> None:
        (self.path / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def write_examples(root: Path) -> None:
    """Write a run that succeeded, the child to which it delegated, and one that crashed."""
    parent = RunFolder(root, "mag-1")
    parent.start(plan={"provider": "acme"})
    parent.log("delegation_start", {"sag_id": "advisor-sag", "task_id": "t1"})
    parent.log("end", {"status": "success", "duration_ms": 2000, "cost_usd": 0.0042})
    parent.metrics(duration_ms=[2000], cost_usd=[0.004, 0.0002])
    parent.file("plan.json", {"steps": ["ask", "offer"]})
    parent.summary()

    child = RunFolder(root, "sag-1", slug="advisor-sag")
    child.start(parent_run_id="mag-1", task_id="t1")
    child.log("retry", {"attempt": 1, "error": "rate limit", "type": "HTTPError"})
    child.line(
        "events.jsonl",
        {
            "ts": "2025-11-20T10:30:01.500000",
            "run_id": "sag-1",
            "span_id": "span-2",
            "type": "tool.result",
            "payload": {"rows": 3},
            "level": "WARN",
            "kv": {"cached": True},
        },
    )
    child.line(
        "mcp_calls.jsonl",
        {
            "run_id": "sag-1",
            "timestamp": BEGIN + 1.25,
            "server_id": "pg",
            "tool": "query",
            "status": "error",
            "latency_ms": 12.5,
            "arguments": {"sql": "SELECT 1"},
            "error": "no such table",
        },
    )
    child.log("end", {"status": "success", "attempt": 2})
    child.summary()

    RunFolder(root, "mag-2").start()
