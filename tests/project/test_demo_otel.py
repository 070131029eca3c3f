"""`make demo-otel`: three agents of three real frameworks are recorded by what they send."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from curio_persistence import SQLitePersistence

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-otel/bin/python"


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)  # Three frameworks are imported, from packages that nothing has compiled.
def test_the_demo_records_three_agents(tmp_path: Path) -> None:
    if not PYTHON.exists() and os.environ.get("CI") != "true":
        pytest.skip("the frameworks are not installed: make .venv-otel/.installed")
    done = subprocess.run(
        [PYTHON, ROOT / "examples/opentelemetry/demo.py", "demo.db"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'curio_runs_ended_total{agent="Billing",status="completed"} 1.0' in done.stdout
    with SQLitePersistence(tmp_path / "demo.db", read_only=True) as persistence:
        runs = {run.agent_id: run for run in persistence.get_agent_runs()}
        assert {name: run.status for name, run in runs.items()} == {
            "Triage": "completed",
            "Billing": "completed",
            "forecaster": "completed",
            "bookkeeper": "error",
        }
        assert runs["forecaster"].session_id == "trip-to-bergen"
        assert str(runs["bookkeeper"].error_message).endswith("the books of November are closed")
        stats = persistence.get_agent_run_stats()
        assert (stats["total_llm_calls"], stats["total_input_tokens"]) == (6, 1880)
        assert {name: tool["call_count"] for name, tool in stats["tool_metrics"].items()} == {
            "find_invoice": 1,
            "forecast": 1,
            "handoff to Billing": 1,
            "book": 1,
        }
