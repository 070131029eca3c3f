"""The end of a run: a result stays, a failure stores everything its exception contains."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from curio_persistence import Parent, Persistence, UnavailableError
from curio_persistence.recording.recorder import record_run
from tests.support.outage import Outage
from tests.support.recorded import events, stored, types


def ended_by(persistence: Persistence, error: BaseException, run_id: str = "run") -> str | None:
    """Return the error message of a run ended by this exception."""
    with suppress(BaseException), persistence.record_run(agent_id="agent", run_id=run_id):
        raise error
    return stored(persistence, run_id).error_message


# --- a result stays ---------------------------------------------------------------------------


def test_a_consumer_that_stops_after_the_result_does_not_cancel_the_run(
    persistence: Persistence,
) -> None:
    def agent() -> Iterator[str]:
        with persistence.record_run(agent_id="agent", run_id="run") as run:
            run.finish("42")
            yield "42"

    next(agent())
    after = stored(persistence, "run")
    assert (after.status, after.error_message) == ("completed", None)
    assert types(persistence, "run") == ["run_started", "run_completed"]


@pytest.mark.parametrize(
    "error",
    [SystemExit(0), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()],
    ids=repr,
)
def test_a_cancellation_after_the_result_changes_nothing(
    persistence: Persistence, error: BaseException
) -> None:
    def agent() -> None:
        with persistence.record_run(agent_id="agent", run_id="run") as run:
            run.finish("done")
            raise error

    with pytest.raises(type(error)):
        agent()
    after = stored(persistence, "run")
    assert (after.status, after.final_synthesis_output) == ("completed", "done")
    assert types(persistence, "run") == ["run_started", "run_completed"]


@pytest.mark.parametrize("code", [0, None])
def test_a_program_that_exits_with_0_completes_its_run(
    persistence: Persistence, code: int | None
) -> None:
    with pytest.raises(SystemExit), persistence.record_run(agent_id="agent", run_id="run"):
        sys.exit(code)
    after = stored(persistence, "run")
    assert (after.status, after.error_message) == ("completed", None)


def test_finishing_again_replaces_the_result_without_another_event(
    persistence: Persistence,
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.finish("first")
        run.finish("second")
        run.log("afterwards")
        run.finish()
    after = stored(persistence, run)
    assert (after.status, after.final_synthesis_output) == ("completed", "second")
    assert types(persistence, run) == ["run_started", "run_completed", "afterwards"]


@pytest.mark.parametrize("events", [1, 2])
def test_a_run_whose_events_cannot_be_stored_is_not_left_running(
    persistence: Persistence, events: int
) -> None:
    eventless: Any = Outage(persistence, calls=events, after=1)
    with (
        pytest.raises(UnavailableError),
        record_run(eventless, agent_id="agent", run_id="run", on_error="raise"),
    ):
        raise AssertionError("the block was entered")
    assert stored(persistence, "run").status == "error"


# --- errors -----------------------------------------------------------------------------------


def test_an_exception_group_names_its_members(persistence: Persistence) -> None:
    group = ExceptionGroup(
        "unhandled errors in a TaskGroup",
        [ConnectionError("host down"), ExceptionGroup("inner", [ValueError("no"), KeyError("k")])],
    )
    assert ended_by(persistence, group) == (
        "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)\n"
        "  ConnectionError: host down\n"
        "  ExceptionGroup: inner (2 sub-exceptions)\n"
        "    ValueError: no\n"
        "    KeyError: 'k'"
    )


def test_an_error_names_its_causes_and_notes(persistence: Persistence) -> None:
    error = RuntimeError("no answer")
    error.add_note("tried three times")
    error.__cause__ = ConnectionError("host down")
    error.__cause__.__context__ = KeyError("host")
    assert ended_by(persistence, error) == (
        "RuntimeError: no answer\n"
        "  note: tried three times\n"
        "  caused by ConnectionError: host down\n"
        "    while handling KeyError: 'host'"
    )


def test_an_error_that_causes_itself_or_has_thousands_of_members_is_named_in_part(
    persistence: Persistence,
) -> None:
    error = ValueError("a")
    error.__cause__ = KeyError("b")
    error.__cause__.__context__ = error
    assert ended_by(persistence, error) == "ValueError: a\n  caused by KeyError: 'b'"
    many = ExceptionGroup("many", [ValueError("no")] + [ValueError(str(n)) for n in range(9999)])
    message = ended_by(persistence, many, "many")
    assert message is not None
    assert message.count("\n") < 100


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ExceptionGroup("g", [TimeoutError("slow")]), "timeout"),
        (ExceptionGroup("g", [TimeoutError("slow"), ValueError("no")]), "error"),
        (BaseExceptionGroup("g", [KeyboardInterrupt(), asyncio.CancelledError()]), "cancelled"),
        (TimeoutError(), "timeout"),
    ],
    ids=repr,
)
def test_a_group_ends_the_run_as_its_members_would(
    persistence: Persistence, error: BaseException, status: str
) -> None:
    ended_by(persistence, error)
    assert stored(persistence, "run").status == status


def test_the_traceback_is_stored_with_the_error(persistence: Persistence) -> None:
    def fails() -> None:
        raise ValueError("no")

    with suppress(ValueError), persistence.record_run(agent_id="agent") as run, run.tool("search"):
        fails()
    for event_type in ("tool_call", "run_error"):
        [event] = events(persistence, run, event_type)
        traceback = event.get_data_dict()["traceback"]
        assert traceback.startswith("Traceback (most recent call last):")
        assert traceback.endswith("ValueError: no\n")
        assert "in fails" in traceback


def test_the_traceback_is_redacted(open_again: Any) -> None:
    secret = "sk-ant-api03-" + "a" * 30
    for settings in ({"redactor": "all"}, {"capture_content": "metrics-only"}):
        persistence = open_again(**settings)
        with suppress(ValueError), persistence.record_run(agent_id="agent") as run:
            raise ValueError(secret)
        [event] = persistence.get_agent_run_events(run.run_id, "run_error")
        assert secret not in (event.data or "")
        assert "Traceback" in event.data if "redactor" in settings else event.data is None


# --- resuming a run ---------------------------------------------------------------------------


def test_a_run_that_failed_can_be_resumed(persistence: Persistence) -> None:
    with (
        suppress(ValueError),
        persistence.record_run(
            agent_id="agent",
            run_id="job",
            objective="find out",
            session_id="talk",
            tags="first",
            metadata={"a": 1},
        ) as first,
    ):
        first.iteration()
        raise ValueError("no")
    began = stored(persistence, "job").started_at
    with persistence.record_run(agent_id="agent", run_id="job", resume=True) as second:
        during = stored(persistence, "job")
        assert second.iteration() == 2
        second.finish("42")
    after = stored(persistence, "job")
    assert (during.status, during.error_message, during.finished_at) == ("running", None, None)
    assert (after.status, after.final_synthesis_output) == ("completed", "42")
    assert (after.objective, after.session_id, after.tags) == ("find out", "talk", ["first"])
    assert (after.started_at, after.get_metadata_dict()) == (began, {"a": 1})
    [resumed] = events(persistence, "job", "run_resumed")
    assert resumed.get_data_dict() == {"status": "error", "error": "ValueError: no"}
    assert len({event.trace_id for event in events(persistence, "job")}) == 1
    assert second.dropped == 0


def test_a_run_resumed_in_its_own_block_is_not_its_parent(persistence: Persistence) -> None:
    for parent in (Parent.ENCLOSING, "job"):
        with (
            persistence.record_run(agent_id="agent", run_id="job", resume=True),
            persistence.record_run(agent_id="agent", run_id="job", resume=True, parent=parent),
        ):
            pass
        assert stored(persistence, "job").parent_run_id is None
    assert {event.parent_span_id for event in events(persistence, "job")} == {None}


def test_resuming_an_unknown_run_begins_it(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", run_id="job", resume=True):
        pass
    assert types(persistence, "job") == ["run_started", "run_completed"]


def test_tags_and_metadata_can_be_added_during_a_run(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", tags="a", metadata={"k": 1, "l": 2}) as run:
        run.update(tags=["b", "a"], metadata={"k": 3})
        during = stored(persistence, run)
        assert (during.status, during.tags) == ("running", ["a", "b"])
        run.update(metadata={"ticket": 7})
        run.update(tags="c")
    after = stored(persistence, run)
    assert (after.status, after.tags) == ("completed", ["a", "b", "c"])
    assert after.get_metadata_dict() == {"k": 3, "l": 2, "ticket": 7}


def test_metadata_that_is_not_an_object_stays_beside_added_metadata(
    persistence: Persistence,
) -> None:
    with persistence.record_run(agent_id="agent", metadata="a note") as run:
        run.update(metadata={"ticket": 7})
    assert stored(persistence, run).get_metadata_dict() == {"value": "a note", "ticket": 7}


def test_a_run_and_its_children_have_a_user(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="agent", user_id="u7") as outer,
        persistence.record_run(agent_id="agent") as inner,
    ):
        pass
    assert [stored(persistence, run).user_id for run in (outer, inner)] == ["u7", "u7"]
