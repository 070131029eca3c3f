"""The promises of `BasePersistence` for copies, threads, and the methods with a default."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from curio_persistence.base import BasePersistence
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.testing.rows import NOON, stored_run, stored_run_ids


class GeneralPromises:
    """Records are copies, threads share a persistence, and the inherited methods work."""

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
        stored, [logged] = stored_run(persistence, "run"), persistence.get_agent_run_events("run")
        assert (stored.objective, stored.get_metadata_dict()) == ("", {"list": [1]})
        assert (logged.event_type, logged.get_data_dict()) == ("before", {"list": [1]})

    def test_changing_what_was_handed_out_changes_nothing_stored(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
        persistence.log_llm_usage(AgentLLMUsage("agent", "run"))
        stored_run(persistence, "run").objective = "changed"
        persistence.get_agent_runs()[0].objective = "changed"
        persistence.get_agent_run_events("run")[0].event_type = "changed"
        persistence.get_llm_usage()[0].model = "changed"
        assert stored_run(persistence, "run").objective == ""
        assert persistence.get_agent_run_events("run")[0].event_type == ""
        assert persistence.get_llm_usage()[0].model == ""

    def test_times_come_back_in_utc(self, persistence: BasePersistence) -> None:
        tokyo = timezone(timedelta(hours=9))
        naive = datetime(2026, 11, 20, 12, 0, 0, 123456)
        persistence.create_agent_run(
            AgentRun("agent", "run", started_at=NOON.astimezone(tokyo), finished_at=naive)
        )
        run = stored_run(persistence, "run")
        assert (run.started_at, run.finished_at) == (NOON, naive.astimezone(UTC))
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
        assert sorted(stored_run_ids(persistence)) == names
        for name in names:
            logged = [event.data for event in persistence.get_agent_run_events(name)]
            assert logged == ["0", "1", "2", "3", "4"]

    def test_threads_that_log_first_of_all_make_one_run(self, persistence: BasePersistence) -> None:
        def log(number: int) -> None:
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", data=str(number)))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(log, range(12)))
        assert stored_run_ids(persistence) == ["run"]
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
        assert stored_run_ids(persistence) == ["run"]

    def test_a_recorded_run_is_kept_with_all_that_happened(
        self, persistence: BasePersistence
    ) -> None:
        with persistence.record_run(agent_id="agent", objective="find out") as run:
            run.log("thought", {"about": "it"})
            with run.tool("search", {"q": "it"}) as call:
                call.result = ["found"]
            run.llm_call(model="model", prompt="why?", response="because", input_tokens=3)
            run.finish("done")
        stored = stored_run(persistence, run.run_id)
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
        assert run.dropped == 0

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
        assert stored_run(persistence, "run").status == status

    def test_a_run_recorded_inside_another_is_its_child(self, persistence: BasePersistence) -> None:
        with (
            persistence.record_run(agent_id="agent", run_id="outer"),
            persistence.record_run(agent_id="agent", run_id="inner"),
        ):
            pass
        assert stored_run(persistence, "inner").parent_run_id == "outer"
        assert stored_run(persistence, "outer").parent_run_id is None
