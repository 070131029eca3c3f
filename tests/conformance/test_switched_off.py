"""Recording is switched off by `CURIO_DISABLED=1`, or by `null://` as the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentSpan,
    InMemoryPersistence,
    NullPersistence,
    Persistence,
    SQLitePersistence,
    connect,
    current_run,
)
from tests.support.recorded import types


def use(persistence: Persistence) -> None:
    """Make the calls of an agent."""
    with persistence.record_run(agent_id="agent", on_error="raise", tags="t") as run:
        assert current_run() is run
        with run.tool("search") as call:
            call.result = 1
        with run.llm(model="m") as model_call:
            model_call.response = "yes"
        run.metric("m", 1)
        run.update(metadata={"a": 1})
        run.finish("done")


def test_a_null_persistence_accepts_everything_and_stores_nothing() -> None:
    with connect("null://") as persistence:
        assert isinstance(persistence, NullPersistence)
        use(persistence)
        use(persistence.buffered())
    with NullPersistence() as persistence:
        persistence.create_agent_run(AgentRun("a", "r"))
        persistence.create_agent_runs([AgentRun("a", "r"), AgentRun("a", "s")])
        persistence.update_agent_run("r", AgentRun("a", "r", status="completed"))
        persistence.append_event("r", "a", "t")
        persistence.log_llm_usages([AgentLLMUsage("a", "r")])
        persistence.traces.save_span(AgentSpan("t", "s"))
        assert persistence.traces.get("t") is None
        assert persistence.get_agent_runs() == []
        assert persistence.get_agent_run("r") is None
        assert persistence.get_llm_usage() == []
        assert persistence.count_events() == 0
        assert persistence.health_check()


@pytest.mark.before_io
def test_nothing_is_recorded_if_recording_is_disabled(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURIO_DISABLED", "1")
    use(persistence)
    assert persistence.get_agent_runs() == []
    monkeypatch.setenv("CURIO_DISABLED", "0")
    use(persistence)
    assert len(persistence.get_agent_runs()) == 1


def test_a_disabled_connection_creates_no_file_and_reads_an_existing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old.db"
    with SQLitePersistence(old) as persistence:
        use(persistence)
    monkeypatch.setenv("CURIO_DISABLED", "true")
    with connect(f"sqlite:///{tmp_path / 'new.db'}") as persistence:
        use(persistence)
    assert not (tmp_path / "new.db").exists()
    with connect(f"sqlite:///{old}", read_only=True) as persistence:
        assert len(persistence.get_agent_runs()) == 1


def test_a_run_and_its_spans_are_scored(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.score("helpful", 0.8, comment="to the point")
        with run.span("retrieve") as span:
            span.score("relevance", label="high", source="model", author="judge")
        run.score("helpful", 0.9)
    assert run.dropped == 0
    scores = {score.name: score for score in persistence.scores.list(run.run_id)}
    assert (scores["helpful"].value, scores["helpful"].source) == (0.9, "code")
    assert (scores["relevance"].label, scores["relevance"].span_id) == ("high", span.span_id)
    assert (scores["relevance"].source, scores["relevance"].author) == ("model", "judge")


def test_a_score_that_cannot_be_stored_is_dropped(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.score("helpful")
    assert (run.dropped, types(persistence, run)) == (1, ["run_started", "run_completed"])
    assert InMemoryPersistence().scores.list("nothing") == []
