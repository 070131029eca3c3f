"""The text of every record passes the redactor on every write path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSpan,
    ConfigurationError,
    ConflictError,
    Persistence,
    SpanSource,
)
from curio_persistence.payloads import Metric
from curio_persistence.redaction.patterns import SecretPatterns
from curio_persistence.store.table import StoredValue, Table
from curio_persistence.tables import EVENTS, RUNS, SOURCES, SPANS, TABLES, USAGE
from tests.support.hands import Hands
from tests.support.records import Record, everything

Open = Callable[..., Persistence]

SECRET = "alice@example.com"
LABEL = "[redacted:email]"
WORDS = f"write to {SECRET}, today"


def a_run(run_id: str = "run", words: Any = WORDS) -> AgentRun:
    return AgentRun("agent", run_id, **dict.fromkeys(RUNS.content, words))


def an_event(run_id: str = "run", words: Any = WORDS, **fields: Any) -> AgentRunEvent:
    return AgentRunEvent("agent", run_id, **dict.fromkeys(EVENTS.content, words), **fields)


def a_call(run_id: str = "run", words: Any = WORDS, **fields: Any) -> AgentLLMUsage:
    return AgentLLMUsage("agent", run_id, **dict.fromkeys(USAGE.content, words), **fields)


# --- every write path -----------------------------------------------------------------------------


def one_by_one(persistence: Persistence) -> None:
    persistence.create_agent_run(a_run())
    persistence.log_agent_run_event(an_event())
    persistence.log_llm_usage(a_call())


def in_batches(persistence: Persistence) -> None:
    persistence.create_agent_runs(a_run(f"run {n}") for n in range(2))
    persistence.log_agent_run_events(
        an_event(f"run {n}") for n in range(3)
    )  # One belongs to a stub.
    persistence.log_llm_usages(a_call() for _ in range(2))


def in_a_transaction(persistence: Persistence) -> None:
    with persistence.transaction():
        one_by_one(persistence)


def behind_a_queue(persistence: Persistence) -> None:
    buffered = persistence.buffered(max_seconds=3600)
    buffered.log_agent_run_events(an_event() for _ in range(2))
    buffered.log_llm_usages(a_call() for _ in range(2))
    one_by_one(buffered)
    assert buffered.pending
    assert SECRET not in repr(list(buffered._queue._entries))
    buffered.flush()


def into_a_stub(persistence: Persistence) -> None:
    persistence.log_agent_run_event(an_event())
    persistence.create_agent_run(a_run())


def batches_into_stubs(persistence: Persistence) -> None:
    persistence.log_agent_run_events(an_event(f"run {n}") for n in range(2))
    persistence.create_agent_runs(a_run(f"run {n}") for n in range(2))


def as_an_update(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.update_agent_run("run", a_run())


def field_by_field(persistence: Persistence) -> None:
    persistence.append_event(
        "run",
        "agent",
        "log",
        message=WORDS,
        payload={"text": WORDS},
        metadata=[WORDS],
        artifact_uri=f"https://example.org/{SECRET}",
    )


def by_the_recorder(persistence: Persistence) -> None:
    run = persistence.record_run(
        agent_id="agent",
        objective=WORDS,
        additional_context={"for": SECRET},
        metadata=WORDS,
        on_error="raise",
    )
    with suppress(RuntimeError), run:
        run.log("thought", {"about": WORDS})
        with run.tool("send", {"to": SECRET}) as call:
            call.result = WORDS
        run.llm_call(prompt=WORDS, response=WORDS, error=WORDS, input_params={"user": SECRET})
        raise RuntimeError(WORDS)


def sent_twice(persistence: Persistence) -> None:
    for _ in range(2):
        persistence.log_agent_run_event(an_event(event_id="event"))
        persistence.log_agent_run_events([an_event(event_id="event")], on_conflict="error")
        persistence.log_llm_usage(a_call(event_id="call"))
        persistence.log_llm_usages([a_call(event_id="call")], on_conflict="error")


WAYS = [
    *(one_by_one, in_batches, in_a_transaction, behind_a_queue, into_a_stub, batches_into_stubs),
    *(as_an_update, field_by_field, by_the_recorder, sent_twice),
]
every_way = pytest.mark.parametrize("write", WAYS, ids=[way.__name__ for way in WAYS])


def table_of(record: Record) -> Table[Any]:
    return next(table for table in TABLES if table.model is type(record))


def words_of(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in table_of(record).content}


def is_without_content(record: Record) -> bool:
    return words_of(record) == table_of(record).content


def fails(field: str, text: str) -> str:
    raise ValueError(text)


@every_way
def test_no_write_path_bypasses_the_redactor(
    open_again: Open, write: Callable[[Persistence], None], caplog: pytest.LogCaptureFixture
) -> None:
    persistence = open_again(redactor="emails")
    write(persistence)
    stored = everything(persistence)
    assert SECRET not in repr(stored)
    assert LABEL in repr(stored)
    assert SECRET not in caplog.text
    assert persistence.redaction.failures == 0


@every_way
def test_no_write_path_bypasses_metrics_only(
    open_again: Open, write: Callable[[Persistence], None]
) -> None:
    persistence = open_again(capture_content="metrics-only")
    write(persistence)
    stored = everything(persistence)
    assert stored
    assert all(map(is_without_content, stored))


@every_way
def test_if_the_redactor_fails_only_numbers_are_stored(
    open_again: Open, write: Callable[[Persistence], None], caplog: pytest.LogCaptureFixture
) -> None:
    persistence = open_again(redactor=fails)
    with caplog.at_level(logging.ERROR):
        write(persistence)
    stored = everything(persistence)
    assert stored
    assert all(map(is_without_content, stored))
    assert persistence.redaction.failures >= len([r for r in stored if type(r) is not AgentRun])
    assert SECRET not in caplog.text
    assert caplog.text.count("The redactor failed") == 1


# --- arguments of the redactor --------------------------------------------------------------------


def test_the_redactor_gets_each_text_with_the_name_of_its_field(open_again: Open) -> None:
    seen: dict[str, str] = {}

    def redactor(field: str, text: str) -> str:
        seen[field] = text
        return text.upper()

    persistence = open_again(redactor=redactor)
    one_by_one(persistence)
    persistence.scores.set("run", "helpful", 1, comment=WORDS)
    ticket = persistence.approvals.request("run", "delete", WORDS, metadata=WORDS)
    persistence.approvals.resolve(ticket.ticket_id, "denied", reason=WORDS, response=WORDS)
    persistence.snapshots.save("run", "step", WORDS, metadata=WORDS)
    words = dict.fromkeys(SPANS.content, WORDS)
    persistence.traces.save_span(AgentSpan("trace", "span", run_id="run", **words))
    now = persistence.clock.now()
    source = SpanSource("source", source=WORDS, created_at=now, updated_at=now)
    persistence._store.insert(SOURCES, persistence._transfers.encoder(SOURCES)(source))
    persistence.sessions.create("session", metadata=WORDS)
    persistence.agents.create("agent", description=WORDS, metadata=WORDS)
    fields = {f"{table.model.__name__}.{name}" for table in TABLES for name in table.content}
    assert seen == dict.fromkeys(fields, WORDS), f"write here too: {fields - seen.keys()}"
    for record in everything(persistence):
        assert words_of(record) == dict.fromkeys(words_of(record), WORDS.upper())


@pytest.mark.parametrize("text", ["\0", "\ud800 \ufdd0", "ü" * 3])
def test_the_redactor_gets_the_original_text(open_again: Open, text: str) -> None:
    seen = []

    def redactor(field: str, text: str) -> str:
        seen.append(text)
        return text

    persistence = open_again(redactor=redactor)
    persistence.append_event("run", "agent", "log", message=text)
    assert seen == [text]
    [event] = persistence.get_agent_run_events("run")
    assert event.message == text


def test_the_redactor_gets_a_value_as_its_stored_json(open_again: Open) -> None:
    persistence = open_again(redactor=lambda field, text: text.replace("1", "2"))
    event = persistence.append_event("run", "agent", "log", payload={"n": 1})
    [stored] = persistence.get_agent_run_events("run")
    assert stored.data == '{"n": 2}'
    assert event.data == {"n": 1}, "the caller's own object stays as it is"


def test_ids_names_types_and_tags_are_not_redacted(open_again: Open) -> None:
    persistence = open_again(redactor=lambda field, text: "")
    persistence.create_agent_run(AgentRun("agent", "run", "Agent", tags=["tag"]))
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type="x", session_id="s"))
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", model="acme-1"))
    run, event, call = everything(persistence)
    assert (run.agent_name, run.tags) == ("Agent", ["tag"])  # type: ignore[union-attr]
    assert (event.event_type, event.session_id) == ("x", "s")  # type: ignore[union-attr]
    assert call.model == "acme-1"  # type: ignore[union-attr]


def test_filters_are_not_redacted(open_again: Open) -> None:
    persistence = open_again(redactor="all", capture_content="metrics-only")
    persistence.create_agent_run(AgentRun(SECRET, "run"))
    assert [run.agent_id for run in persistence.get_agent_runs(agent_id=SECRET)] == [SECRET]


# --- when it fails --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, b"bytes", 5, ["text"]])
def test_a_redactor_that_does_not_return_text_has_failed(open_again: Open, answer: Any) -> None:
    persistence = open_again(redactor=lambda field, text: answer)
    persistence.log_llm_usage(a_call(input_tokens=7, cost_usd=Decimal("0.5"), prompt_length=30))
    [call] = persistence.get_llm_usage()
    assert is_without_content(call)
    assert (call.input_tokens, call.cost_usd, call.prompt_length) == (7, Decimal("0.5"), 30)
    assert persistence.redaction.failures == 1


def test_if_it_fails_on_one_field_the_others_are_not_stored_either(open_again: Open) -> None:
    def redactor(field: str, text: str) -> str:
        return fails(field, text) if field == "AgentRun.metadata" else text

    persistence = open_again(redactor=redactor)
    one_by_one(persistence)
    run, event, call = everything(persistence)
    assert is_without_content(run)
    assert words_of(event) == dict.fromkeys(EVENTS.content, WORDS)
    assert words_of(call) == dict.fromkeys(USAGE.content, WORDS)
    assert persistence.redaction.failures == 1


def test_the_log_names_the_field_and_the_error(
    open_again: Open, caplog: pytest.LogCaptureFixture
) -> None:
    persistence = open_again(redactor=fails)
    persistence.append_event("run", "agent", "log", message=WORDS)
    [record] = caplog.records
    assert "AgentRunEvent.message, ValueError" in record.getMessage()
    assert record.exc_info is None
    assert "persistence.redaction.failures" in record.getMessage()


def test_an_interrupted_redactor_stores_nothing(open_again: Open) -> None:
    def interrupted(field: str, text: str) -> str:
        raise KeyboardInterrupt

    persistence = open_again(redactor=interrupted)
    with pytest.raises(KeyboardInterrupt):
        persistence.log_llm_usage(a_call())
    assert everything(persistence) == []


def test_a_run_can_be_closed_whatever_the_redactor_does(open_again: Open, clock: Hands) -> None:
    persistence = open_again(redactor=fails)
    persistence.create_agent_run(AgentRun("agent", "run", status="running"))
    clock.move(hours=2)
    persistence.runs.abandon(older_than=timedelta(hours=1))
    run = persistence.get_agent_run("run")
    assert run is not None
    assert (run.status, run.error_message) == ("error", None)


def test_the_reason_for_closing_a_run_is_text_like_any(open_again: Open, clock: Hands) -> None:
    persistence = open_again(redactor=lambda field, text: f"{field}: {text[:9]}")
    persistence.create_agent_run(AgentRun("agent", "run", status="running"))
    clock.move(hours=2)
    persistence.runs.abandon(older_than=timedelta(hours=1))
    run = persistence.get_agent_run("run")
    assert run is not None
    assert run.error_message == "AgentRun.error_message: Abandoned"


# --- extracted values -----------------------------------------------------------------------------


def tool_call(tool: str) -> AgentRunEvent:
    data = {"tool_name": tool, "latency_ms": 12.5, "error": f"no {SECRET}", "args": WORDS}
    return AgentRunEvent("agent", "run", event_type="tool_call", data=data)


def tool_names(persistence: Persistence) -> list[str]:
    return list(persistence.get_agent_run_stats()["tool_metrics"])


def metric_names(persistence: Persistence) -> list[StoredValue]:
    measures = (EVENTS.filter("metric_name", "is not null"),)
    groups = persistence._store.aggregate(EVENTS, (), measures, group_by=("metric_name",))
    return [name for (name,) in groups]


def test_statistics_are_stored_without_text(open_again: Open) -> None:
    persistence = open_again(capture_content="metrics-only")
    persistence.log_agent_run_event(tool_call("search"))
    persistence.append_event("run", "agent", "metric", payload=Metric("accuracy", 0.5))
    metrics = {"cost_usd": 0.25, "for": SECRET}
    persistence.log_llm_usage(AgentLLMUsage("agent", None, usage_metrics=metrics, input_tokens=3))
    stats = persistence.get_agent_run_stats()
    assert stats["tool_metrics"]["search"] == {
        "call_count": 1,
        "total_latency_ms": 12.5,
        "avg_latency_ms": 12.5,
        "error_count": 1,
    }
    assert (stats["total_cost_usd"], stats["total_input_tokens"]) == (Decimal("0.25"), 3)
    assert metric_names(persistence) == ["accuracy"]


@pytest.mark.parametrize("content", ["full", "metrics-only"])
def test_names_in_statistics_are_redacted(open_again: Open, content: str) -> None:
    persistence = open_again(redactor="emails", capture_content=content)
    persistence.log_agent_run_event(tool_call(f"mail to {SECRET}"))
    persistence.append_event("run", "agent", "metric", payload=Metric(SECRET, 0.5))
    assert tool_names(persistence) == [f"mail to {LABEL}"]
    assert metric_names(persistence) == [LABEL]


@pytest.mark.parametrize("content", ["full", "metrics-only"])
def test_the_origin_of_a_run_is_redacted(open_again: Open, content: str) -> None:
    persistence = open_again(redactor="emails", capture_content=content)
    origin = {"source": "tool", "project": f"/home/{SECRET}", "branch": f"fix/{SECRET}"}
    persistence.create_agent_run(AgentRun("agent", "new", metadata=origin))
    persistence.create_agent_run(AgentRun("agent", "changed"))
    persistence.update_agent_run("changed", AgentRun("agent", "changed", metadata=origin))
    kept = f"/home/{LABEL}"
    stored = persistence._store.select_columns(RUNS, ("source", "project", "branch"), ())
    assert {tuple(row) for row in stored} == {("tool", kept, f"fix/{LABEL}")}
    assert len(persistence.query_agent_runs(project=kept)) == 2


def test_an_origin_that_cannot_be_redacted_is_not_kept(open_again: Open) -> None:
    persistence = open_again(redactor=fails)
    persistence.create_agent_run(AgentRun("agent", "run", metadata={"project": SECRET}))
    [row] = persistence._store.select_columns(RUNS, ("project",), ())
    assert tuple(row) == (None,)


def test_names_that_cannot_be_redacted_are_not_in_statistics(open_again: Open) -> None:
    persistence = open_again(redactor=fails)
    persistence.log_agent_run_event(tool_call("search"))
    persistence.append_event("run", "agent", "metric", payload=Metric("accuracy", 0.5))
    assert tool_names(persistence) == metric_names(persistence) == []


def test_a_cut_name_is_not_in_statistics_because_it_may_end_in_half_a_secret(
    open_again: Open,
) -> None:
    persistence = open_again(redactor="emails")
    persistence.log_agent_run_event(tool_call("x" * 240 + f" {SECRET}"))
    assert tool_names(persistence) == []
    assert persistence.redaction.failures == 0


def test_a_name_that_grows_is_cut(open_again: Open) -> None:
    persistence = open_again(redactor=lambda field, text: text * 100)
    persistence.log_agent_run_event(tool_call("search"))
    assert tool_names(persistence) == [("search" * 100)[:255]]


def test_the_numbers_of_a_runs_metrics_are_not_text(open_again: Open) -> None:
    persistence = open_again(capture_content="metrics-only")
    metrics = {"score": 0.5, "steps": 3, "note": WORDS, "ok": True, "deep": {"n": 1}, "nan": 1e400}
    persistence.create_agent_run(AgentRun("agent", "numbers", metrics=metrics))
    persistence.create_agent_run(AgentRun("agent", "words", metrics={"note": WORDS}))
    persistence.create_agent_run(AgentRun("agent", "text", metrics=WORDS))
    kept = {run.run_id: run.metrics for run in persistence.get_agent_runs()}
    assert kept == {"numbers": '{"score": 0.5, "steps": 3}', "words": None, "text": None}


def test_the_names_of_a_runs_metrics_are_redacted(open_again: Open) -> None:
    persistence = open_again(redactor="emails", capture_content="metrics-only")
    persistence.create_agent_run(AgentRun("agent", "run", metrics={SECRET: 1, "note": WORDS}))
    [run] = persistence.get_agent_runs()
    assert run.metrics == f'{{"{LABEL}": 1}}'


# --- sent again -----------------------------------------------------------------------------------


def test_a_record_sent_again_is_compared_in_redacted_form(open_again: Open) -> None:
    persistence = open_again(redactor="all")
    event, call = an_event(event_id="event"), a_call(event_id="call")
    assert persistence.log_agent_run_events([event]) == 1
    assert persistence.log_llm_usages([call]) == 1
    again = an_event(event_id="event"), a_call(event_id="call")
    assert persistence.log_agent_run_events([again[0]], on_conflict="error") == 0
    assert persistence.log_llm_usages([again[1]], on_conflict="error") == 0
    assert (again[0].id, again[1].id) == (event.id, call.id)


def test_other_content_under_the_same_event_id_is_refused_without_showing_it(
    open_again: Open,
) -> None:
    persistence = open_again(redactor="all")
    persistence.log_agent_run_events([an_event(event_id="event")])
    other = an_event(event_id="event", words=f"and now {SECRET}")
    with pytest.raises(ConflictError) as refused:
        persistence.log_agent_run_events([other], on_conflict="error")
    assert SECRET not in str(refused.value)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("redactor", ["emails,keys", "emails, keys", ["emails", "keys"], {"all"}])
def test_patterns_are_named_together_or_one_by_one(open_again: Open, redactor: Any) -> None:
    persistence = open_again(redactor=redactor)
    persistence.append_event("run", "agent", "log", payload={"to": SECRET, "password": "hunter2"})
    [event] = persistence.get_agent_run_events("run")
    assert event.data == f'{{"to": "{LABEL}", "password": "[redacted:key]"}}'


@pytest.mark.before_io
@pytest.mark.parametrize(
    "settings",
    [
        {"redactor": "emials"},
        {"redactor": ["keys", "emials"]},
        {"redactor": ""},
        {"redactor": []},
        {"redactor": 5},
        {"redactor": [5]},
        {"capture_content": "metrics"},
        {"capture_content": None},
        {"capture_content": ["full"]},
    ],
    ids=repr,
)
def test_a_wrong_setting_is_refused_before_anything_is_opened(
    open_again: Open, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=r"redactor|CURIO_CAPTURE_CONTENT"):
        open_again(**settings)


def test_an_unknown_name_is_refused_with_a_list_of_known_ones(open_again: Open) -> None:
    with pytest.raises(ConfigurationError, match=r"keys, .*, ips, .*or all for keys, .*, not 'x'"):
        open_again(redactor="x")


@pytest.mark.parametrize("redactor", ["all,ibans", ["all", "ibans"], "ibans"])
def test_patterns_that_all_does_not_include_are_named_beside_it(
    open_again: Open, redactor: Any
) -> None:
    persistence = open_again(redactor=redactor)
    persistence.append_event("run", "agent", "log", message="to GB82 WEST 1234 5698 7654 32, now")
    [event] = persistence.get_agent_run_events("run")
    assert event.message == "to [redacted:iban], now"


def test_matches_are_reported_by_field_and_name(open_again: Open) -> None:
    told: list[tuple[str, str]] = []
    patterns = SecretPatterns("all", on_match=lambda field, name: told.append((field, name)))
    persistence = open_again(redactor=patterns)
    persistence.append_event("run", "agent", "log", message=WORDS, payload={"password": "x"})
    assert sorted(told) == [("AgentRunEvent.data", "keys"), ("AgentRunEvent.message", "emails")]


def test_if_on_match_raises_the_redactor_has_failed(open_again: Open) -> None:
    patterns = SecretPatterns("all", on_match=lambda field, name: fails(field, name))
    persistence = open_again(redactor=patterns)
    persistence.append_event("run", "agent", "log", message=WORDS, level="info")
    [event] = persistence.get_agent_run_events("run")
    assert (event.message, event.level) == (None, "info")
    assert persistence.redaction.failures == 1


def test_a_number_of_more_digits_than_python_reads_loses_no_text(open_again: Open) -> None:
    persistence = open_again(redactor="all")
    digits = "7" * 5000
    with persistence.record_run(agent_id="agent", objective=WORDS) as run:
        run.finish(digits)
    stored = persistence.get_agent_run(run.run_id)
    assert stored is not None
    assert stored.objective == f"write to {LABEL}, today"
    assert stored.final_synthesis_output == digits
    assert persistence.redaction.failures == 0


def test_token_usage_of_a_model_is_stored_unchanged(open_again: Open) -> None:
    persistence = open_again(redactor="all")
    token = {"token": " Hello", "logprob": -0.1, "bytes": [32, 72]}
    payload = {"logprobs": {"content": [token]}, "stop_token": 50256, "next_page_token": "a1" * 20}
    persistence.append_event("run", "agent", "log", payload=payload)
    [event] = persistence.get_agent_run_events("run")
    assert event.get_data_dict() == payload


def test_deleting_a_run_removes_the_text_of_its_calls(persistence: Persistence) -> None:
    one_by_one(persistence)
    persistence.delete_agent_run("run")
    [call] = persistence.get_llm_usage()
    assert is_without_content(call)
