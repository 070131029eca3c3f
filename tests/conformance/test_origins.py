"""The tool, project and branch of runs, which their metadata tells: selected and added up by."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    InMemoryPersistence,
    Persistence,
    RetentionPolicy,
    copy_records,
)

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def work(
    persistence: Persistence, run_id: str, dollars: int, day: int = 0, **metadata: Any
) -> None:
    """Store a run with one model call."""
    at = MONDAY + timedelta(days=day)
    run = AgentRun("claude-code", run_id, metadata=metadata, status="completed", created_at=at)
    run.started_at, run.finished_at = at, at + timedelta(seconds=5)
    persistence.create_agent_run(run)
    call = AgentLLMUsage("claude-code", run_id, "anthropic", "m", created_at=at)
    call.cost_usd = Decimal(dollars)
    persistence.log_llm_usage(call)


def spent(persistence: Persistence, *groups: str, **more: Any) -> dict[Any, Any]:
    totals = persistence.usage.totals(group_by=groups, timezone="UTC", **more)
    fields = ["period" if group == "day" else group for group in groups]
    return {tuple(getattr(row, each) for each in fields): row.cost_usd for row in totals}


def test_costs_are_added_up_by_source_project_branch_and_day(persistence: Persistence) -> None:
    work(persistence, "1", 1, source="claude-code", project="/home/ada/mill", branch="main")
    work(persistence, "2", 2, source="codex", project="/home/ada/mill", branch="fix")
    work(persistence, "3", 4, day=1, source="codex", project="/home/ada/mill", branch="fix")
    work(persistence, "4", 8)
    assert spent(persistence, "source") == {("claude-code",): 1, ("codex",): 6, (None,): 8}
    assert spent(persistence, "branch") == {("fix",): 6, ("main",): 1, (None,): 8}
    assert spent(persistence, "project", "day") == {
        ("/home/ada/mill", "2026-11-16"): 3,
        ("/home/ada/mill", "2026-11-17"): 4,
        (None, "2026-11-16"): 8,
    }
    assert spent(persistence, "model", project="/home/ada/mill") == {("m",): 7}
    runs = persistence.runs.totals(group_by=("project", "source"), percentiles=True)
    assert [(each.project, each.source, each.runs, each.cost_usd) for each in runs] == [
        ("/home/ada/mill", "claude-code", 1, 1),
        ("/home/ada/mill", "codex", 2, 6),
        (None, None, 1, 8),
    ]


def test_an_update_changes_them_and_takes_them_away(persistence: Persistence) -> None:
    work(persistence, "1", 1, source="codex", project="mill", branch="main")
    run = persistence.get_agent_run("1")
    assert run is not None
    run.metadata = {"project": "water mill", "note": "source"}
    persistence.update_agent_run("1", run)
    assert spent(persistence, "source", "project", "branch") == {(None, "water mill", None): 1}
    assert persistence.count_agent_runs(project="mill") == 0
    assert persistence.count_agent_runs(project="water mill") == 1


@pytest.mark.parametrize(
    "metadata",
    [
        'no JSON, with "project"',
        ["project"],
        {"project": ["mill"], "source": 7, "branch": None},
        {"project": "x" * 256, "source": "", "branch": "a\0b"},
        {"project": "\ud800", "inner": {"source": "codex"}},
    ],
)
def test_what_is_no_short_text_is_none_and_kept_in_the_metadata(
    persistence: Persistence, metadata: Any
) -> None:
    persistence.create_agent_run(AgentRun("a", "1", metadata=metadata))
    [total] = persistence.runs.totals(group_by=("source", "project", "branch"))
    assert (total.source, total.project, total.branch) == (None, None, None)
    run = persistence.get_agent_run("1")
    assert run is not None
    assert run.metadata == (
        metadata if isinstance(metadata, str) else json.dumps(metadata, ensure_ascii=False)
    )


def test_a_copy_has_them_also_of_a_run_that_changed_in_the_meantime(
    persistence: Persistence,
) -> None:
    memory = InMemoryPersistence()
    work(persistence, "1", 1, source="codex", project="mill", branch="main")
    copy_records(persistence, memory)
    assert spent(memory, "project") == {("mill",): 1}
    run = persistence.get_agent_run("1")
    assert run is not None
    run.metadata = {"source": "codex"}
    persistence.update_agent_run("1", run)
    copy_records(persistence, memory)
    assert spent(memory, "source", "project") == {("codex", None): 1}


def test_they_remain_when_a_policy_removes_the_texts(persistence: Persistence) -> None:
    work(persistence, "1", 1, source="codex", project="mill", title="a secret plan")
    persistence.lifecycle.set_policy(RetentionPolicy(keep_content="1d"))
    assert persistence.lifecycle.expire(pace=1).stripped == 1
    assert [check.level for check in persistence.search.check(deep=True)] == ["ok"]
    run = persistence.get_agent_run("1")
    assert run is not None
    assert json.loads(run.metadata) == {"source": "codex", "project": "mill"}
    assert spent(persistence, "source", "project") == {("codex", "mill"): 1}
