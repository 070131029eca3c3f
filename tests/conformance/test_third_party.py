"""A class with the ten methods fulfils the published contract, and gets the rest for free."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from datetime import UTC, datetime
from itertools import count
from threading import RLock
from typing import Any, TypeVar

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    BasePersistence,
    ConflictError,
    NotFoundError,
)
from curio_persistence.testing import PublishedContract

Record = TypeVar("Record", AgentRun, AgentRunEvent, AgentLLMUsage)


class DictPersistence(BasePersistence):
    """The ten methods over dictionaries, written with `BasePersistence` alone."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._ids = count(1)
        self._runs: dict[str, AgentRun] = {}
        self._stubs: set[str] = set()
        self._events: list[AgentRunEvent] = []
        self._usage: list[AgentLLMUsage] = []

    def create_agent_run(self, run: AgentRun) -> None:
        with self._lock:
            stub = self._runs.get(run.run_id) if run.run_id in self._stubs else None
            if run.run_id in self._runs and stub is None:
                raise ConflictError(f"There is a run {run.run_id!r} already.")
            run.id = stub.id if stub else next(self._ids)
            run.created_at = run.created_at or datetime.now(UTC)
            run.updated_at = run.updated_at or run.created_at
            self._stubs.discard(run.run_id)
            self._runs[run.run_id] = kept(run)

    def update_agent_run(self, run_id: str, run: AgentRun) -> None:
        with self._lock:
            if run_id not in self._runs:
                raise NotFoundError(f"There is no run {run_id!r}.")
            before = self._runs[run_id]
            run.id, run.created_at, run.updated_at = before.id, before.created_at, datetime.now(UTC)
            after = kept(run)
            after.run_id = run_id
            after.session_id = after.session_id or before.session_id
            after.parent_run_id = after.parent_run_id or before.parent_run_id
            self._runs[run_id] = after

    def get_agent_run(self, run_id: str) -> AgentRun | None:
        with self._lock:
            return deepcopy(self._runs.get(run_id))

    def get_agent_runs(
        self, agent_id: str | None = None, limit: int | None = 10, offset: int = 0
    ) -> list[AgentRun]:
        with self._lock:
            found = [run for run in self._runs.values() if agent_id in (None, "", run.agent_id)]
            return deepcopy(newest_first(found)[offset:][:limit])

    def delete_agent_run(self, run_id: str) -> bool:
        with self._lock:
            if self._runs.pop(run_id, None) is None:
                return False
            self._events = [event for event in self._events if event.run_id != run_id]
            for usage in self._usage:
                if usage.run_id == run_id:
                    usage.cost_usd = usage.get_cost_usd()
                    usage.run_id, usage.prompt = None, ""
                    usage.response_content = usage.error_message = None
                    usage.input_params = usage.usage_metrics = None
            for run in self._runs.values():
                if run.parent_run_id == run_id:
                    run.parent_run_id = None
            return True

    def log_agent_run_event(self, event: AgentRunEvent) -> None:
        with self._lock:
            now = datetime.now(UTC)
            event.id = next(self._ids)
            event.timestamp = event.timestamp or now
            event.created_at = event.created_at or now
            self._events.append(kept(event))
            if event.run_id not in self._runs:
                stub = AgentRun(event.agent_id, event.run_id, event.agent_name, status="running")
                stub.started_at = event.timestamp
                self.create_agent_run(stub)
                self._stubs.add(event.run_id)

    def get_agent_run_events(
        self, run_id: str, event_type: str | None = None
    ) -> list[AgentRunEvent]:
        with self._lock:
            found = [
                event
                for event in self._events
                if event.run_id == run_id and event_type in (None, "", event.event_type)
            ]
            return deepcopy(sorted(found, key=lambda event: (event.timestamp, event.id)))

    def log_llm_usage(self, usage: AgentLLMUsage) -> None:
        with self._lock:
            usage.id = next(self._ids)
            usage.created_at = usage.created_at or datetime.now(UTC)
            self._usage.append(kept(usage))

    def get_llm_usage(
        self, agent_id: str | None = None, run_id: str | None = None, limit: int | None = 100
    ) -> list[AgentLLMUsage]:
        with self._lock:
            found = [
                usage
                for usage in self._usage
                if agent_id in (None, "", usage.agent_id) and run_id in (None, "", usage.run_id)
            ]
            return deepcopy(newest_first(found)[:limit])

    def get_agent_run_stats(self, agent_id: str | None = None) -> dict[str, Any]:
        runs = self.get_agent_runs(agent_id, limit=None)
        calls = self.get_llm_usage(agent_id, limit=None)
        iterations = sum(run.total_iterations for run in runs)
        return {
            "total_runs": len(runs),
            "completed_runs": sum(run.status == "completed" for run in runs),
            "error_runs": sum(run.status == "error" for run in runs),
            "avg_iterations": round(iterations / len(runs), 2) if runs else 0.0,
            "total_llm_calls": len(calls),
            "total_input_tokens": sum(call.input_tokens or 0 for call in calls),
            "total_output_tokens": sum(call.output_tokens or 0 for call in calls),
        }


