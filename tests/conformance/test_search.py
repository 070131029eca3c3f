"""Search: queries as people type them find the same records on every backend."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
    UnsupportedError,
)
from curio_persistence.capabilities import deleting_runs
from curio_persistence.capabilities.search import indexing
from curio_persistence.store.search_index import Term
from curio_persistence.text.tokenizer import MOST_WORDS
from tests.conformance.conftest import Open
from tests.support.hands import Hands

TUESDAY = datetime(2026, 3, 10, 12, tzinfo=UTC)


def found(persistence: Persistence, query: str, **options: Any) -> list[str]:
    """Return the messages, objectives and prompts of the hits."""
    return [named(hit.record) for hit in persistence.search_text(query, **options)]


def named(record: Any) -> str:
    for field in ("message", "objective", "prompt"):
        if text := getattr(record, field, None):
            return str(text)
    return ""


def say(persistence: Persistence, *messages: str, **fields: Any) -> None:
    for message in messages:
        persistence.append_event(
            fields.pop("run_id", "run"), fields.pop("agent_id", "agent"), "log",
            message=message, **fields,
        )  # fmt: skip


def test_runs_events_and_model_calls_are_found(persistence: Persistence) -> None:
    run = AgentRun("agent", "run", objective="Find the limit", started_at=TUESDAY)
    persistence.create_agent_run(run)
    event = persistence.append_event("run", "agent", "log", payload={"said": "the limit is near"})
    usage = AgentLLMUsage("agent", "run", "openai", "gpt", prompt="Which limit?")
    persistence.log_llm_usage(usage)
    page = persistence.search_text("limit")
    assert [(hit.kind, hit.run_id, hit.agent_id, hit.field) for hit in page] == [
        ("usage", "run", "agent", "prompt"),
        ("event", "run", "agent", "data"),
        ("run", "run", "agent", "objective"),
    ]
    assert [hit.timestamp for hit in page] == [usage.created_at, event.timestamp, run.created_at]
    assert [hit.record for hit in page] == [
        *persistence.query_llm_usage(),
        *persistence.query_events(),
        *persistence.query_agent_runs(),
    ]
    assert [hit.score for hit in page] == [None] * 3
    assert page.pending == 0
    assert page.next_cursor is None


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"objective": "needle"}, "needle"),
        ({"final_synthesis_output": "needle"}, "needle"),
        ({"error_message": "needle"}, "needle"),
    ],
)
def test_the_text_of_a_run_is_found(
    persistence: Persistence, fields: dict[str, str], word: str
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", **fields))
    [hit] = persistence.search_text(word)
    assert (hit.kind, hit.field) == ("run", next(iter(fields)))


@pytest.mark.parametrize("field", ["prompt", "response_content", "error_message"])
def test_the_text_of_a_model_call_is_found(persistence: Persistence, field: str) -> None:
    persistence.log_llm_usage(AgentLLMUsage(None, None, "p", "m", **{field: "a needle"}))
    [hit] = persistence.search_text("needle")
    assert (hit.kind, hit.field, hit.run_id) == ("usage", field, None)


@pytest.mark.parametrize(
    "query",
    ["search", "résultat", "deep", "429", "0.5", "tool_name", "line two", "plain", "true", "null"],
)
def test_keys_texts_and_numbers_of_payloads_are_found(persistence: Persistence, query: str) -> None:
    payload = {
        "tool_name": "search",
        "Résultat": {"list": [{"deep": "line\ntwo"}, "plain"]},
        "status": 429,
        "share": 0.5,
        "ok": True,
        "error": None,
    }
    persistence.append_event("run", "agent", "tool_call", payload=json.dumps(payload))
    [hit] = persistence.search_text(query)
    assert hit.field == "data"
    assert hit.highlights


@pytest.mark.parametrize("query", ["one two", '"two three"', "-four", "tr*", "1e400"])
def test_escapes_in_a_payload_change_nothing(persistence: Persistence, query: str) -> None:
    payload = '{"one": ["two three", true], "number": 1e400}'
    persistence.append_event("run", "agent", "log", message="plain", payload=payload)
    escaped = payload.replace("o", "\\u006f")
    persistence.append_event("run", "agent", "log", message="escaped", payload=escaped)
    assert found(persistence, query, event_type="log") == ["escaped", "plain"]


def test_a_payload_that_is_not_json_is_text(persistence: Persistence) -> None:
    persistence.append_event("run", "agent", "log", payload="{broken, but readable")
    assert len(persistence.search_text("broken readable")) == 1


@pytest.mark.parametrize("depth", [100, 480, 700, 950, 5_000])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"key":', "}")])
def test_payloads_of_any_depth_are_found(
    persistence: Persistence, depth: int, opens: str, closes: str
) -> None:
    payload = opens * depth + '"needle"' + closes * depth
    persistence.append_event("run", "agent", "log", payload=payload)
    assert [hit.field for hit in persistence.search_text("needle")] == ["data"]


def test_all_words_must_occur_in_any_order(persistence: Persistence) -> None:
    say(persistence, "rate limit exceeded", "the limit of the rate", "a rate")
    assert found(persistence, "limit rate") == ["the limit of the rate", "rate limit exceeded"]
    assert found(persistence, '"rate limit"') == ["rate limit exceeded"]
    assert found(persistence, "rate -limit") == ["a rate"]
    lacking = found(persistence, '-"rate limit"', event_type="log")
    assert lacking == ["a rate", "the limit of the rate"]
    assert found(persistence, "exce*") == ["rate limit exceeded"]
    assert found(persistence, '"limit exc*"') == ["rate limit exceeded"]
    assert found(persistence, "nothing") == []


def test_an_exclusion_alone_finds_all_other_records(persistence: Persistence) -> None:
    say(persistence, "one", "two")
    assert found(persistence, "-two", event_type="log") == ["one"]


@pytest.mark.parametrize("query", ["", " ", '"', '""', "*", "-", "\0", "\ud800", "?!…"])
def test_a_query_without_words_finds_nothing(persistence: Persistence, query: str) -> None:
    say(persistence, "one")
    page = persistence.search_text(query)
    assert (list(page), page.next_cursor) == ([], None)


def test_a_phrase_does_not_span_two_texts(persistence: Persistence) -> None:
    persistence.append_event("run", "agent", "log", message="first", payload=["second", "third"])
    assert found(persistence, '"first second"') == []
    assert found(persistence, '"second third"') == []
    assert found(persistence, "third second first") == ["first"]


def test_the_first_ten_thousand_words_of_a_text_are_searched(persistence: Persistence) -> None:
    words = ["word"] * MOST_WORDS
    words[0], words[-1] = "first", "last"
    say(persistence, "a short text")
    assert not persistence.search_text("beyond").is_partial
    say(persistence, " ".join([*words, "beyond"]))
    assert len(persistence.search_text("first last")) == 1
    assert len(persistence.search_text('"word last"')) == 1
    page = persistence.search_text("beyond")
    assert (len(page), page.pending, page.is_partial) == (0, 0, True)
    assert page[:1].is_partial
    persistence.delete_agent_run("run")
    persistence.search.rebuild()
    assert not persistence.search_text("first").is_partial


def test_a_response_is_found_behind_a_long_prompt(persistence: Persistence) -> None:
    prompt = "word " * (MOST_WORDS + 1) + "CamelCase"
    answered = "The needle isInThe haystack"
    persistence.log_llm_usage(
        AgentLLMUsage("agent", "run", prompt=prompt, response_content=answered)
    )
    for query in ("needle", '"the needle"', "haystack word", "is", "needle -camel"):
        page = persistence.search_text(query)
        assert (len(page), page.is_partial) == (1, True), query


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["a", "ж", "𐐨"])
def test_very_long_words_are_found(persistence: Persistence, letter: str) -> None:
    words = [f"{letter * 58}{number:06}" for number in range(MOST_WORDS)]
    say(persistence, " ".join(words))
    for word in (words[0], words[5_000], words[-1], words[-1][:-1] + "*"):
        assert len(persistence.search_text(word)) == 1
    assert len(persistence.search_text(f"{words[0]} -{letter * 57}")) == 1
    assert len(persistence.search_text(f"{words[0]} -{words[1]}")) == 0


def test_long_excluded_words_are_compared_completely(persistence: Persistence) -> None:
    say(persistence, "one " + "x" * 30, "two " + "x" * 24)
    assert found(persistence, f"x* -{'x' * 24}") == ["one " + "x" * 30]
    assert found(persistence, f"x* -{'x' * 30}") == ["two " + "x" * 24]
    assert found(persistence, f"x* -{'x' * 30}*") == ["two " + "x" * 24]


@pytest.mark.slow
def test_a_filter_may_have_many_values(persistence: Persistence) -> None:
    say(persistence, "word")
    persistence.append_event("run", "agent", "note", message="word")
    names = [f"type {number}" for number in range(100_000)]
    assert found(persistence, "word", event_type=[*names, "log"]) == ["word"]


def test_snippets_show_the_matches(persistence: Persistence) -> None:
    say(persistence, "a " * 200 + "needle" + " z" * 200)
    [hit] = persistence.search_text("needle")
    [(start, end)] = hit.highlights
    assert hit.snippet[start:end] == "needle"
    assert len(hit.snippet) < 200


def test_filters_apply_to_a_search(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("a", "run-a", objective="word run", session_id="s"))
    say(persistence, "word one", run_id="run-a", agent_id="a", session_id="s", level="error")
    say(persistence, "word two", run_id="run-b", agent_id="b")
    persistence.append_event("run-b", "b", "note", message="word three", level="debug")
    persistence.log_llm_usage(AgentLLMUsage("b", "run-b", "p", "gpt", prompt="word four"))
    persistence.log_llm_usage(AgentLLMUsage("a", "run-a", "p", "other", prompt="word five"))
    say(persistence, "word six", run_id="run-a", agent_id="c", session_id="another")
    for options, expected in (
        ({"agent_id": "a"}, ["word five", "word one", "word run"]),
        ({"run_id": "run-b"}, ["word four", "word three", "word two"]),
        ({"session_id": "s"}, ["word five", "word one", "word run"]),
        ({"session_id": "s", "level": "error"}, ["word one"]),
        ({"session_id": "s", "model": "other"}, ["word five"]),
        ({"session_id": "s", "model": ["gpt"]}, []),
        ({"session_id": "another"}, ["word six"]),
        ({"event_type": "note"}, ["word three"]),
        ({"event_type": ["note", "log"]}, ["word six", "word three", "word two", "word one"]),
        ({"level": "error"}, ["word one"]),
        ({"level": ["error", "info"]}, ["word six", "word two", "word one"]),
        ({"level": "error", "agent_id": "b"}, []),
        ({"model": "gpt"}, ["word four"]),
        ({"model": "gpt", "event_type": "log"}, []),
        ({"event_type": []}, []),
        ({"event_type": ["note", *map(str, range(2_000))]}, ["word three"]),
        ({"agent_id": "b", "event_type": ["note", *map(str, range(2_000))]}, ["word three"]),
    ):
        assert found(persistence, "word", **options) == expected, options
        assert sorted(found(persistence, "word", order="rank", **options)) == sorted(expected)
        without = found(persistence, "-absent", **options)
        assert list(filter(None, without)) == expected, options  # Runs that were not created.


def test_windows_are_exact(persistence: Persistence) -> None:
    moments = [TUESDAY + timedelta(microseconds=number) for number in range(-2, 3)]
    for moment in moments:
        say(persistence, f"word {moment.isoformat()}", timestamp=moment)
    hits = persistence.search_text("word", since=moments[1], until=moments[3])
    assert sorted(hit.timestamp for hit in hits) == moments[1:3]


def test_a_window_may_move_with_the_clock(persistence: Persistence, clock: Hands) -> None:
    say(persistence, "word one", "word two")
    clock.move(hours=3)
    say(persistence, "word three")
    assert found(persistence, "word", since="2h") == ["word three"]
    page = persistence.search_text("word", since="4h", limit=2)
    clock.move(minutes=1)
    assert found(persistence, "word", since="4h", limit=2, cursor=page.next_cursor) == ["word one"]


def test_hits_are_newest_first_in_any_order_of_storing(persistence: Persistence) -> None:
    for days in (3, 1, 2, 5, 4):
        say(persistence, f"word {days}", timestamp=TUESDAY + timedelta(days=days))
        persistence.search.index_pending()
    assert found(persistence, "word") == [f"word {days}" for days in (5, 4, 3, 2, 1)]


@pytest.mark.parametrize("order", ["newest", "rank"])
def test_pages_contain_every_hit_once(persistence: Persistence, order: Any) -> None:
    for number in range(23):
        moment = TUESDAY + timedelta(seconds=number)
        say(persistence, f"word {number} " + "filler " * (number % 5), timestamp=moment)
    everything = found(persistence, "word", order=order, limit=None)
    read: list[str] = []
    cursor = None
    while True:
        page = persistence.search_text("word", order=order, limit=5, cursor=cursor)
        read += [named(hit.record) for hit in page]
        say(persistence, "word that comes meanwhile")
        cursor = page.next_cursor
        if cursor is None:
            break
    assert read == everything
    assert len(set(read)) == 23


def test_limits_are_those_of_other_queries(persistence: Persistence) -> None:
    say(persistence, *(f"word {number}" for number in range(120)))
    assert len(persistence.search_text("word")) == 50
    assert len(persistence.search_text("word", limit=None)) == 120
    assert len(persistence.search_text("word", limit=120)) == 120
    assert persistence.search_text("word", limit=120).next_cursor is None
    assert len(persistence.search_text("word", limit=0)) == 0


def test_rank_puts_the_most_relevant_hits_first(persistence: Persistence) -> None:
    say(
        persistence,
        "needle " + "hay " * 50,
        "needle in the hay",
        "needle needle",
        "needle needle needle " + "hay " * 50,
    )
    ranked = persistence.search_text("needle", order="rank")
    texts = [named(hit.record)[:17].strip() for hit in ranked]
    assert texts == ["needle needle", "needle in the hay", "needle needle nee", "needle hay hay ha"]
    scores = [hit.score or 0 for hit in ranked]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
def test_many_records_of_the_same_time_are_found(persistence: Persistence) -> None:
    events = [
        AgentRunEvent("agent", "run", timestamp=TUESDAY, event_type="log", message=f"word {n}")
        for n in range(2_500)
    ]
    for begin in range(0, len(events), 500):
        persistence.log_agent_run_events(events[begin : begin + 500])
        persistence.search.index_pending()
    window = {"since": TUESDAY, "until": TUESDAY + timedelta(microseconds=1)}
    assert len(persistence.search_text("word", limit=None, **window)) == 2_500
    assert found(persistence, "1234", **window) == ["word 1234"]


def test_the_current_text_of_a_run_is_found_and_not_its_former_text(
    persistence: Persistence,
) -> None:
    run = AgentRun("agent", "run", objective="before")
    persistence.create_agent_run(run)
    assert found(persistence, "before") == ["before"]
    run.objective = "after"
    persistence.update_agent_run("run", run)
    assert found(persistence, "after") == ["after"]
    assert found(persistence, "before") == []
    assert found(persistence, "-before") == ["after"]


def test_records_of_the_same_time_indexed_in_many_batches_are_found(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curio_persistence.capabilities.search.indexing.BATCH", 5)
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", timestamp=TUESDAY, event_type="log", message="word")
        for _ in range(400)
    )
    assert len(persistence.search_text("word", limit=None, max_wait=None)) == 400
    assert int(persistence._store.search_index.metadata()["drift"]) < 100 * 400


def test_a_run_changed_after_indexing_is_not_damage(persistence: Persistence) -> None:
    run = AgentRun("agent", "run", objective="word")
    persistence.create_agent_run(run)
    persistence.search.index_pending()
    persistence.update_agent_run("run", run)
    [check] = persistence.search.check(deep=True)
    assert (check.level, check.message) == ("ok", "1 records wait to be indexed")


def test_a_stub_is_found_once_it_is_filled_in(persistence: Persistence) -> None:
    say(persistence, "early")
    assert found(persistence, "objective") == []
    persistence.create_agent_run(AgentRun("agent", "run", objective="the objective"))
    assert found(persistence, "objective") == ["the objective"]


def test_an_abandoned_run_is_found_by_its_reason(persistence: Persistence, clock: Hands) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", status="running"))
    assert found(persistence, "abandoned") == []
    clock.move(hours=3)
    persistence.runs.abandon(older_than=timedelta(hours=1))
    assert len(persistence.search_text("abandoned")) == 1


def test_deleted_records_are_not_found(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", objective="word objective"))
    say(persistence, "word event", "word event that is not indexed")
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", "p", "m", prompt="word prompt"))
    persistence.search.index_pending()
    say(persistence, "word late")
    assert persistence.delete_agent_run("run")
    assert found(persistence, "word") == []
    assert all(check.level == "ok" for check in persistence.search.check(deep=True))
    # A model call keeps its numbers, and stays stored without its text.
    assert [hit.kind for hit in persistence.search_text("-word")] == ["usage"]


def indexed(persistence: Persistence, word: str) -> int:
    """Count the candidates of the index for a word, before they are checked."""
    index = persistence._store.search_index
    return len(index.find([(Term(word),)], since=-(2**62), before=2**62, limit=9))


def test_a_call_that_loses_its_text_while_it_is_indexed_is_indexed_without_it(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", "p", "m", prompt="secret prompt"))
    read = indexing.document_of

    def read_and_delete(kind: int, record: Any) -> Any:
        document = read(kind, record)
        if isinstance(record, AgentLLMUsage) and record.run_id:
            persistence.delete_agent_run("run")
        return document

    monkeypatch.setattr(indexing, "document_of", read_and_delete)
    persistence.search.index_pending()
    assert [hit.kind for hit in persistence.search_text("-secret")] == ["usage"]
    assert indexed(persistence, "secret") == 0


def test_records_indexed_just_before_their_deletion_leave_no_text(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(persistence, "secret event")
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", "p", "m", prompt="secret prompt"))
    words = indexing.Indexing.words

    def read_and_index(self: Any, table: Any, columns: Any) -> Any:
        known = words(self, table, columns)
        persistence.search.index_pending()
        return known

    monkeypatch.setattr(deleting_runs, "_BATCH", 1)
    monkeypatch.setattr(indexing.Indexing, "words", read_and_index)
    persistence.delete_agent_run("run")
    assert indexed(persistence, "secret") == 0
    assert all(check.level == "ok" for check in persistence.search.check(deep=True))


def test_records_stored_after_a_deletion_are_found(persistence: Persistence) -> None:
    say(persistence, "word one", "word two")
    assert len(persistence.search_text("word")) == 2
    persistence.delete_agent_run("run")
    say(persistence, "word three")  # On SQLite, under an id that was used before.
    assert found(persistence, "word") == ["word three"]


def test_missing_ids_that_reappear_are_found_once(persistence: Persistence) -> None:
    for run_id in ("first", "first", "between", "between", "last", "last"):
        say(persistence, "word", run_id=run_id)
    persistence.delete_agent_run("between")
    assert len(persistence.search_text("word")) == 2 + 2
    persistence.delete_agent_run("last")
    say(persistence, *(f"word {number}" for number in range(7)))
    assert len(persistence.search_text("word")) == 2 + 7
    assert all(check.level == "ok" for check in persistence.search.check(deep=True))


def test_others_find_deleted_records_until_the_transaction_ends(
    persistence: Persistence,
) -> None:
    say(persistence, "word one", "word two")
    persistence.search.index_pending()
    with ThreadPoolExecutor(1) as pool:
        with suppress(ZeroDivisionError), persistence.transaction():
            persistence.delete_agent_run("run")
            other = pool.submit(found, persistence, "word")
            wait([other], timeout=0.2)  # In memory it must wait for this thread.
            raise ZeroDivisionError
        assert len(other.result()) == 2


def test_a_rolled_back_deletion_changes_nothing(persistence: Persistence) -> None:
    say(persistence, "word one", "word two")
    assert len(persistence.search_text("word")) == 2
    with suppress(ZeroDivisionError), persistence.transaction():
        persistence.delete_agent_run("run")
        assert found(persistence, "word") == []
        raise ZeroDivisionError
    assert len(persistence.search_text("word")) == 2


def test_a_transaction_finds_its_own_writes_and_leaves_none_behind(
    persistence: Persistence,
) -> None:
    with suppress(ZeroDivisionError), persistence.transaction():
        say(persistence, "word one")
        assert found(persistence, "word") == ["word one"]
        raise ZeroDivisionError
    assert found(persistence, "word") == []
    say(persistence, "word two")
    assert found(persistence, "word") == ["word two"]


def test_a_search_indexes_new_records(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    say(persistence, *(f"word {number}" for number in range(10)))
    persistence.log_llm_usage(AgentLLMUsage(None, None, "p", "m"))
    assert persistence.search.pending() == 12
    assert persistence.search.index_pending(limit=5) == 5
    assert persistence.search.pending() == 7
    told: list[tuple[int, int | None]] = []
    assert persistence.search.index_pending(progress=lambda *args: told.append(args)) == 7
    assert told[-1] == (7, 7)
    assert persistence.search.index_pending() == 0
    assert persistence.search.pending() == 0


def test_a_search_that_cannot_wait_reports_unsearched_records(persistence: Persistence) -> None:
    say(persistence, "word one", "word two")
    page = persistence.search_text("word", max_wait=0)
    assert (len(page), page.pending) == (0, 3)
    assert "3 records not searched yet" in repr(page)
    page = persistence.search_text("word", max_wait=None)
    assert (len(page), page.pending) == (2, 0)


@pytest.mark.slow
def test_indexing_checks_the_clock_between_two_long_records(persistence: Persistence) -> None:
    text = "x" * 1_000_000  # That takes about a hundredth of a second.
    for number in range(10):
        persistence.append_event("run", "agent", "t", payload={"text": f"word {number} {text}"})
    persistence.search.index_pending(limit=1)  # The run.
    indexed = []
    while persistence.search.pending():
        indexed.append(persistence.search.index_pending(max_wait=0.02))
    assert sum(indexed) == 10
    assert max(indexed) < 10
    assert len(persistence.search_text("word")) == 10


def test_a_rebuilt_index_finds_the_same(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", objective="word"))
    say(persistence, "word one", "word two")
    before = found(persistence, "word")
    assert persistence.search.rebuild() == 3
    assert found(persistence, "word") == before
    assert persistence.search.pending() == 0


def test_an_index_of_another_tokenizer_version_needs_a_rebuild(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(persistence, "word")
    assert found(persistence, "word") == ["word"]
    with monkeypatch.context() as patch:
        patch.setattr("curio_persistence.capabilities.search.VERSION", "later")
        [check] = persistence.search.check()
        assert check.level == "warning"
        assert "index --rebuild" in check.advice
    persistence.search.rebuild()
    assert persistence.search.check()[0].level == "ok"


def test_search_can_be_switched_off_and_on(persistence: Persistence) -> None:
    say(persistence, "word")
    assert persistence.search.enabled
    assert len(persistence.search_text("word")) == 1
    persistence.search.disable()
    assert not persistence.search.enabled
    assert persistence.search.pending() == 0
    assert persistence.search.index_pending() == 0
    for ask in (lambda: persistence.search_text("word"), persistence.search.rebuild):
        with pytest.raises(UnsupportedError, match="index --enable"):
            ask()
    say(persistence, "word again")
    persistence.delete_agent_run("nobody")
    persistence.search.enable()
    assert persistence.search.pending() == 3
    assert found(persistence, "word") == ["word again", "word"]


@pytest.mark.usefixtures("lasting")
def test_the_database_remembers_that_it_has_no_search(open_again: Open) -> None:
    open_again().search.disable()
    assert not open_again().search.enabled
    assert not open_again(read_only=True).search.enabled
    assert open_again(search=True).search.enabled
    assert open_again().search.enabled


@pytest.mark.usefixtures("lasting")
def test_a_persistence_without_search_leaves_the_index_to_others(open_again: Open) -> None:
    persistence = open_again()
    say(persistence, "word one")
    assert found(persistence, "word") == ["word one"]
    without = open_again(search=False)
    assert not without.search.enabled
    say(without, "word two")
    assert (without.search.pending(), without.search.index_pending()) == (0, 0)
    for ask in (lambda: without.search_text("word"), without.search.rebuild):
        with pytest.raises(UnsupportedError, match="search=False"):
            ask()
    assert persistence.search.pending() == 1
    assert found(persistence, "word") == ["word two", "word one"]
    assert without.delete_agent_run("run")
    assert found(persistence, "word") == []
    assert all(check.level == "ok" for check in persistence.search.check(deep=True))
    without.search.enable()
    assert without.search.enabled


def test_a_search_during_rebuilds_is_complete_or_reports_pending_records(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(persistence, *(f"word {number}" for number in range(20)))
    persistence.search.index_pending()
    index = type(persistence._store.search_index)
    find, rebuilds = index.find, iter(range(3))

    def find_cleared(*args: Any, **kwargs: Any) -> Any:
        """Search while another process rebuilds the index."""
        if next(rebuilds, None) is not None:
            persistence.search._indexing.clear()
            answer = find(*args, **kwargs)
            persistence.search._indexing.index_pending()
            return answer
        return find(*args, **kwargs)

    monkeypatch.setattr(index, "find", find_cleared)
    page = persistence.search_text("word", limit=None)
    assert (len(page), page.pending) == (20, 0)
    rebuilds = iter(range(100))
    page = persistence.search_text("word", limit=None)
    assert page.pending


@pytest.mark.slow
def test_indexing_checks_the_clock_and_the_size_of_texts(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts: list[int] = []
    index = type(persistence._store.search_index)
    put = index.put
    monkeypatch.setattr(
        index, "put", lambda self, documents: (puts.append(len(documents)), put(self, documents))
    )
    text = "word " * 300_000
    for number in range(25):
        usage = AgentLLMUsage("agent", "run", "p", "m", prompt=f"{number} {text}")
        persistence.log_llm_usage(usage)
    page = persistence.search_text("word", limit=3, max_wait=0.001)
    assert page.pending
    assert persistence.search.index_pending() == page.pending
    assert max(puts) <= 10


@pytest.mark.usefixtures("lasting")
def test_a_read_only_persistence_searches_what_is_indexed(open_again: Open) -> None:
    persistence = open_again()
    say(persistence, "word one")
    persistence.search.index_pending()
    say(persistence, "word two")
    reader = open_again(read_only=True)
    page = reader.search_text("word")
    assert [named(hit.record) for hit in page] == ["word one"]
    assert page.pending == 1
    assert all(check.level == "ok" for check in reader.search.check(deep=True))


def test_queued_records_are_found(persistence: Persistence) -> None:
    with persistence.buffered(max_seconds=60) as buffered:
        say(buffered, "word one")
        assert found(buffered, "word") == ["word one"]
        assert buffered.delete_agent_run("run")
        assert found(buffered, "word") == []
        buffered.compact()


@pytest.mark.slow
def test_queued_records_are_indexed_in_a_quiet_moment(persistence: Persistence) -> None:
    with persistence.buffered(max_seconds=0) as buffered:
        say(buffered, *(f"word {number}" for number in range(1_200)))
        buffered.flush()
        until = time.monotonic() + 60
        while buffered.search.pending():
            assert time.monotonic() < until
            time.sleep(0.05)
        page = buffered.search_text("word", max_wait=0)
    assert (len(page), page.pending) == (50, 0)


def test_redacted_words_are_not_found(open_again: Open) -> None:
    persistence = open_again(redactor="emails")
    say(persistence, "write to somebody@example.com")
    assert found(persistence, "somebody") == []
    assert len(persistence.search_text("write")) == 1


def test_compacting_loses_nothing(persistence: Persistence) -> None:
    say(persistence, "word one")
    persistence.search.index_pending()
    say(persistence, "word two", run_id="other")
    persistence.delete_agent_run("run")
    persistence.compact()
    assert found(persistence, "word") == ["word two"]
    assert all(check.level == "ok" for check in persistence.search.check(deep=True))


def test_compacting_is_refused_inside_a_transaction(persistence: Persistence) -> None:
    with persistence.transaction(), pytest.raises(UnsupportedError, match="transaction is open"):
        persistence.compact()


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"query": 5}, "query"),
        ({"query": None}, "query"),
        ({"order": "oldest"}, "order"),
        ({"limit": -1}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"max_wait": -1}, "max_wait"),
        ({"max_wait": "soon"}, "max_wait"),
        ({"since": "yesterday"}, "since"),
        ({"until": 5}, "until"),
        ({"agent_id": 5}, "AgentRunEvent.agent_id"),
        ({"level": [5.5]}, "AgentRunEvent.level"),
    ],
    ids=str,
)
def test_an_invalid_argument_is_refused_by_name(
    persistence: Persistence, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        persistence.search_text(**{"query": "word", **options})
    assert refused.value.field == field


def test_a_cursor_works_only_for_its_own_search(persistence: Persistence) -> None:
    say(persistence, *(f"word {number}" for number in range(5)))
    cursor = persistence.search_text("word", limit=2).next_cursor
    for other in ({"query": "words"}, {"agent_id": "agent"}, {"order": "rank"}):
        with pytest.raises(InvalidValueError, match="another query"):
            persistence.search_text(**{"query": "word", "cursor": cursor, **other})  # type: ignore[arg-type]


def test_hits_convert_to_dicts_and_frames(persistence: Persistence) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    persistence.create_agent_run(AgentRun("agent", "run", objective="a word"))
    page = persistence.search_text("word")
    [plain] = page.to_dicts()
    assert plain["record"] == persistence.get_agent_run("run").to_dict()  # type: ignore[union-attr]
    assert json.loads(json.dumps(plain))["highlights"] == [[2, 6]]
    frame = page.to_pandas()
    assert list(frame["snippet"]) == ["a word"]
    assert "a word" in page._repr_html_()
    assert list(persistence.search_text("nothing").to_pandas()) == list(frame)
    assert page[0] == next(iter(page)) == page[:1][0]


def test_words_that_only_begin_other_words_are_named(persistence: Persistence) -> None:
    say(persistence, "an overflow of the heap")
    assert persistence.search_text("an overflow")
    assert persistence.search.beginnings("overfl an heap unknown over-fl overfl") == ["overfl"]
    assert persistence.search.beginnings("") == []
