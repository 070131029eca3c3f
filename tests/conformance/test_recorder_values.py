"""An odd value passed to the recorder loses no record."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest

from curio_persistence import AgentLLMUsage, AgentRunEvent, InvalidValueError, Persistence
from curio_persistence.payloads import Metric
from tests.support.recorded import events, stored, types


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("says nothing")


ITSELF: dict[str, Any] = {}
ITSELF["me"] = ITSELF

# --- arguments of the run ---------------------------------------------------------------------


@pytest.mark.parametrize("given", [uuid.UUID(int=7), 42, np.int64(42), Path("a/b")], ids=str)
def test_a_uuid_an_integer_or_a_path_is_accepted_as_an_id(
    persistence: Persistence, given: Any
) -> None:
    with persistence.record_run(agent_id=given, run_id=given, session_id=given) as run:
        run.llm_call(model="m")
        run.finish("x")
    assert run.dropped == 0
    after = stored(persistence, str(given))
    assert (after.agent_id, after.session_id, after.status) == (str(given), str(given), "completed")
    assert len(persistence.get_llm_usage(run_id=str(given))) == 1


@pytest.mark.parametrize("on_error", ["log", "raise"])
@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("agent_id", ""),
        ("agent_id", "x" * 256),
        ("run_id", object()),
        ("run_id", "a\0b"),
        ("session_id", ["s"]),
        ("parent", 1.5),
        ("tags", 7),
    ],
)
def test_an_invalid_argument_is_refused_by_the_call(
    persistence: Persistence, field: str, given: Any, on_error: Any
) -> None:
    arguments: dict[str, Any] = {"agent_id": "agent", field: given}
    with pytest.raises(InvalidValueError, match=field):
        persistence.record_run(**arguments, on_error=on_error)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("nightly", ["nightly"]),
        ({"nightly"}, ["nightly"]),
        ([1, None, "", "a\0"], ["1", "a\ufffd"]),
        ([None], None),
        ("", None),
        (["x" * 300], ["x" * 254 + "…"]),
    ],
)
def test_tags_are_one_text_or_several(
    persistence: Persistence, given: Any, kept: list[str] | None
) -> None:
    with persistence.record_run(agent_id="agent", tags=given) as run:
        pass
    assert (run.dropped, stored(persistence, run).tags) == (0, kept)


@pytest.mark.parametrize(
    "arguments",
    [
        {"objective": {"task": "sum"}},
        {"objective": ["sum"]},
        {"objective": None},
        {"metadata": ITSELF},
        {"additional_context": MagicMock()},
        {"agent_name": "x" * 300},
        {"agent_name": None},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_a_run_is_finished_whatever_its_arguments(
    persistence: Persistence, arguments: dict[str, Any]
) -> None:
    with persistence.record_run(agent_id="agent", **arguments) as run:
        run.finish("42")
    after = stored(persistence, run)
    assert (run.dropped, after.status, after.final_synthesis_output) == (0, "completed", "42")
    persistence.runs.abandon(older_than=timedelta(0))
    assert stored(persistence, run).status == "completed"


def test_an_objective_that_is_not_text_is_stored_as_json(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", objective={"task": "sum"}) as run:
        pass
    assert json.loads(stored(persistence, run).objective) == {"task": "sum"}


@pytest.mark.parametrize(
    ("given", "kept"), [("x" * 61, "x" * 49 + "…"), ("", "completed"), (7, "7")]
)
def test_an_invalid_status_does_not_leave_the_run_running(
    persistence: Persistence, given: Any, kept: str
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.finish("42", status=given)
    assert (run.dropped, stored(persistence, run).status) == (0, kept)


def test_an_invalid_attribute_of_the_record_does_not_leave_the_run_running(
    persistence: Persistence,
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.agent_run.total_iterations = "three"  # type: ignore[assignment]
        run.agent_run.error_message = ValueError("no")  # type: ignore[assignment]
    after = stored(persistence, run)
    assert (after.status, after.total_iterations, after.error_message) == ("completed", 0, "no")


# --- events -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [MagicMock(), Mute(), ITSELF, 10**5000, [[[]] * 3], {Mute(): 1}, object()],
    ids=lambda value: type(value).__name__,
)
def test_an_odd_argument_of_a_tool_affects_only_itself(persistence: Persistence, odd: Any) -> None:
    with (
        persistence.record_run(agent_id="agent") as run,
        run.tool("search", {"client": odd, "q": "it"}) as call,
    ):
        call.result = 1
    assert (
        run.dropped,
        persistence.get_agent_run_stats()["tool_metrics"]["search"]["call_count"],
    ) == (
        0,
        1,
    )
    [event] = events(persistence, run, "tool_call")
    assert event.get_data_dict()["args"]["q"] == "it"


@pytest.mark.parametrize(
    ("event_type", "message", "kept"),
    [
        ("x" * 300, None, ("x" * 254 + "…", None)),
        ("a\0b", None, ("a\ufffdb", None)),
        ("t", ValueError("no"), ("t", "no")),
        ("t", 5, ("t", "5")),
        (Mute(), Mute(), ("<RuntimeError in Mute>", "<RuntimeError in Mute>")),
    ],
    ids=["long", "NUL", "an exception", "a number", "mute"],
)
def test_an_odd_type_or_message_loses_no_event(
    persistence: Persistence, event_type: Any, message: Any, kept: tuple[str, str | None]
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.log(event_type, message=message)
    event = events(persistence, run)[1]
    assert (run.dropped, event.event_type, event.message) == (0, *kept)


def test_changed_values_are_named_in_one_line(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    with persistence.record_run(agent_id="agent", run_id="run") as run:
        run.log("x" * 300)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "Run run: AgentRunEvent.event_type is not as it was given" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("given", "level"),
    [
        (logging.ERROR, "error"),
        (logging.WARNING, "warning"),
        (35, "warning"),
        (logging.CRITICAL, "critical"),
        (1, "debug"),
        (np.int64(20), "info"),
        ("err", "error"),
        ("EXCEPTION", "error"),
        ("notice", "info"),
        ("trace", "debug"),
    ],
)
def test_a_level_may_be_a_number_or_another_word_for_it(
    persistence: Persistence, given: Any, level: str
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.log("boom", level=given)
    persistence.append_event(run.run_id, "agent", "boom", level=given)
    assert [event.level for event in events(persistence, run, "boom")] == [level, level]
    assert persistence.count_events(event_type="boom", min_level=level) == 2


# --- model calls ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("input_tokens", 900.0, 900),
        ("input_tokens", np.float64(900), 900),
        ("input_tokens", "900", 900),
        ("input_tokens", float("nan"), None),
        ("input_tokens", pd.NA, None),
        ("input_tokens", "many", None),
        ("input_tokens", -5, None),
        ("output_tokens", True, None),
        ("reasoning_tokens", 2**70, None),
        ("cost_usd", "0.01", Decimal("0.01")),
        ("cost_usd", float("nan"), None),
        ("cost_usd", -1, None),
        ("latency_ms", float("nan"), None),
        ("latency_ms", -3, None),
        ("latency_ms", "12.6", 13),
        ("model", "x" * 304, "x" * 254 + "…"),
        ("model", None, ""),
        ("provider", 7, "7"),
        ("status", 200, "200"),
        ("status", "", "success"),
    ],
)
def test_an_odd_number_or_name_loses_no_model_call(
    persistence: Persistence, field: str, given: Any, kept: Any
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.llm_call(**{"prompt": "hi", "cache_read_tokens": 20, field: given})
    [usage] = persistence.get_llm_usage()
    assert (run.dropped, usage.prompt, usage.cache_read_tokens) == (0, "hi", 20)
    assert getattr(usage, field) == kept


@pytest.mark.parametrize(
    "field",
    ["input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens", "latency_ms"],
)
def test_a_negative_number_is_refused_by_the_strict_calls(
    persistence: Persistence, field: str
) -> None:
    with pytest.raises(InvalidValueError, match=f"{field} may not be negative"):
        persistence.log_llm_usage(AgentLLMUsage("agent", None, **{field: -1}))
    with pytest.raises(InvalidValueError, match="cost_usd may not be negative"):
        persistence.log_llm_usage(AgentLLMUsage("agent", None, cost_usd=Decimal("-0.1")))


# --- metrics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [Decimal("0.5"), 0.5, np.float32(0.5), Decimal(2), 0, -0.0], ids=repr
)
def test_a_metric_is_any_finite_number(persistence: Persistence, value: Any) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.metric("m", value)
    persistence.append_event("other", "agent", "metric", payload=Metric("m", value))
    values = [point.value for point in persistence.query_metrics("m", "max", group_by="run_id")]
    assert (run.dropped, values) == (0, [float(value)] * 2)


@pytest.mark.parametrize("value", ["high", None, float("nan"), 10**400, True, Decimal("inf")])
def test_a_metric_that_is_not_a_finite_number_is_counted_as_dropped(
    persistence: Persistence, value: Any
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.metric("m", value)
    assert (run.dropped, types(persistence, run)) == (1, ["run_started", "run_completed"])
    with (
        pytest.raises(InvalidValueError, match="finite number"),
        persistence.record_run(agent_id="agent", on_error="raise") as strict,
    ):
        strict.metric("m", value)


def test_an_odd_score_becomes_the_nearest_valid_one(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.score("passed", True, comment=ValueError("no"), author=7)  # type: ignore[arg-type]
        run.score("share", "0.8")  # type: ignore[arg-type]
        run.score("n" * 300, label=5)  # type: ignore[arg-type]
        run.score("safe", np.bool_(False), author=7)  # type: ignore[arg-type]
        run.score("tone", label=np.bool_(True))  # type: ignore[arg-type]
    assert "Score.value, comment, author is not as it was given" in caplog.text
    scores = {score.name[:6]: score for score in persistence.scores.list(run.run_id)}
    assert (scores["safe"].value, scores["tone"].label) == (0.0, "true")
    passed = scores["passed"]
    assert (passed.value, passed.comment, passed.author) == (1.0, "no", "7")
    assert (scores["share"].value, scores["nnnnnn"].label, run.dropped) == (0.8, "5", 0)


def test_no_value_is_changed_with_on_error_raise(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", on_error="raise") as run:
        with pytest.raises(InvalidValueError, match="label"):
            run.score("s", label=5)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="event_type"):
            run.log("x" * 256)
        with pytest.raises(InvalidValueError, match="input_tokens"):
            run.llm_call(input_tokens=-5)
    with pytest.raises(InvalidValueError, match="agent_id"):
        persistence.log_agent_run_event(AgentRunEvent("", "run"))


@pytest.mark.parametrize("given", [{"metadata": "text"}, {"metadata": [1]}, {"tags": 5}], ids=repr)
def test_an_update_of_another_type_is_refused(persistence: Persistence, given: Any) -> None:
    [name] = given
    with persistence.record_run(agent_id="agent") as run:
        with pytest.raises(InvalidValueError, match=f"AgentRun.{name}"):
            run.update(**given)
        run.update(tags="kept", metadata={"kept": 1})
    assert (stored(persistence, run).tags, run.dropped) == (["kept"], 0)


def test_a_run_that_was_not_entered_is_logged_once(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run")
    run.log("step")
    run.llm_call(model="m")
    run.finish("done")
    [warning] = caplog.records
    assert warning.getMessage().startswith("Run run was not entered")
    assert (run.dropped, types(persistence, run)) == (0, ["step", "run_completed"])
    with persistence.record_run(agent_id="agent"):
        pass
    assert len(caplog.records) == 1


def test_a_mistyped_attribute_is_an_error(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", run_id="run") as run:
        with pytest.raises(AttributeError), run.tool("search") as call:
            call.results = 4  # type: ignore[attr-defined]
        assert repr(call) == "<ToolCall 'search' in run run>"
        assert repr(run) == "<RunRecorder of run run (agent, running)>"
