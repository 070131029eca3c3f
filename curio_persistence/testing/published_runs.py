"""The promises of `BasePersistence` for runs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from curio_persistence.base import BasePersistence
from curio_persistence.errors import ConflictError, NotFoundError
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, AgentRunStatus
from curio_persistence.testing.rows import MINUTE, NOON, stored_run, stored_run_ids


class RunPromises:
    """Runs are created, updated, listed and deleted."""

    # --- runs ---------------------------------------------------------------------------------

    def test_a_run_comes_back_as_it_was_created(self, persistence: BasePersistence) -> None:
        run = AgentRun(
            "agent",
            "run",
            "Agent",
            "find out",
            '{"tried": ["twice"]}',
            NOON,
            NOON + MINUTE,
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
        assert stored_run(persistence, "run").objective == "the first"

    def test_an_update_replaces_the_fields(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run", objective="before", metadata="{}"))
        changed = AgentRun("other", "run", "Other", status="completed", total_iterations=7)
        persistence.update_agent_run("run", changed)
        assert stored_run(persistence, "run") == changed
        assert (changed.agent_id, changed.objective, changed.metadata) == ("other", "", None)

    def test_an_update_never_changes_id_run_id_and_created_at(
        self, persistence: BasePersistence
    ) -> None:
        created = AgentRun("agent", "run")
        persistence.create_agent_run(created)
        persistence.update_agent_run("run", AgentRun("agent", "x", id=99, created_at=NOON))
        after = stored_run(persistence, "run")
        assert (after.id, after.created_at) == (created.id, created.created_at)
        assert persistence.get_agent_run("x") is None

    def test_an_update_replaces_session_and_parent_only_where_it_names_them(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(
            AgentRun("agent", "run", session_id="session", parent_run_id="parent")
        )
        persistence.update_agent_run("run", AgentRun("agent", "run", session_id="another"))
        after = stored_run(persistence, "run")
        assert (after.session_id, after.parent_run_id) == ("another", "parent")

    def test_an_unknown_run_cannot_be_updated(self, persistence: BasePersistence) -> None:
        with pytest.raises(NotFoundError):
            persistence.update_agent_run("unknown", AgentRun("agent", "unknown"))
        assert persistence.get_agent_run("unknown") is None

    def test_runs_come_newest_first_and_of_equal_times_the_last_one_first(
        self, persistence: BasePersistence
    ) -> None:
        for name, minute in ("old", 0), ("new", 2), ("twin", 1), ("other twin", 1):
            run = AgentRun("agent", name, created_at=NOON + minute * MINUTE)
            persistence.create_agent_run(run)
        assert stored_run_ids(persistence) == ["new", "other twin", "twin", "old"]

    @pytest.mark.parametrize(
        ("limit", "offset", "expected"),
        [(0, 0, ""), (2, 0, "ed"), (2, 1, "dc"), (None, 0, "edcba"), (None, 3, "ba"), (9, 9, "")],
    )
    def test_limit_and_offset_cut_out_a_page(
        self, persistence: BasePersistence, limit: int | None, offset: int, expected: str
    ) -> None:
        for minute, name in enumerate("abcde"):
            run = AgentRun("agent", name, created_at=NOON + minute * MINUTE)
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
        assert stored_run(persistence, "child").parent_run_id is None
