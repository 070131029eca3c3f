"""Tests of the contracts, to be run on a persistence or a backend of your own.

Subclass a suite where pytest collects it, and supply the fixture it asks for; each test wants an
empty one::

    # conftest.py
    pytest.register_assert_rewrite("curio_persistence.testing")

    # test_my_persistence.py
    from curio_persistence.testing import PublishedContract


    class TestMyPersistence(PublishedContract):
        @pytest.fixture
        def persistence(self, tmp_path):
            with MyPersistence(tmp_path / "runs") as persistence:
                yield persistence

`PublishedContract` holds of whatever implements the ten methods of `BasePersistence`.
`StoreContract` is for the author of a `Store`, the layer below: with a store that passes it,
`Persistence(store)` has everything this library can do. Needs pytest: `curio-persistence[testing]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from math import inf
from typing import Any

import pytest

from curio_persistence.base import BasePersistence
from curio_persistence.errors import (
    ClosedError,
    ConflictError,
    MissingRunError,
    NotFoundError,
    UnsupportedError,
)
from curio_persistence.models import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
)
from curio_persistence.store.base import Store, position_of_last
from curio_persistence.store.codecs import decode_money, encode_time
from curio_persistence.store.filters import (
    COUNT,
    Bucket,
    Filter,
    Measure,
    MeasureKind,
    Order,
    Select,
    total,
)
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import CONSUMERS, EVENTS, RUNS, USAGE
from curio_persistence.tables.consumers import position_row

__all__ = ["PublishedContract", "StoreContract"]

_NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_OLDEST = (Order("created_at"), Order("id"))
_NEWEST = (Order("created_at", descending=True), Order("id", descending=True))
_DELIMITERS = (
    *("", "\\", "\\N", "\\.", "\\\\N", "\\t", "\t", "\n", "\r\n", "\b\v\f", "\x7f\x85\u2028"),
    *("NULL", "null", "'", '"', "it's", ",", "{}", "{a,b}", "[1]", "%", "%s", "$1", ":a", "?"),
    *(" ", " a ", "a", "A", "é", "e\u0301", "🙂", "\ufdd0", "1", "01", "1.0", "true"),
)
"""Texts that mean something to a database, or nearly the same as another of them."""


class PublishedContract:
    """The promises of `BasePersistence` for the ten methods, and for what it adds to them."""

    # --- runs ---------------------------------------------------------------------------------

    def test_a_run_comes_back_as_it_was_created(self, persistence: BasePersistence) -> None:
        run = AgentRun(
            "agent",
            "run",
            "Agent",
            "find out",
            '{"tried": ["twice"]}',
            _NOON,
            _NOON + _MINUTE,
            3,
            "found",
            "[1, 2]",
            AgentRunStatus.COMPLETED,
            "none",
            '{"a": 1}',
            session_id="session",
            parent_run_id="parent",
        )
        persistence.create_agent_run(run)
        assert persistence.get_agent_run("run") == run

    def test_a_run_that_nobody_created_is_none(self, persistence: BasePersistence) -> None:
        assert persistence.get_agent_run("unknown") is None

    def test_creating_a_run_fills_in_its_id_and_times(self, persistence: BasePersistence) -> None:
        run = AgentRun("agent", "run")
        persistence.create_agent_run(run)
        assert isinstance(run.id, int)
        assert run.created_at is not None
        assert run.updated_at is not None

    def test_a_run_is_created_once(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run", objective="the first"))
        again = AgentRun("agent", "run", objective="the second")
        with pytest.raises(ConflictError):
            persistence.create_agent_run(again)
        assert again.id is None
        assert _run(persistence, "run").objective == "the first"

    def test_an_update_replaces_the_fields(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run", objective="before", metadata="{}"))
        changed = AgentRun("other", "run", "Other", status="completed", total_iterations=7)
        persistence.update_agent_run("run", changed)
        assert _run(persistence, "run") == changed
        assert (changed.agent_id, changed.objective, changed.metadata) == ("other", "", None)

    def test_an_update_never_changes_id_run_id_and_created_at(
        self, persistence: BasePersistence
    ) -> None:
        created = AgentRun("agent", "run")
        persistence.create_agent_run(created)
        persistence.update_agent_run("run", AgentRun("agent", "x", id=99, created_at=_NOON))
        after = _run(persistence, "run")
        assert (after.id, after.created_at) == (created.id, created.created_at)
        assert persistence.get_agent_run("x") is None

    def test_an_update_replaces_session_and_parent_only_where_it_names_them(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(
            AgentRun("agent", "run", session_id="session", parent_run_id="parent")
        )
        persistence.update_agent_run("run", AgentRun("agent", "run", session_id="another"))
        after = _run(persistence, "run")
        assert (after.session_id, after.parent_run_id) == ("another", "parent")

    def test_an_unknown_run_cannot_be_updated(self, persistence: BasePersistence) -> None:
        with pytest.raises(NotFoundError):
            persistence.update_agent_run("unknown", AgentRun("agent", "unknown"))
        assert persistence.get_agent_run("unknown") is None

    def test_runs_come_newest_first_and_of_equal_times_the_last_one_first(
        self, persistence: BasePersistence
    ) -> None:
        for name, minute in ("old", 0), ("new", 2), ("twin", 1), ("other twin", 1):
            run = AgentRun("agent", name, created_at=_NOON + minute * _MINUTE)
            persistence.create_agent_run(run)
        assert _run_ids(persistence) == ["new", "other twin", "twin", "old"]

    @pytest.mark.parametrize(
        ("limit", "offset", "expected"),
        [(0, 0, ""), (2, 0, "ed"), (2, 1, "dc"), (None, 0, "edcba"), (None, 3, "ba"), (9, 9, "")],
    )
    def test_limit_and_offset_cut_out_a_page(
        self, persistence: BasePersistence, limit: int | None, offset: int, expected: str
    ) -> None:
        for minute, name in enumerate("abcde"):
            run = AgentRun("agent", name, created_at=_NOON + minute * _MINUTE)
            persistence.create_agent_run(run)
        page = persistence.get_agent_runs(limit=limit, offset=offset)
        assert "".join(run.run_id for run in page) == expected

    @pytest.mark.parametrize("nothing", ["", None])
    def test_nothing_to_filter_by_means_everything(
        self, persistence: BasePersistence, nothing: str | None
    ) -> None:
        for agent in "one", "two":
            persistence.create_agent_run(AgentRun(agent, f"run of {agent}"))
            persistence.log_llm_usage(AgentLLMUsage(agent, f"run of {agent}"))
        persistence.log_agent_run_event(AgentRunEvent("one", "run of one", event_type="custom"))
        assert len(persistence.get_agent_runs(nothing)) == 2
        assert len(persistence.get_llm_usage(nothing, nothing)) == 2
        assert len(persistence.get_agent_run_events("run of one", nothing)) == 1
        assert persistence.get_agent_run_stats(nothing)["total_runs"] == 2

    def test_runs_of_one_agent(self, persistence: BasePersistence) -> None:
        for agent in "one", "two":
            persistence.create_agent_run(AgentRun(agent, f"run of {agent}"))
        assert [run.run_id for run in persistence.get_agent_runs("two")] == ["run of two"]
        assert persistence.get_agent_runs("three") == []

    # --- deleting -----------------------------------------------------------------------------

    def test_deleting_removes_a_run_and_its_events_and_no_other(
        self, persistence: BasePersistence
    ) -> None:
        for name in "doomed", "spared":
            persistence.create_agent_run(AgentRun("agent", name))
            persistence.log_agent_run_event(AgentRunEvent("agent", name))
        assert persistence.delete_agent_run("doomed") is True
        assert persistence.get_agent_run("doomed") is None
        assert persistence.get_agent_run_events("doomed") == []
        assert len(persistence.get_agent_run_events("spared")) == 1

    def test_deleting_an_unknown_run_is_false(self, persistence: BasePersistence) -> None:
        assert persistence.delete_agent_run("unknown") is False

    def test_the_usage_of_a_deleted_run_keeps_its_numbers_and_loses_its_words(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        usage = AgentLLMUsage(
            "agent",
            "run",
            "provider",
            "model",
            "a prompt",
            8,
            '{"temperature": 0}',
            10,
            20,
            "an answer",
            9,
            '{"cost_usd": 0.5}',
            "error",
            "too long",
            30,
        )
        persistence.log_llm_usage(usage)
        persistence.delete_agent_run("run")
        [kept] = persistence.get_llm_usage()
        assert (kept.input_tokens, kept.output_tokens, kept.latency_ms) == (10, 20, 30)
        assert (kept.model, kept.status, kept.get_cost_usd()) == ("model", "error", Decimal("0.5"))
        assert (kept.run_id, kept.prompt) == (None, "")
        assert not any((kept.response_content, kept.error_message, kept.input_params))

    def test_the_children_of_a_deleted_run_stay_without_a_parent(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(AgentRun("agent", "parent"))
        persistence.create_agent_run(AgentRun("agent", "child", parent_run_id="parent"))
        persistence.delete_agent_run("parent")
        assert _run(persistence, "child").parent_run_id is None

    # --- events -------------------------------------------------------------------------------

    def test_an_event_comes_back_as_it_was_logged(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        event = AgentRunEvent("agent", "run", "Agent", _NOON, EventType.CUSTOM, '{"a": [1]}')
        persistence.log_agent_run_event(event)
        assert isinstance(event.id, int)
        assert persistence.get_agent_run_events("run") == [event]
        assert event.get_data_dict() == {"a": [1]}

    def test_what_json_can_express_comes_back_as_json(self, persistence: BasePersistence) -> None:
        said = {"text": "it's", "numbers": [1, 2.5, None], "deeper": {"true": True}}
        persistence.create_agent_run(AgentRun("agent", "run", metadata=said))
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", data=said))
        persistence.log_llm_usage(AgentLLMUsage("agent", "run", input_params=said))
        assert _run(persistence, "run").get_metadata_dict() == said
        assert persistence.get_agent_run_events("run")[0].get_data_dict() == said
        assert persistence.get_llm_usage()[0].get_input_params_dict() == said

    def test_an_event_without_a_timestamp_is_given_one(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        event = AgentRunEvent("agent", "run")
        persistence.log_agent_run_event(event)
        assert event.timestamp is not None
        assert event.created_at is not None
        assert persistence.get_agent_run_events("run") == [event]

    def test_events_come_oldest_first_and_of_equal_times_as_they_were_logged(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        for name, minute in ("new", 2), ("old", 0), ("twin", 1), ("other twin", 1):
            at = _NOON + minute * _MINUTE
            event = AgentRunEvent("agent", "run", timestamp=at, event_type=name)
            persistence.log_agent_run_event(event)
        events = persistence.get_agent_run_events("run")
        assert [event.event_type for event in events] == ["old", "twin", "other twin", "new"]

    def test_events_of_one_type(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        for name in "tick", "tock", "tick":
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type=name))
        assert len(persistence.get_agent_run_events("run", "tick")) == 2
        assert persistence.get_agent_run_events("run", "bang") == []
        assert persistence.get_agent_run_events("unknown") == []

    def test_an_event_whose_run_nobody_created_makes_a_minimal_one(
        self, persistence: BasePersistence
    ) -> None:
        event = AgentRunEvent("agent", "run", "Agent", _NOON, "custom")
        persistence.log_agent_run_event(event)
        run = _run(persistence, "run")
        assert (run.agent_id, run.agent_name, run.status) == ("agent", "Agent", "running")
        assert run.started_at == _NOON
        assert persistence.get_agent_run_events("run") == [event]

    def test_a_run_may_be_created_after_its_first_event(self, persistence: BasePersistence) -> None:
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=_NOON))
        persistence.create_agent_run(AgentRun("agent", "run", objective="late"))
        assert _run(persistence, "run").objective == "late"
        assert len(persistence.get_agent_run_events("run")) == 1
        with pytest.raises(ConflictError):
            persistence.create_agent_run(AgentRun("agent", "run"))

    # --- usage --------------------------------------------------------------------------------

    def test_a_model_call_comes_back_as_it_was_logged(self, persistence: BasePersistence) -> None:
        usage = AgentLLMUsage(
            "agent",
            "run",
            "provider",
            "model",
            "why?",
            4,
            '{"top_p": 1}',
            10,
            20,
            "because",
            7,
            '{"cached": true}',
            "success",
            None,
            250,
            span_id="span",
            cache_read_tokens=1,
            cache_write_tokens=2,
            reasoning_tokens=3,
            cost_usd=Decimal("0.000123"),
        )
        persistence.log_llm_usage(usage)
        assert isinstance(usage.id, int)
        assert usage.created_at is not None
        assert persistence.get_llm_usage() == [usage]

    def test_a_model_call_can_stand_alone(self, persistence: BasePersistence) -> None:
        persistence.log_llm_usage(AgentLLMUsage("agent", None))
        persistence.log_llm_usage(AgentLLMUsage("agent", "unknown-run"))
        persistence.log_llm_usage(AgentLLMUsage(None, None))
        assert len(persistence.get_llm_usage()) == 3
        assert len(persistence.get_llm_usage("agent")) == 2
        assert persistence.get_agent_runs() == []

    def test_usage_of_an_agent_or_a_run_newest_first(self, persistence: BasePersistence) -> None:
        for minute, (agent, run) in enumerate([("one", "a"), ("two", "b"), ("two", "a")]):
            at = _NOON + minute * _MINUTE
            persistence.log_llm_usage(AgentLLMUsage(agent, run, f"{agent} {run}", created_at=at))
        providers = [
            [usage.provider for usage in answer]
            for answer in (
                persistence.get_llm_usage(),
                persistence.get_llm_usage("two"),
                persistence.get_llm_usage(run_id="a"),
                persistence.get_llm_usage("two", "a"),
                persistence.get_llm_usage(limit=1),
                persistence.get_llm_usage(limit=0),
            )
        ]
        assert providers == [
            ["two a", "two b", "one a"],
            ["two a", "two b"],
            ["two a", "one a"],
            ["two a"],
            ["two a"],
            [],
        ]

    # --- statistics ---------------------------------------------------------------------------

    def test_statistics_add_up(self, persistence: BasePersistence) -> None:
        for agent, status, iterations in (
            ("one", "completed", 2),
            ("one", "error", 3),
            ("one", "running", 3),
            ("two", "completed", 100),
        ):
            name = f"{agent} {status}"
            persistence.create_agent_run(
                AgentRun(agent, name, status=status, total_iterations=iterations)
            )
            persistence.log_llm_usage(AgentLLMUsage(agent, name, input_tokens=5, output_tokens=7))
        persistence.log_llm_usage(AgentLLMUsage("one", None))
        stats = persistence.get_agent_run_stats("one")
        assert {name: stats[name] for name in _NUMBERS} == {
            "total_runs": 3,
            "completed_runs": 1,
            "error_runs": 1,
            "avg_iterations": 2.67,
            "total_llm_calls": 4,
            "total_input_tokens": 15,
            "total_output_tokens": 21,
        }
        assert persistence.get_agent_run_stats()["avg_iterations"] == 27.0

    def test_statistics_of_nothing_are_zeros(self, persistence: BasePersistence) -> None:
        stats = persistence.get_agent_run_stats("unknown")
        assert {name: stats[name] for name in _NUMBERS} == dict.fromkeys(_NUMBERS, 0)

    # --- copies and times ---------------------------------------------------------------------

    def test_changing_what_was_handed_in_changes_nothing_stored(
        self, persistence: BasePersistence
    ) -> None:
        said = {"list": [1]}
        run = AgentRun("agent", "run", metadata=said)
        event = AgentRunEvent("agent", "run", event_type="before", data=said)
        persistence.create_agent_run(run)
        persistence.log_agent_run_event(event)
        said["list"].append(2)
        run.objective = event.event_type = "after"
        stored, [logged] = _run(persistence, "run"), persistence.get_agent_run_events("run")
        assert (stored.objective, stored.get_metadata_dict()) == ("", {"list": [1]})
        assert (logged.event_type, logged.get_data_dict()) == ("before", {"list": [1]})

    def test_changing_what_was_handed_out_changes_nothing_stored(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
        persistence.log_llm_usage(AgentLLMUsage("agent", "run"))
        _run(persistence, "run").objective = "changed"
        persistence.get_agent_runs()[0].objective = "changed"
        persistence.get_agent_run_events("run")[0].event_type = "changed"
        persistence.get_llm_usage()[0].model = "changed"
        assert _run(persistence, "run").objective == ""
        assert persistence.get_agent_run_events("run")[0].event_type == ""
        assert persistence.get_llm_usage()[0].model == ""

    def test_times_come_back_in_utc(self, persistence: BasePersistence) -> None:
        tokyo = timezone(timedelta(hours=9))
        naive = datetime(2026, 11, 20, 12, 0, 0, 123456)
        persistence.create_agent_run(
            AgentRun("agent", "run", started_at=_NOON.astimezone(tokyo), finished_at=naive)
        )
        run = _run(persistence, "run")
        assert (run.started_at, run.finished_at) == (_NOON, naive.astimezone(UTC))
        for at in run.started_at, run.finished_at, run.created_at, run.updated_at:
            assert at is not None
            assert at.utcoffset() == timedelta(0)

    # --- threads ------------------------------------------------------------------------------

    def test_threads_may_share_it(self, persistence: BasePersistence) -> None:
        def work(name: str) -> None:
            persistence.create_agent_run(AgentRun("agent", name))
            for number in range(5):
                persistence.log_agent_run_event(AgentRunEvent("agent", name, data=str(number)))

        names = [f"run {number}" for number in range(8)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, names))
        assert sorted(_run_ids(persistence)) == names
        for name in names:
            logged = [event.data for event in persistence.get_agent_run_events(name)]
            assert logged == ["0", "1", "2", "3", "4"]

    def test_threads_that_log_first_of_all_make_one_run(self, persistence: BasePersistence) -> None:
        def log(number: int) -> None:
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", data=str(number)))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(log, range(12)))
        assert _run_ids(persistence) == ["run"]
        assert len(persistence.get_agent_run_events("run")) == 12

    # --- what comes for free ------------------------------------------------------------------

    def test_it_can_be_opened_with_a_with_statement(self, persistence: BasePersistence) -> None:
        with persistence as opened:
            assert opened is persistence

    def test_closing_twice_is_fine(self, persistence: BasePersistence) -> None:
        persistence.close()
        persistence.close()

    def test_it_is_healthy(self, persistence: BasePersistence) -> None:
        assert persistence.health_check() is True

    def test_initializing_again_changes_nothing(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        persistence.initialize_schema()
        assert _run_ids(persistence) == ["run"]

    def test_a_recorded_run_is_kept_with_all_that_happened(
        self, persistence: BasePersistence
    ) -> None:
        with persistence.record_run(agent_id="agent", objective="find out") as run:
            run.log("thought", {"about": "it"})
            with run.tool("search", {"q": "it"}) as call:
                call.result = ["found"]
            run.llm_call(model="model", prompt="why?", response="because", input_tokens=3)
            run.finish("done")
        stored = _run(persistence, run.run_id)
        assert (stored.status, stored.final_synthesis_output) == ("completed", "done")
        events = persistence.get_agent_run_events(run.run_id)
        assert [event.event_type for event in events] == [
            "run_started",
            "thought",
            "tool_call_started",
            "tool_call",
            "run_completed",
        ]
        [usage] = persistence.get_llm_usage(run_id=run.run_id)
        assert (usage.prompt, usage.response_content, usage.input_tokens) == ("why?", "because", 3)
        assert run.lost == 0

    @pytest.mark.parametrize(
        ("raised", "status"),
        [
            (ValueError("no"), "error"),
            (KeyboardInterrupt(), "cancelled"),
            (asyncio.CancelledError(), "cancelled"),
        ],
    )
    def test_a_recorded_run_that_raises_says_so_and_lets_it_go_on(
        self, persistence: BasePersistence, raised: BaseException, status: str
    ) -> None:
        with (
            pytest.raises(type(raised)) as caught,
            persistence.record_run(agent_id="agent", run_id="run"),
        ):
            raise raised
        assert caught.value is raised
        assert _run(persistence, "run").status == status

    def test_a_run_recorded_inside_another_is_its_child(self, persistence: BasePersistence) -> None:
        with (
            persistence.record_run(agent_id="agent", run_id="outer"),
            persistence.record_run(agent_id="agent", run_id="inner"),
        ):
            pass
        assert _run(persistence, "inner").parent_run_id == "outer"
        assert _run(persistence, "outer").parent_run_id is None


_NUMBERS = (
    "total_runs",
    "completed_runs",
    "error_runs",
    "avg_iterations",
    "total_llm_calls",
    "total_input_tokens",
    "total_output_tokens",
)


def _run(persistence: BasePersistence, run_id: str) -> AgentRun:
    run = persistence.get_agent_run(run_id)
    assert run is not None
    return run


def _run_ids(persistence: BasePersistence) -> list[str]:
    return [run.run_id for run in persistence.get_agent_runs(limit=None)]


class StoreContract:
    """The promises of `Store` for its primitives, shown on our tables.

    Rows are compared as records, since backends may spell one time differently.
    """

    # --- insert -------------------------------------------------------------------------------

    def test_what_is_inserted_is_selected(self, store: Store) -> None:
        call = AgentLLMUsage(
            "agent", "run", prompt="why\0\ud800?", cost_usd=Decimal("-0.000000000001")
        )
        call.created_at = _NOON + timedelta(microseconds=1)
        call.id = store.insert(USAGE, USAGE.encode(call))
        assert _select(store, USAGE) == [call]

    def test_each_row_has_an_id_of_its_own_and_later_rows_a_higher_one(self, store: Store) -> None:
        ids = [store.insert(RUNS, _run_row(name)) for name in ("a", "b", "c")]
        assert ids == sorted(set(ids))

    def test_columns_that_are_left_out_are_none(self, store: Store) -> None:
        store.insert(RUNS, _run_row("run"))
        [run] = _select(store, RUNS)
        assert (run.session_id, run.parent_run_id) == (None, None)

    def test_a_unique_value_is_taken_once(self, store: Store) -> None:
        store.insert(RUNS, _run_row("run", objective="the first"))
        with pytest.raises(ConflictError):
            store.insert(RUNS, _run_row("run", objective="the second"))
        assert [run.objective for run in _select(store, RUNS)] == ["the first"]

    def test_a_reference_must_lead_somewhere(self, store: Store) -> None:
        with pytest.raises(MissingRunError):
            store.insert(EVENTS, _event_row("unknown"))
        assert _select(store, EVENTS) == []

    def test_changing_a_row_after_it_was_handed_in_changes_nothing_stored(
        self, store: Store
    ) -> None:
        row = _run_row("run")
        store.insert(RUNS, row)
        row["objective"] = "changed"
        assert [run.objective for run in _select(store, RUNS)] == [""]

    # --- insert_many --------------------------------------------------------------------------

    def test_many_rows_are_inserted_with_ids_in_their_order(self, store: Store) -> None:
        first = store.insert(RUNS, _run_row("first"))
        ids = store.insert_many(RUNS, [_run_row(f"run {number}") for number in range(700)])
        last = store.insert(RUNS, _run_row("last"))
        assert [first, *ids, last] == sorted({first, *ids, last})
        named = {run.run_id: run.id for run in _select(store, RUNS)}
        assert named == {
            "first": first,
            **{f"run {number}": ident for number, ident in enumerate(ids)},
            "last": last,
        }

    def test_no_rows_are_many_too(self, store: Store) -> None:
        assert list(store.insert_many(RUNS, [])) == []

    def test_each_of_many_rows_binds_columns_of_its_own(self, store: Store) -> None:
        """None, of an optional column, is one that is not bound at all."""
        calls = [
            AgentLLMUsage("agent", run_id, created_at=_NOON, input_tokens=tokens, **optional)
            for run_id, tokens, optional in (
                ("run", 1, {"span_id": "span"}),
                (None, None, {}),
                ("run", 2**63 - 1, {"reasoning_tokens": 3, "cost_usd": Decimal("-1.5e-12")}),
                ("run", -(2**63), {"event_id": "event", "cost_usd": Decimal(0)}),
            )
        ]
        rows = [USAGE.encode(call) for call in calls]
        ids = store.insert_many(USAGE, rows)
        for call, ident, row in zip(calls, ids, rows, strict=True):
            call.id, call.cost_usd = ident, decode_money(row.get("cost_usd"))  # type: ignore[arg-type]
        assert _select(store, USAGE, order=_OLDEST) == calls

    def test_any_text_comes_back_from_many_rows(self, store: Store) -> None:
        texts = [*_DELIMITERS, "".join(_DELIMITERS), "\0 \ud800 \udfff"]
        names = [*_DELIMITERS, "".join(_DELIMITERS), "last"]
        rows = [
            _usage_row(prompt=text, model=name) for text, name in zip(texts, names, strict=True)
        ]
        store.insert_many(USAGE, rows)
        stored = _select(store, USAGE, order=_OLDEST)
        assert [call.prompt for call in stored] == texts
        assert [call.model for call in stored] == names

    @pytest.mark.parametrize("taken", ["stored before", "in the same call"])
    def test_of_many_rows_none_is_inserted_where_a_unique_value_is_taken(
        self, store: Store, taken: str
    ) -> None:
        store.insert(RUNS, _run_row("stored before"))
        names = ["a", "in the same call", "b", taken, "c"]
        with pytest.raises(ConflictError):
            store.insert_many(RUNS, [_run_row(name) for name in names])
        assert _run_ids_of(store) == "stored before"

    def test_of_many_rows_none_is_inserted_where_a_reference_leads_nowhere(
        self, store: Store
    ) -> None:
        store.insert(RUNS, _run_row("run"))
        with pytest.raises(MissingRunError):
            store.insert_many(EVENTS, [_event_row(name) for name in ("run", "unknown", "run")])
        assert _select(store, EVENTS) == []

    def test_many_rows_that_fail_spoil_nothing_but_themselves(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, _run_row("a"))
            with pytest.raises(ConflictError):
                store.insert_many(RUNS, [_run_row("b"), _run_row("a")])
            store.insert_many(RUNS, [_run_row("c"), _run_row("d")])
            assert _run_ids_of(store) == "dca"
        assert _run_ids_of(store) == "dca"

    def test_many_rows_are_undone_with_their_transaction(self, store: Store) -> None:
        with _undone(store):
            store.insert_many(RUNS, [_run_row("a"), _run_row("b")])
        assert _run_ids_of(store) == ""

    def test_changing_many_rows_after_they_were_handed_in_changes_nothing_stored(
        self, store: Store
    ) -> None:
        rows = [_run_row("a"), _run_row("b")]
        store.insert_many(RUNS, rows)
        for row in rows:
            row["objective"] = "changed"
        rows.clear()
        assert [run.objective for run in _select(store, RUNS)] == ["", ""]

    def test_threads_that_insert_many_rows_each_learn_the_ids_of_their_own(
        self, store: Store
    ) -> None:
        def insert(thread: int) -> dict[int, str]:
            names = [f"{thread} {number}" for number in range(40)]
            ids = store.insert_many(RUNS, [_run_row(name) for name in names])
            assert list(ids) == sorted(ids)
            return dict(zip(ids, names, strict=True))

        with ThreadPoolExecutor(4) as threads:
            told = [item for ids in threads.map(insert, range(8)) for item in ids.items()]
        assert sorted(told) == sorted((run.id, run.run_id) for run in _select(store, RUNS))

    # --- insert_stream ------------------------------------------------------------------------

    def test_rows_that_come_in_pieces_are_stored_under_their_ids(self, store: Store) -> None:
        calls = [
            AgentLLMUsage("agent", str(ident), id=ident, created_at=_NOON, **optional)
            for ident, optional in (
                (7, {}),
                (8, {"span_id": "span"}),
                (11, {"cost_usd": Decimal("0.5"), "event_id": "event"}),
                (12, {"span_id": "other"}),
            )
        ]
        rows = [USAGE.encode(call) | {"id": call.id} for call in calls]
        pieces = iter(([], rows[:2], [], rows[2:3], rows[3:]))
        assert store.insert_stream(USAGE, pieces) == 4
        assert store.insert_stream(USAGE, []) == 0
        assert _select(store, USAGE, order=(Order("id"),)) == calls

    def test_of_pieces_nothing_is_stored_where_one_cannot_be_made(self, store: Store) -> None:
        def pieces() -> Iterator[list[Row]]:
            yield [_run_row("a") | {"id": 1}]
            raise _Stop

        with pytest.raises(_Stop):
            store.insert_stream(RUNS, pieces())
        with store.transaction():
            store.insert(RUNS, _run_row("b"))
            with pytest.raises(_Stop):
                store.insert_stream(RUNS, pieces())
        assert _run_ids_of(store) == "b"

    def test_of_pieces_nothing_is_stored_where_one_is_refused(self, store: Store) -> None:
        store.insert(RUNS, _run_row("taken"))
        with pytest.raises(ConflictError):
            store.insert_stream(
                RUNS, [[_run_row("a") | {"id": 8}], [_run_row("taken") | {"id": 9}]]
            )
        unknown = _event_row("unknown") | {"id": 9}
        with pytest.raises(MissingRunError):
            store.insert_stream(EVENTS, [[_event_row("taken") | {"id": 8}], [unknown]])
        assert _run_ids_of(store) == "taken"
        assert _select(store, EVENTS) == []

    # --- select -------------------------------------------------------------------------------

    def test_filters_are_joined_by_and(self, store: Store) -> None:
        for run_id, agent, status in (
            ("a", "x", "error"),
            ("b", "x", "running"),
            ("c", "y", "error"),
        ):
            store.insert(RUNS, _run_row(run_id, agent_id=agent, status=status))
        assert _run_ids_of(store, *RUNS.where(agent_id="x")) == "ba"
        assert _run_ids_of(store, *RUNS.where(agent_id="x", status="error")) == "a"
        assert _run_ids_of(store, *RUNS.where(agent_id="z")) == ""

    def test_a_range_includes_its_begin_and_excludes_its_end(self, store: Store) -> None:
        for minute, run_id in enumerate("abcd"):
            store.insert(RUNS, _run_row(run_id, minute))
        since = RUNS.filter("created_at", ">=", _NOON + _MINUTE)
        until = RUNS.filter("created_at", "<", _NOON + 3 * _MINUTE)
        assert _run_ids_of(store, since) == "dcb"
        assert _run_ids_of(store, until) == "cba"
        assert _run_ids_of(store, since, until) == "cb"

    def test_what_is_null_passes_no_filter_but_one(self, store: Store) -> None:
        for run_id, session in ("a", "s"), ("b", None):
            store.insert(RUNS, _run_row(run_id, session_id=session))
        assert _run_ids_of(store, RUNS.filter("session_id", "is not null")) == "a"
        assert _run_ids_of(store, RUNS.filter("session_id", "is null")) == "b"
        assert _run_ids_of(store, RUNS.filter("session_id", "<", "z")) == "a"
        assert _run_ids_of(store, RUNS.filter("session_id", ">=", "a")) == "a"

    def test_a_value_may_be_one_of_several(self, store: Store) -> None:
        for run_id, session, iterations in ("a", "s", 2**63 - 1), ("b", None, 0), ("c", "t", -5):
            store.insert(RUNS, _run_row(run_id, session_id=session, total_iterations=iterations))
        assert _run_ids_of(store, Filter("run_id", "in", ("c", "x", "a", "c"))) == "ca"
        assert _run_ids_of(store, Filter("run_id", "in", ())) == ""
        assert _run_ids_of(store, Filter("session_id", "in", ("s", "t", ""))) == "ca"
        assert _run_ids_of(store, Filter("total_iterations", "in", (0, 2**63 - 1))) == "ba"
        both = Filter("run_id", "in", ("a", "b")), Filter("session_id", "in", ("t", "s"))
        assert _run_ids_of(store, *both) == "a"

    def test_one_of_several_values_is_found_whatever_is_in_it(self, store: Store) -> None:
        names = [name for name in (*_DELIMITERS, "".join(_DELIMITERS)) if name]
        store.insert_many(RUNS, [_run_row(name) for name in names])
        for some in names[::2], names[1::2]:
            found = _select(store, RUNS, where=(Filter("run_id", "in", tuple(some)),))
            assert [run.run_id for run in found] == some[::-1]

    def test_one_of_several_values_may_be_a_time_or_a_cost(self, store: Store) -> None:
        for minute, run_id in enumerate("abc"):
            store.insert(RUNS, _run_row(run_id, minute))
            store.insert(USAGE, _usage_row(model=run_id, cost_usd=Decimal(minute) / 10**12))
        times = [RUNS.encode_value("created_at", _NOON + minute * _MINUTE) for minute in (0, 2, 9)]
        assert _run_ids_of(store, Filter("created_at", "in", tuple(times))) == "ca"
        costs = Filter("cost_usd", "in", (0, 2, 9))
        assert {call.model for call in _select(store, USAGE, where=(costs,))} == {"a", "c"}

    def test_one_of_several_values_decides_what_is_changed_counted_and_deleted(
        self, store: Store
    ) -> None:
        store.insert_many(RUNS, [_run_row(name) for name in "abcd"])
        some = (Filter("run_id", "in", ("a", "c")),)
        assert len(store.update(RUNS, some, {"status": "x"})) == 2
        assert _run_ids_of(store, *RUNS.where(status="x")) == "ca"
        assert store.aggregate(RUNS, (COUNT,), some) == [(2,)]
        assert store.delete(RUNS, some) == 2
        assert _run_ids_of(store) == "db"

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            (None, "dbca"),
            ((Order("created_at"), Order("id")), "acbd"),
            ((Order("total_iterations"), Order("id", descending=True)), "dcba"),
        ],
    )
    def test_rows_come_in_the_tables_order_or_in_the_one_given(
        self, store: Store, order: tuple[Order, ...] | None, expected: str
    ) -> None:
        for run_id, minute, iterations in ("a", 0, 2), ("c", 1, 1), ("b", 1, 2), ("d", 3, -1):
            store.insert(RUNS, _run_row(run_id, minute, total_iterations=iterations))
        assert "".join(run.run_id for run in _select(store, RUNS, order=order)) == expected

    @pytest.mark.parametrize(
        ("limit", "offset", "expected"),
        [
            (0, 0, ""),
            (2, 0, "dc"),
            (2, 1, "cb"),
            (None, 3, "a"),
            (9, 4, ""),
            (2**63 - 1, 2**63 - 1, ""),
        ],
    )
    def test_limit_and_offset_cut_out_a_page(
        self, store: Store, limit: int | None, offset: int, expected: str
    ) -> None:
        for minute, run_id in enumerate("abcd"):
            store.insert(RUNS, _run_row(run_id, minute))
        page = _select(store, RUNS, limit=limit, offset=offset)
        assert "".join(run.run_id for run in page) == expected

    @pytest.mark.parametrize("order", [_OLDEST, _NEWEST, (Order("total_iterations"), Order("id"))])
    @pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
    def test_a_page_begins_after_the_position_where_the_last_one_ended(
        self, store: Store, order: tuple[Order, ...], size: int
    ) -> None:
        _insert_ties(store)
        pages, after = [""], None
        while len(pages) < 9:
            columns = store.select(RUNS, order=order, after=after, limit=size)
            if not columns[0]:
                break
            pages.append("".join(columns[RUNS.names.index("run_id")]))
            after = position_of_last(RUNS, order, columns)
        assert "".join(pages) == "".join(run.run_id for run in _select(store, RUNS, order=order))
        assert {len(page) for page in pages[1:-1]} <= {size}

    def test_a_position_needs_no_row_to_stand_on(self, store: Store) -> None:
        """Not even one that was there when the position was taken."""
        _insert_ties(store)
        columns = store.select(RUNS, order=_OLDEST, limit=3)
        rest = [run.run_id for run in _select(store, RUNS, order=_OLDEST)][3:]
        store.delete(RUNS, RUNS.where(run_id=columns[RUNS.names.index("run_id")][-1]))
        after = position_of_last(RUNS, _OLDEST, columns)
        found = _select(store, RUNS, order=_OLDEST, after=after)
        assert [run.run_id for run in found] == rest

    def test_a_position_goes_together_with_filters_limit_and_offset(self, store: Store) -> None:
        _insert_ties(store)
        where = (RUNS.filter("status", "=", "x"),)
        rest = [run.run_id for run in _select(store, RUNS, where=where)][1:]
        after = position_of_last(RUNS, RUNS.order, store.select(RUNS, where, limit=1))
        options: list[dict[str, Any]] = [{}, {"limit": 1}, {"offset": 1}, {"limit": 1, "offset": 1}]
        for option in options:
            found = _select(store, RUNS, where=where, after=after, **option)
            begin = option.get("offset", 0)
            end = begin + option.get("limit", len(rest))
            assert [run.run_id for run in found] == rest[begin:end]

    # --- stream -------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 2_000])
    @pytest.mark.parametrize("order", [None, _OLDEST])
    def test_a_stream_is_a_selection_in_chunks(
        self, store: Store, order: tuple[Order, ...] | None, size: int
    ) -> None:
        _insert_ties(store)
        chunks = [RUNS.decode(columns) for columns in store.stream(RUNS, order=order, size=size)]
        assert [run for chunk in chunks for run in chunk] == _select(store, RUNS, order=order)
        assert all(0 < len(chunk) <= size for chunk in chunks)

    def test_a_stream_has_the_rows_that_match_after_a_position(self, store: Store) -> None:
        _insert_ties(store)
        where = (RUNS.filter("status", "=", "x"),)
        after = position_of_last(RUNS, RUNS.order, store.select(RUNS, where, limit=1))
        streamed = _streamed(store, where=where, after=after, size=1)
        assert streamed == _select(store, RUNS, where=where)[1:]
        assert _streamed(store, where=RUNS.where(status="unknown")) == []

    def test_a_stream_sees_the_writes_of_its_transaction(self, store: Store) -> None:
        with _undone(store):
            _insert_ties(store)
            assert _streamed(store, size=2) == _select(store, RUNS)
        assert _streamed(store) == []

    def test_streams_do_not_disturb_each_other_nor_what_is_called_meanwhile(
        self, store: Store
    ) -> None:
        _insert_ties(store)
        expected = _select(store, RUNS)
        one, other = store.stream(RUNS, size=1), store.stream(RUNS, size=2)
        seen: list[list[Any]] = [[], []]
        for number, columns in enumerate(one):
            seen[0] += RUNS.decode(columns)
            for more in islice(other, 1):
                seen[1] += RUNS.decode(more)
            store.insert(USAGE, _usage_row(model=str(number)))
            with store.transaction():
                store.insert(EVENTS, _event_row("a"))
            assert len(_select(store, EVENTS)) == number + 1
        assert seen == [expected, expected]

    def test_a_stream_may_be_left_before_its_end(self, store: Store) -> None:
        """Such a stream does not block a writer."""
        _insert_ties(store)
        for _ in store.stream(RUNS, size=1):
            break
        assert store.delete(RUNS, ()) == 6
        store.close()

    # --- update and delete --------------------------------------------------------------------

    def test_an_update_changes_the_rows_that_match_and_returns_what_is_asked_for(
        self, store: Store
    ) -> None:
        ids = [store.insert(RUNS, _run_row(name, status="running")) for name in "ab"]
        store.insert(RUNS, _run_row("c", status="error"))
        running = RUNS.where(status="running")
        changed = store.update(RUNS, running, {"status": "x"}, returning=("run_id", "id"))
        assert sorted(changed) == [("a", ids[0]), ("b", ids[1])]
        assert _run_ids_of(store, *RUNS.where(status="x")) == "ba"
        assert store.update(RUNS, running, {"status": "y"}) == []

    def test_an_update_returns_kept_values(self, store: Store) -> None:
        store.insert(RUNS, _run_row("run"))
        [(at,)] = store.update(RUNS, (), {"objective": ""}, returning=("created_at",))
        assert datetime.fromisoformat(at) == _NOON

    def test_a_value_can_be_changed_to_null(self, store: Store) -> None:
        store.insert(RUNS, _run_row("run", session_id="session"))
        store.update(RUNS, RUNS.where(run_id="run"), {"session_id": None})
        assert _run_ids_of(store, RUNS.filter("session_id", "is not null")) == ""

    def test_deleting_removes_and_counts_the_rows_that_match(self, store: Store) -> None:
        for run_id, agent in ("a", "x"), ("b", "y"), ("c", "x"):
            store.insert(RUNS, _run_row(run_id, agent_id=agent))
        assert store.delete(RUNS, RUNS.where(agent_id="x")) == 2
        assert store.delete(RUNS, RUNS.where(agent_id="x")) == 0
        assert _run_ids_of(store) == "b"

    def test_deleting_removes_what_refers_to_the_rows_and_does_not_count_it(
        self, store: Store
    ) -> None:
        for run_id in "ab":
            store.insert(RUNS, _run_row(run_id))
            store.insert(EVENTS, _event_row(run_id))
        assert store.delete(RUNS, RUNS.where(run_id="a")) == 1
        assert [event.run_id for event in _select(store, EVENTS)] == ["b"]

    def test_a_deletion_can_be_limited(self, store: Store) -> None:
        for run_id in "abcde":
            store.insert(RUNS, _run_row(run_id, agent_id="x" if run_id < "d" else "y"))
        assert store.delete(RUNS, RUNS.where(agent_id="x"), limit=2) == 2
        assert store.delete(RUNS, RUNS.where(agent_id="x"), limit=2) == 1
        assert store.delete(RUNS, RUNS.where(agent_id="x"), limit=2) == 0
        assert store.delete(RUNS, (), limit=0) == 0
        assert set(_run_ids_of(store)) == set("de")

    def test_rows_can_be_deleted_by_their_ids(self, store: Store) -> None:
        a, b, _ = (store.insert(RUNS, _run_row(run_id)) for run_id in "abc")
        assert store.delete_many(RUNS, [a, b, 99]) == 2
        assert store.delete_many(RUNS, []) == 0
        assert _run_ids_of(store) == "c"

    def test_optional_columns_are_read_whether_or_not_they_were_empty_before(
        self, store: Store
    ) -> None:
        store.insert(RUNS, _run_row("run"))
        for name in "metadata", "level", "message", "metadata", "session_id":
            event = AgentRunEvent("agent", "run", timestamp=_NOON, created_at=_NOON)
            setattr(event, name, None if name == "metadata" else "value")
            event.id = store.insert(EVENTS, EVENTS.encode(event))
            assert EVENTS.decode(store.select(EVENTS))[-1] == event
            assert _select(store, EVENTS, where=(Filter("id", "=", event.id),)) == [event]

    # --- aggregate ----------------------------------------------------------------------------

    def test_groups_are_counted_and_summed(self, store: Store) -> None:
        for model, tokens in ("m", 1), ("m", 2), ("n", None):
            store.insert(USAGE, _usage_row(model=model, input_tokens=tokens))
        measures = (COUNT, Measure("count", "input_tokens"), total("input_tokens"))
        groups = store.aggregate(USAGE, measures, group_by=("model",))
        assert sorted(groups) == [("m", 2, 2, 3), ("n", 1, 0, None)]

    def test_null_is_a_group_of_its_own(self, store: Store) -> None:
        for run_id in "run", None, None:
            store.insert(USAGE, _usage_row(run_id=run_id))
        groups = store.aggregate(USAGE, (COUNT,), group_by=("run_id",))
        assert set(groups) == {("run", 1), (None, 2)}

    def test_all_values_of_a_group_are_gathered(self, store: Store) -> None:
        for model, latency in [("a", 3), ("a", 1), ("a", None), ("b", None), ("a", 3)]:
            store.insert(USAGE, _usage_row(model=model, latency_ms=latency, input_tokens=2**62))
        measures = (Measure("values", "latency_ms"), COUNT)
        groups = store.aggregate(USAGE, measures, group_by=("model",))
        assert {model: sorted(values) for model, values, _ in groups} == {"a": [1, 3, 3], "b": []}
        [(values, tokens)] = store.aggregate(USAGE, (measures[0], total("input_tokens")))
        assert (sorted(values), tokens) == ([1, 3, 3], 5 * 2**62)

    def test_only_rows_that_match_are_aggregated(self, store: Store) -> None:
        for agent, tokens in ("x", 1), ("y", 10):
            store.insert(USAGE, _usage_row(agent_id=agent, input_tokens=tokens))
        where = USAGE.where(agent_id="y")
        assert store.aggregate(USAGE, (total("input_tokens"),), where) == [(10,)]

    def test_without_groups_there_is_one_answer_even_of_nothing(self, store: Store) -> None:
        measures = (COUNT, total("input_tokens"))
        assert store.aggregate(USAGE, measures) == [(0, None)]
        assert store.aggregate(USAGE, measures, group_by=("model",)) == []

    @pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
    def test_sums_are_exact_beyond_64_bits(self, store: Store, number: int) -> None:
        for tokens in number, number, number, 1:
            store.insert(USAGE, _usage_row(input_tokens=tokens, cost_usd=Decimal("1e-12")))
        measures = (COUNT, total("input_tokens"), total("cost_usd"))
        assert store.aggregate(USAGE, measures) == [(4, 3 * number + 1, 4)]
        assert store.aggregate(USAGE, measures, group_by=("model",)) == [("", 4, 3 * number + 1, 4)]

    def test_means_and_extremes_are_computed(self, store: Store) -> None:
        for model, tokens in ("m", 1), ("m", 4), ("m", None), ("n", None):
            store.insert(USAGE, _usage_row(model=model, input_tokens=tokens))
        kinds: tuple[MeasureKind, ...] = ("avg", "min", "max")
        measures = tuple(Measure(kind, "input_tokens") for kind in kinds)
        groups = store.aggregate(USAGE, measures, group_by=("model",))
        assert sorted(groups) == [("m", 2.5, 1, 4), ("n", None, None, None)]

    def test_the_mean_of_integers_is_rounded_once(self, store: Store) -> None:
        for tokens in 2**62, 2**62, 2**62 + 1, -(2**62), -(2**62), -(2**62):
            store.insert(USAGE, _usage_row(input_tokens=tokens))
        assert store.aggregate(USAGE, (Measure("avg", "input_tokens"),)) == [(1 / 6,)]

    def test_the_extremes_of_times_and_costs_are_in_stored_form(self, store: Store) -> None:
        for hour in 3, 1, 2:
            at = _NOON.replace(hour=hour)
            store.insert(USAGE, _usage_row(created_at=at, cost_usd=Decimal(hour)))
        kinds: tuple[MeasureKind, ...] = ("min", "max")
        measures = [Measure(k, c) for c in ("created_at", "cost_usd") for k in kinds]
        first, last = (encode_time(_NOON.replace(hour=hour)) for hour in (1, 3))
        found = store.aggregate(USAGE, tuple(measures))
        assert found == [(first, last, 10**12, 3 * 10**12)]

    @pytest.mark.parametrize(
        "values",
        [
            [0.1] * 10,
            [0.1, 1e-9, 4e12, -4e12],
            [0.1, 2e-10],
            [-0.0, 0.0],
            [1e16, 1.0, -1e16],
            [1.7e308, -1.7e308, 5e-324],
            [1.6e308, 1.6e308],
            [3.0, None, 4.0],
        ],
        ids=str,
    )
    def test_sums_and_means_of_reals_are_exact(
        self, store: Store, values: list[float | None]
    ) -> None:
        store.insert(RUNS, _run_row("run"))
        for value in values:
            store.insert(EVENTS, {**_event_row("run"), "metric_value": value})
        kinds: tuple[MeasureKind, ...] = ("count", "sum", "avg", "min", "max")
        measures = tuple(Measure(kind, "metric_value") for kind in kinds)
        given = [value for value in values if value is not None]
        exact = sum(map(Fraction, given))
        [numbers] = store.aggregate(EVENTS, measures)
        assert numbers[0] == len(given)
        assert numbers[1] == (inf if exact > Fraction(1.79e308) else float(exact))
        assert numbers[2] == float(exact / len(given))
        assert numbers[3:] == (min(given), max(given))
        assert "-0.0" not in map(str, numbers)
        [(none, mean)] = store.aggregate(EVENTS, measures[1:3], EVENTS.where(run_id="unknown"))
        assert none is mean is None

    def test_rows_are_grouped_by_spans_of_time(self, store: Store) -> None:
        for minute in 0, 14, 15, 59:
            store.insert(USAGE, _usage_row(created_at=_NOON + timedelta(minutes=minute)))
        groups = store.aggregate(USAGE, (COUNT,), group_by=(Bucket("created_at", 900), "model"))
        assert sorted(groups) == [
            (encode_time(_NOON), "", 2),
            (encode_time(_NOON + timedelta(minutes=15)), "", 1),
            (encode_time(_NOON + timedelta(minutes=45)), "", 1),
        ]
        buckets = store.select_columns(USAGE, (Bucket("created_at", 3_600), "model"))
        assert buckets == [(encode_time(_NOON), "")] * 4

    @pytest.mark.parametrize("bucket", [(60, 0), (7, 3), (604_800, 0), (86_400, -3_600)])
    def test_spans_of_time_begin_where_they_are_said_to(
        self, store: Store, bucket: tuple[int, int]
    ) -> None:
        last = datetime.max.replace(tzinfo=UTC)
        times = [
            datetime.min.replace(tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1),
            datetime(2026, 12, 27, 23, 59, 59, 999_999, UTC),
            datetime(2026, 12, 28, tzinfo=UTC),
            last,
        ]
        for time in times:
            store.insert(USAGE, _usage_row(created_at=time))
        seconds, offset = (timedelta(seconds=each) for each in bucket)
        a_monday = datetime(2026, 12, 28, tzinfo=UTC)
        begins = sorted({max(t - (t - a_monday - offset) % seconds, times[0]) for t in times[1:]})
        group = Bucket("created_at", *bucket)
        where = (USAGE.filter("created_at", ">=", times[1]),)
        found = sorted(store.aggregate(USAGE, (COUNT,), where, group_by=(group,)))
        assert [begin for begin, _ in found] == [encode_time(begin) for begin in begins]
        [(first, _)] = store.aggregate(
            USAGE, (COUNT,), (USAGE.filter("created_at", "<", times[1]),), group_by=(group,)
        )
        assert first == encode_time(times[0])

    def test_rows_without_a_time_are_in_no_span(self, store: Store) -> None:
        store.insert(RUNS, _run_row("run"))
        assert store.aggregate(RUNS, (COUNT,), group_by=(Bucket("finished_at", 60),)) == [(None, 1)]

    # --- select_columns -----------------------------------------------------------------------

    def test_of_each_row_that_matches_some_values_are_picked(self, store: Store) -> None:
        for model, cost in ("m", 1), ("m", 1), ("n", None):
            store.insert(USAGE, _usage_row(model=model, latency_ms=cost, cost_usd=cost))
        columns = ("model", "latency_ms", "cost_usd")
        picked = store.select_columns(USAGE, columns)
        assert sorted(picked, key=str) == [("m", 1, 10**12), ("m", 1, 10**12), ("n", None, None)]
        assert store.select_columns(USAGE, columns, USAGE.where(model="n")) == [("n", None, None)]
        [(at,)] = store.select_columns(USAGE, ("created_at",), USAGE.where(model="n"))
        assert datetime.fromisoformat(at) == _NOON

    def test_columns_that_no_record_shows_can_be_picked(self, store: Store) -> None:
        store.insert(RUNS, _run_row("run"))
        data = {"name": "score", "value": 0.1}
        event = AgentRunEvent("agent", "run", "", _NOON, "metric", data, created_at=_NOON)
        store.insert(EVENTS, EVENTS.encode(event))
        assert store.select_columns(EVENTS, ("metric_value", "metric_name")) == [(0.1, "score")]

    # --- transactions -------------------------------------------------------------------------

    def test_a_transaction_keeps_all_of_it(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, _run_row("a"))
            assert _run_ids_of(store) == "a"
            store.insert(RUNS, _run_row("b"))
        assert _run_ids_of(store) == "ba"

    def test_a_transaction_that_raises_keeps_nothing_of_it(self, store: Store) -> None:
        store.insert(RUNS, _run_row("a", objective="before"))
        store.insert(EVENTS, _event_row("a"))
        with _undone(store):
            store.insert(RUNS, _run_row("b"))
            store.update(RUNS, RUNS.where(run_id="a"), {"objective": "after"})
            store.delete(RUNS, RUNS.where(run_id="a"))
            assert _run_ids_of(store) == "b"
        assert [(run.run_id, run.objective) for run in _select(store, RUNS)] == [("a", "before")]
        assert len(_select(store, EVENTS)) == 1

    def test_an_exception_leaves_a_transaction_as_it_is(self, store: Store) -> None:
        stop = _Stop()
        with pytest.raises(_Stop) as caught, store.transaction():
            raise stop
        assert caught.value is stop

    def test_a_transaction_inside_another_is_undone_alone(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, _run_row("a"))
            with _undone(store):
                store.insert(RUNS, _run_row("b"))
            with store.transaction():
                store.insert(RUNS, _run_row("c"))
        assert _run_ids_of(store) == "ca"

    def test_a_transaction_inside_another_is_undone_with_it(self, store: Store) -> None:
        with _undone(store), store.transaction():
            store.insert(RUNS, _run_row("a"))
        assert _run_ids_of(store) == ""

    def test_a_failed_call_spoils_nothing_but_itself(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, _run_row("a"))
            with pytest.raises(ConflictError):
                store.insert(RUNS, _run_row("a"))
            with pytest.raises(MissingRunError):
                store.insert(EVENTS, _event_row("unknown"))
            store.insert(RUNS, _run_row("b"))
        assert _run_ids_of(store) == "ba"

    def test_other_threads_see_nothing_of_a_transaction_that_is_undone(self, store: Store) -> None:
        with ThreadPoolExecutor(1) as thread:
            with _undone(store):
                store.insert(RUNS, _run_row("a"))
                seen = thread.submit(_run_ids_of, store)
            assert seen.result() == ""

    def test_threads_take_turns_with_their_transactions(self, store: Store) -> None:
        def write(name: str) -> None:
            with store.transaction():
                store.insert(RUNS, _run_row(name))
                store.insert(EVENTS, _event_row(name))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, "abcdefgh"))
        assert sorted(_run_ids_of(store)) == list("abcdefgh")
        assert len(_select(store, EVENTS)) == 8

    # --- sub-selects --------------------------------------------------------------------------

    def test_a_filter_compares_with_the_values_of_another_select(self, store: Store) -> None:
        for name, session in (("a", "s"), ("b", "s"), ("c", "t"), ("d", None)):
            store.insert(RUNS, _run_row(name, session_id=session, status=f"status {session}"))
        for run_id in ("a", "b", "c", "d", None):
            store.insert(USAGE, _usage_row(run_id=run_id, model=f"of {run_id}"))
        runs = Select(RUNS, "run_id", (Filter("session_id", "=", "s"), Filter("id", ">", 0)))
        where = (Filter("model", "<>", "of b"), Filter("run_id", "in", runs))
        assert [usage.run_id for usage in _select(store, USAGE, where=where)] == ["a"]
        assert store.aggregate(USAGE, (COUNT,), where[1:]) == [(2,)]
        nested = Select(RUNS, "session_id", (Filter("run_id", "in", runs),))
        assert _run_ids_of(store, Filter("session_id", "in", nested)) == "ba"
        assert len(store.update(USAGE, where[1:], {"model": "changed"})) == 2
        with store.snapshot() as snapshot:
            assert sum(len(c[0]) for c in snapshot.stream(USAGE, where)) == 2
        assert store.delete(USAGE, (Filter("run_id", "in", Select(RUNS, "run_id")),)) == 4

    # --- upserts ------------------------------------------------------------------------------

    def test_an_upsert_inserts_what_is_new_and_updates_what_is_not(self, store: Store) -> None:
        stored = store.insert(RUNS, _run_row("b", objective="old", status="running"))
        rows = [_run_row(name, objective="new", status="completed") for name in "abc"]
        done = store.upsert(RUNS, rows, key=("run_id",), update=("objective",))
        assert done.new == [True, False, True]
        assert done.ids[1] == stored
        found = {run.run_id: run for run in _select(store, RUNS)}
        assert {name: run.id for name, run in found.items()} == dict(
            zip("abc", done.ids, strict=True)
        )
        assert {run.objective for run in found.values()} == {"new"}
        assert found["b"].status == "running"

    def test_an_upsert_without_columns_to_update_leaves_stored_rows_alone(
        self, store: Store
    ) -> None:
        stored = store.insert(RUNS, _run_row("b", objective="old"))
        rows = [_run_row(name, objective="new") for name in "bab"]
        done = store.upsert(RUNS, rows, key=("run_id",))
        assert done.new == [False, True, False]
        assert done.ids[0] == done.ids[2] == stored
        assert {run.objective for run in _select(store, RUNS)} == {"old", "new"}

    def test_rows_of_one_key_are_upserted_in_order(self, store: Store) -> None:
        rows = [_run_row("a", objective=text, status=text) for text in ("first", "second")]
        done = store.upsert(RUNS, rows, key=("run_id",), update=("objective",))
        assert done.new == [True, False]
        [run] = _select(store, RUNS)
        assert (run.objective, run.status) == ("second", "first")

    def test_rows_without_a_key_are_always_new(self, store: Store) -> None:
        rows = [_usage_row(event_id=name, model=str(at)) for at, name in enumerate((None, "x"))]
        for new in ([True, True], [True, False]):
            assert store.upsert(USAGE, rows, key=("event_id",), update=("model",)).new == new
        assert len(_select(store, USAGE)) == 3

    def test_keys_of_several_columns_are_told_apart_by_all(self, store: Store) -> None:
        key = ("name", "table_name")
        rows = [_consumer_row(name, table) for name in "ab" for table in "xy"]
        assert store.upsert(CONSUMERS, rows, key=key).new == [True] * 4
        assert store.upsert(CONSUMERS, rows[:1], key=key, update=("watermark",)).new == [False]
        with pytest.raises(ConflictError, match="name 'a', table_name 'x'"):
            store.insert(CONSUMERS, rows[0])

    def test_many_rows_are_upserted_all_or_none(self, store: Store) -> None:
        rows = [_run_row(f"run {number}") for number in range(1_200)]
        assert store.upsert(RUNS, rows[::3], key=("run_id",)).new == [True] * 400
        done = store.upsert(RUNS, rows, key=("run_id",), update=("status",))
        assert done.new == [number % 3 > 0 for number in range(1_200)]
        assert store.upsert(RUNS, rows, key=("run_id",)) == (done.ids, [False] * 1_200)
        assert store.upsert(RUNS, [], key=("run_id",)) == ([], [])
        events = [_event_row("run 0"), _event_row("unknown")]
        for event, name in zip(events, "ab", strict=True):
            event["event_id"] = name
        with pytest.raises(MissingRunError):
            store.upsert(EVENTS, events, key=("event_id",))
        assert _select(store, EVENTS) == []

    # --- the store itself ---------------------------------------------------------------------

    def test_initializing_again_changes_nothing(self, store: Store) -> None:
        store.insert(RUNS, _run_row("a"))
        store.initialize()
        assert _run_ids_of(store) == "a"

    def test_a_check_up_finds_it_well_and_changes_nothing(self, store: Store) -> None:
        store.insert(RUNS, _run_row("a"))
        findings = store.diagnose()
        assert findings
        assert not [finding for finding in findings if finding.level == "error"]
        assert _run_ids_of(store) == "a"

    def test_it_cannot_be_closed_inside_a_transaction(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, _run_row("a"))
            with pytest.raises(UnsupportedError):
                store.close()
        assert _run_ids_of(store) == "a"

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.initialize(),
            lambda store: store.insert(RUNS, _run_row("run")),
            lambda store: store.insert_many(RUNS, [_run_row("a"), _run_row("b")]),
            lambda store: store.select(RUNS),
            lambda store: next(iter(store.stream(RUNS))),
            lambda store: store.update(RUNS, (), {"status": "error"}),
            lambda store: store.delete(RUNS, ()),
            lambda store: store.aggregate(RUNS, (COUNT,)),
            lambda store: store.select_columns(RUNS, ("run_id",)),
            lambda store: store.transaction().__enter__(),
            lambda store: store.diagnose(),
        ],
    )
    def test_once_closed_it_serves_no_call(
        self, store: Store, call: Callable[[Store], object]
    ) -> None:
        store.close()
        store.close()
        with pytest.raises(ClosedError):
            call(store)


class _Stop(Exception):
    """Ends a transaction."""


@contextmanager
def _undone(store: Store) -> Iterator[None]:
    """A transaction that comes to nothing."""
    with suppress(_Stop), store.transaction():
        yield
        raise _Stop


def _run_row(run_id: str, minute: int = 0, *, agent_id: str = "agent", **fields: Any) -> Row:
    at = _NOON + minute * _MINUTE
    return RUNS.encode(AgentRun(agent_id, run_id, created_at=at, updated_at=at, **fields))


def _insert_ties(store: Store) -> None:
    """Six runs, of which some are equal in what they may be ordered by."""
    for run_id, minute, iterations, status in (
        ("a", 1, 3, "x"),
        ("b", 0, 3, "y"),
        ("c", 1, -1, "x"),
        ("d", 1, 3, "x"),
        ("e", 2, 0, "y"),
        ("f", 2, 0, "x"),
    ):
        store.insert(RUNS, _run_row(run_id, minute, total_iterations=iterations, status=status))


def _streamed(store: Store, **options: Any) -> list[Any]:
    return [run for columns in store.stream(RUNS, **options) for run in RUNS.decode(columns)]


def _event_row(run_id: str) -> Row:
    return EVENTS.encode(AgentRunEvent("agent", run_id, timestamp=_NOON, created_at=_NOON))


def _consumer_row(name: str, table: str) -> Row:
    return position_row(name, table, "[0]", _NOON)


def _usage_row(*, agent_id: str = "agent", run_id: str | None = None, **fields: Any) -> Row:
    fields = {"created_at": _NOON, **fields}
    return USAGE.encode(AgentLLMUsage(agent_id, run_id, **fields))


def _select(store: Store, table: Table[Any], **options: Any) -> list[Any]:
    return table.decode(store.select(table, **options))


def _run_ids_of(store: Store, *where: Filter) -> str:
    return "".join(run.run_id for run in RUNS.decode(store.select(RUNS, where)))
