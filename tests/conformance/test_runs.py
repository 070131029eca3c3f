"""Runs are created once and replaced by updates; deleting them preserves usage numbers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    Persistence,
)
from tests.support.records import everything

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

PUBLISHED: dict[str, Any] = {
    "agent_id": "agent",
    "agent_name": "Agent",
    "objective": "find out",
    "additional_context": '{"a": 1}',
    "started_at": NOON,
    "finished_at": NOON + timedelta(minutes=1),
    "total_iterations": 3,
    "final_synthesis_output": "found",
    "execution_history": "[1]",
    "status": "completed",
    "error_message": "none",
    "metadata": "{}",
}
LATER: dict[str, Any] = {
    "session_id": "session",
    "parent_run_id": "parent",
    "tags": ["tag", "another"],
    "metrics": "metrics",
    "user_id": "user",
}


def stored(persistence: Persistence, run_id: str = "run") -> AgentRun:
    run = persistence.get_agent_run(run_id)
    assert run is not None
    return run


# --- creating ---------------------------------------------------------------------------------


def test_some_runs_are_found_by_their_ids(persistence: Persistence) -> None:
    persistence.create_agent_runs(AgentRun("agent", f"run-{n}") for n in range(1_500))
    wanted = ["run-7", "missing", *(f"run-{n}" for n in range(0, 1_500, 3))]
    found = persistence.runs.get_many(wanted)
    assert sorted(run.run_id for run in found) == sorted({*wanted} - {"missing"})
    assert persistence.runs.get_many([]) == []


def test_a_duplicate_is_refused_by_its_run_id_and_changes_nothing(
    persistence: Persistence,
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", objective="the first"))
    before = everything(persistence)
    with pytest.raises(ConflictError, match="'run'"):
        persistence.create_agent_run(AgentRun("other", "run", objective="the second"))
    assert everything(persistence) == before


def test_a_deleted_run_can_be_created_again_and_inherits_nothing(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", objective="before"))
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    persistence.log_llm_usage(AgentLLMUsage("agent", "run"))
    persistence.create_agent_run(AgentRun("agent", "child", parent_run_id="run"))
    persistence.delete_agent_run("run")
    persistence.create_agent_run(AgentRun("agent", "run"))
    assert stored(persistence).objective == ""
    assert persistence.get_agent_run_events("run") == []
    assert persistence.get_llm_usage(run_id="run") == []
    assert stored(persistence, "child").parent_run_id is None


# --- updating ---------------------------------------------------------------------------------


def test_the_fields_here_are_all_that_an_update_can_change() -> None:
    kept = {"run_id", "id", "created_at", "updated_at"}
    assert {field.name for field in fields(AgentRun)} == {*PUBLISHED, *LATER, *kept}


def test_an_update_replaces_every_published_field(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("someone", "run"))
    persistence.update_agent_run("run", AgentRun(run_id="run", **PUBLISHED))
    assert asdict(stored(persistence)).items() >= PUBLISHED.items()


def test_an_update_also_replaces_with_none(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun(run_id="run", **PUBLISHED))
    persistence.update_agent_run("run", AgentRun("agent", "run"))
    expected = AgentRun("agent", "run")
    after = stored(persistence)
    for field in PUBLISHED:
        assert getattr(after, field) == getattr(expected, field)


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_update_keeps_later_fields_that_it_does_not_set(
    persistence: Persistence, nothing: str | None
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", **LATER))
    silent: dict[str, Any] = {**dict.fromkeys(LATER, nothing), "metrics": None}
    persistence.update_agent_run("run", AgentRun("agent", "run", **silent))
    assert {name: getattr(stored(persistence), name) for name in LATER} == LATER


@pytest.mark.parametrize("field", LATER)
def test_an_update_replaces_later_fields_that_it_sets(persistence: Persistence, field: str) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", **LATER))
    changed: dict[str, Any] = {field: ["another"] if field == "tags" else "another"}
    persistence.update_agent_run("run", AgentRun("agent", "run", **changed))
    assert {name: getattr(stored(persistence), name) for name in LATER} == {**LATER, **changed}


def test_an_update_changes_only_the_named_run(persistence: Persistence) -> None:
    for name in "run", "other":
        persistence.create_agent_run(AgentRun("agent", name, created_at=NOON))
    ids = {run.run_id: run.id for run in persistence.get_agent_runs()}
    given = AgentRun("agent", "other", objective="new", id=-1, created_at=NOON.replace(year=1999))
    persistence.update_agent_run("run", given)
    run, other = stored(persistence), stored(persistence, "other")
    assert (run.objective, other.objective) == ("new", "")
    assert {run.run_id: run.id, other.run_id: other.id} == ids
    assert run.created_at == given.created_at == NOON
    assert given.id == run.id


def test_a_change_replaces_only_the_named_fields(persistence: Persistence) -> None:
    run = AgentRun(run_id="run", **(PUBLISHED | LATER))
    persistence.create_agent_run(run)
    persistence.runs.patch("run", status="error", metrics={"cost_usd": 2})
    changed = persistence.get_agent_run("run")
    assert changed is not None
    assert (changed.status, changed.get_metrics_dict()) == ("error", {"cost_usd": 2})
    others = {name: getattr(changed, name) for name in PUBLISHED | LATER}
    assert others == PUBLISHED | LATER | {"status": "error", "metrics": changed.metrics}
    assert changed.updated_at > run.updated_at
    end = NOON + timedelta(hours=1)
    persistence.runs.patch("run", finished_at=end)
    changed = persistence.get_agent_run("run")
    assert changed is not None
    assert (changed.status, changed.finished_at) == ("error", end)


def test_a_change_is_refused_like_an_update(persistence: Persistence) -> None:
    with pytest.raises(NotFoundError, match="No run 'nobody' exists"):
        persistence.runs.patch("nobody", status="completed")
    persistence.create_agent_run(AgentRun("agent", "run"))
    for bad in ({"status": ""}, {"status": "x" * 51}, {"finished_at": "today"}):
        with pytest.raises(InvalidValueError, match=f"AgentRun.{next(iter(bad))} "):
            persistence.runs.patch("run", **bad)


def test_updating_an_unknown_run_raises_and_creates_none(persistence: Persistence) -> None:
    with pytest.raises(NotFoundError, match="'unknown'"):
        persistence.update_agent_run("unknown", AgentRun("agent", "unknown"))
    assert everything(persistence) == []


# --- deleting ---------------------------------------------------------------------------------

NUMBERS: dict[str, Any] = {
    "agent_id": "agent",
    "provider": "provider",
    "model": "model",
    "prompt_length": 1,
    "input_tokens": 2,
    "output_tokens": 3,
    "response_length": 4,
    "status": "timeout",
    "latency_ms": 5,
    "created_at": NOON,
    "span_id": "span",
    "cache_read_tokens": 6,
    "cache_write_tokens": 7,
    "reasoning_tokens": 8,
    "cost_usd": Decimal("0.000009"),
    "event_id": "call",
    "trace_id": "trace",
    "parent_span_id": "parent",
    "price_version": "own 1",
}
WORDS: dict[str, Any] = {
    "prompt": "words",
    "input_params": "words",
    "response_content": "words",
    "usage_metrics": "words",
    "error_message": "words",
}


def test_the_fields_here_are_all_that_a_model_call_has() -> None:
    names = {field.name for field in fields(AgentLLMUsage)}
    assert names == {*NUMBERS, *WORDS, "run_id", "id"}


def test_usage_of_a_deleted_run_keeps_numbers_and_loses_text_and_run(
    persistence: Persistence,
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.log_llm_usage(AgentLLMUsage(run_id="run", **NUMBERS, **WORDS))
    before = persistence.get_agent_run_stats()
    assert persistence.delete_agent_run("run") is True
    [usage] = persistence.get_llm_usage()
    kept = asdict(usage)
    assert kept.items() >= NUMBERS.items()
    assert [kept[name] for name in ("run_id", *WORDS)] == [None, "", None, None, None, None]
    after = persistence.get_agent_run_stats()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"total_runs", "runs_by_status"}


def test_a_cost_from_the_metrics_outlives_them(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", usage_metrics={"cost_usd": 0.25}))
    persistence.delete_agent_run("run")
    assert persistence.get_llm_usage()[0].get_cost_usd() == Decimal("0.25")


def test_deleting_removes_a_runs_events_and_no_other_run(persistence: Persistence) -> None:
    for name in "doomed", "spared":
        persistence.create_agent_run(AgentRun("agent", name))
        persistence.log_agent_run_event(AgentRunEvent("agent", name))
        persistence.log_llm_usage(AgentLLMUsage("agent", name, prompt="words"))
    kept = stored(persistence, "spared"), persistence.get_agent_run_events("spared")
    persistence.delete_agent_run("doomed")
    assert persistence.get_agent_run("doomed") is None
    assert persistence.get_agent_run_events("doomed") == []
    assert (stored(persistence, "spared"), persistence.get_agent_run_events("spared")) == kept
    assert [usage.prompt for usage in persistence.get_llm_usage(run_id="spared")] == ["words"]


def test_children_stay_without_their_parent_and_grandchildren_with_theirs(
    persistence: Persistence,
) -> None:
    for name, parent in ("top", None), ("child", "top"), ("twin", "top"), ("below", "child"):
        persistence.create_agent_run(AgentRun("agent", name, parent_run_id=parent))
    persistence.delete_agent_run("top")
    parents = {run.run_id: run.parent_run_id for run in persistence.get_agent_runs()}
    assert parents == {"child": None, "twin": None, "below": "child"}


def test_deleting_an_unknown_run_is_false_and_leaves_its_usage(persistence: Persistence) -> None:
    """Usage may name a run that was never created."""
    persistence.log_llm_usage(AgentLLMUsage("agent", "unknown", prompt="words"))
    persistence.create_agent_run(AgentRun("agent", "child", parent_run_id="unknown"))
    before = everything(persistence)
    assert persistence.delete_agent_run("unknown") is False
    assert everything(persistence) == before


def test_a_run_is_deleted_once(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    assert [persistence.delete_agent_run("run") for _ in range(2)] == [True, False]


def large_run(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.log_agent_run_events(AgentRunEvent("agent", "run") for _ in range(1_203))
    calls = (AgentLLMUsage("agent", "run", prompt="words", input_tokens=1) for _ in range(601))
    persistence.log_llm_usages(calls)
    children = [AgentRun("agent", f"child {n}", parent_run_id="run") for n in range(502)]
    persistence.create_agent_runs(children)


def test_a_large_run_is_deleted_in_batches_between_which_others_may_write(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    large_run(persistence)
    deleted, delete = [], persistence._store.delete

    def delete_and_note(table: Any, *args: Any) -> int:
        deleted.append((table.name, delete(table, *args)))
        return deleted[-1][1]

    monkeypatch.setattr(persistence._store, "delete", delete_and_note)
    assert persistence.delete_agent_run("run")
    events = [count for name, count in deleted if name == "agent_run_events"]
    assert sum(events) == 1_203
    assert max(events) <= 500
    derived = ("agent_chain_heads", "agent_embeddings")
    assert [each for each in deleted if each[0] not in derived][-1] == ("agent_runs", 1)
    assert persistence.count_events() == 0
    calls = persistence.get_llm_usage(limit=None)
    assert {(call.run_id, call.prompt, call.input_tokens) for call in calls} == {(None, "", 1)}
    assert {run.parent_run_id for run in persistence.get_agent_runs(limit=None)} == {None}


def test_an_interrupted_deletion_can_be_repeated(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    large_run(persistence)
    delete = persistence._store.delete

    def fail_at_the_run(table: Any, *args: Any) -> int:
        if table.name == "agent_runs":
            raise KeyboardInterrupt
        return delete(table, *args)

    with monkeypatch.context() as patch:
        patch.setattr(persistence._store, "delete", fail_at_the_run)
        with pytest.raises(KeyboardInterrupt):
            persistence.delete_agent_run("run")
    assert persistence.get_agent_run("run") is not None
    assert persistence.delete_agent_run("run")
    assert persistence.count_events() == 0
    assert persistence.get_llm_usage(run_id="run") == []


def test_in_a_transaction_a_deletion_of_any_size_is_all_or_nothing(
    persistence: Persistence,
) -> None:
    large_run(persistence)
    before = everything(persistence)
    with suppress(KeyboardInterrupt), persistence.transaction():
        assert persistence.delete_agent_run("run")
        raise KeyboardInterrupt
    assert everything(persistence) == before


def test_ids_are_found_by_their_prefix(persistence: Persistence) -> None:
    uuids = [f"01a2283b-870{n}-7526-bef0-44470ea0792c" for n in "09af"]
    for run_id in (*uuids, "01a2283b-870", "01a2283b870", "01a2283c", "last"):
        persistence.create_agent_run(AgentRun("a", run_id))
    assert persistence.runs.find_ids("01a2283b-870a") == [uuids[2]]
    assert set(uuids) <= set(persistence.runs.find_ids("01a2283b"))
    assert persistence.runs.find_ids(uuids[0]) == [uuids[0]]
    for other in ("01a2283", "01a2283d", "nothing at all", "%1a2283b", "01A2283B-870A"):
        assert persistence.runs.find_ids(other) == []