def kept(record: Record) -> Record:
    """Return a copy with its times in UTC."""
    copy = deepcopy(record)
    for field in fields(copy):
        value = getattr(copy, field.name)
        if isinstance(value, datetime):
            setattr(copy, field.name, value.astimezone(UTC))
    return copy


def newest_first(records: list[Any]) -> list[Any]:
    return sorted(records, key=lambda record: (record.created_at, record.id), reverse=True)


class TestDictPersistence(PublishedContract):
    @pytest.fixture
    def persistence(self) -> BasePersistence:
        return DictPersistence()


class HandsOutItsOwn(DictPersistence):
    def get_agent_run(self, run_id: str) -> AgentRun | None:
        return self._runs.get(run_id)


class OldestFirst(DictPersistence):
    def get_agent_runs(self, *args: Any, **kwargs: Any) -> list[AgentRun]:
        return super().get_agent_runs(*args, **kwargs)[::-1]


class KeepsEvents(DictPersistence):
    def delete_agent_run(self, run_id: str) -> bool:
        events = list(self._events)
        deleted = super().delete_agent_run(run_id)
        self._events = events
        return deleted


class CountsErrorsAsCompleted(DictPersistence):
    def get_agent_run_stats(self, agent_id: str | None = None) -> dict[str, Any]:
        stats = super().get_agent_run_stats(agent_id)
        return {**stats, "completed_runs": stats["completed_runs"] + stats["error_runs"]}


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (
            HandsOutItsOwn,
            PublishedContract.test_changing_what_was_handed_out_changes_nothing_stored,
        ),
        (
            OldestFirst,
            PublishedContract.test_runs_come_newest_first_and_of_equal_times_the_last_one_first,
        ),
        (
            KeepsEvents,
            PublishedContract.test_deleting_removes_a_run_and_its_events_and_no_other,
        ),
        (CountsErrorsAsCompleted, PublishedContract.test_statistics_add_up),
    ],
)
def test_the_suite_finds_a_broken_promise(
    broken: type[DictPersistence], promise: Callable[[PublishedContract, BasePersistence], None]
) -> None:
    promise(PublishedContract(), DictPersistence())
    with pytest.raises(AssertionError):
        promise(PublishedContract(), broken())


class Unreachable(DictPersistence):
    def get_agent_runs(self, *args: Any, **kwargs: Any) -> list[AgentRun]:
        raise OSError("no route to host")


def test_an_unreadable_persistence_is_not_healthy() -> None:
    assert Unreachable().health_check() is False


def test_the_ten_methods_are_sufficient() -> None:
    assert BasePersistence.__abstractmethods__ == {
        "create_agent_run",
        "update_agent_run",
        "get_agent_run",
        "get_agent_runs",
        "delete_agent_run",
        "log_agent_run_event",
        "get_agent_run_events",
        "log_llm_usage",
        "get_llm_usage",
        "get_agent_run_stats",
    }


@pytest.mark.parametrize("missing", sorted(BasePersistence.__abstractmethods__))
def test_nine_methods_are_not_sufficient(missing: str) -> None:
    nine = type("Nine", (DictPersistence,), {missing: getattr(BasePersistence, missing)})
    with pytest.raises(TypeError, match=missing):
        nine()
