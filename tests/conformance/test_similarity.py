"""What is similar is found by its meaning, the same on every backend."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    ConfigurationError,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    RetentionPolicy,
    UnavailableError,
    UnsupportedError,
    copy_records,
)
from curio_persistence.capabilities import similarity
from curio_persistence.capabilities.similarity import finding, indexing, matrix
from curio_persistence.tables import CHANGES, EMBEDDINGS, EVENTS
from tests.support.hands import Hands
from tests.support.meanings import WORDS, Meanings

Open = Callable[..., Persistence]


@pytest.fixture
def model() -> Meanings:
    return Meanings()


@pytest.fixture
def persistence(open_again: Open, model: Meanings) -> Persistence:
    return open_again(embed=model)


def record(persistence: Persistence, run_id: str, objective: str = "", **fields: Any) -> AgentRun:
    run = AgentRun(fields.pop("agent_id", "agent"), run_id, objective=objective, **fields)
    persistence.create_agent_run(run)
    return run


def call(persistence: Persistence, run_id: str | None = None, **fields: Any) -> AgentLLMUsage:
    usage = AgentLLMUsage("agent", run_id=run_id, model="acme", **fields)
    persistence.log_llm_usage(usage)
    return usage


def found(persistence: Persistence, to: Any, **options: Any) -> list[tuple[str | None, str, str]]:
    hits = persistence.similar(to, **options)
    return [(hit.run_id, hit.kind, hit.snippet) for hit in hits if hit.score > 0.01]


# --- what is found --------------------------------------------------------------------------------


def test_texts_are_found_by_meaning_and_the_best_come_first(persistence: Persistence) -> None:
    record(persistence, "r1", "a flight and a hotel")
    record(persistence, "r2", "a plane")
    record(persistence, "r3", "a poem")
    assert found(persistence, "flight") == [
        ("r2", "prompt", "a plane"),
        ("r1", "prompt", "a flight and a hotel"),
    ]


def test_a_hit_tells_its_record_and_where_the_text_is(persistence: Persistence) -> None:
    call(persistence, "r1", status="error", error_message="rate limit", prompt="a poem")
    [hit] = persistence.similar("throttled quota", kind="error", top=1)
    assert (hit.kind, hit.field, hit.snippet) == ("error", "error_message", "rate limit")
    assert (hit.run_id, hit.agent_id, hit.score) == ("r1", "agent", 1.0)
    [stored] = persistence.get_llm_usage()
    assert hit.record == stored
    assert hit.timestamp == stored.created_at
    assert hit.to_dict()["record"] == stored.to_dict()


def test_texts_of_all_kinds_are_compared(persistence: Persistence) -> None:
    record(persistence, "r1", "poem 1", final_synthesis_output="poem 2", error_message="poem 3")
    call(persistence, "r1", prompt="poem 4", response_content="poem 5", error_message="poem 6")
    persistence.append_event("r1", "agent", "log", message="poem 7", payload={"x": "poem"})
    persistence.append_event(
        "r1", "agent", "tool_call", payload={"tool_name": "t", "error": "poem 8"}
    )
    expected = ["prompt", "output", "error", "prompt", "output", "error", "message", "error"]
    hits = sorted((snippet, kind) for _, kind, snippet in found(persistence, "verse"))
    assert hits == [(f"poem {n}", kind) for n, kind in enumerate(expected, 1)]
    for kind in ("prompt", "output", "error", "message"):
        some = found(persistence, "verse", kind=kind)
        assert sorted(some) == [("r1", kind, s) for s, k in hits if k == kind]


def test_of_equally_similar_texts_the_last_stored_comes_first(persistence: Persistence) -> None:
    for number in range(120):
        persistence.append_event(f"r{number}", "agent", "log", message="timeout")
    hits = persistence.similar("timeout", top=100)
    assert [hit.run_id for hit in hits] == [f"r{number}" for number in range(119, 19, -1)]
    assert len(persistence.similar("timeout", top=0)) == 0


def test_a_run_is_compared_by_its_error_with_the_texts_of_others(persistence: Persistence) -> None:
    record(persistence, "r1", "a poem", status="error", error_message="timeout")
    record(persistence, "r2", "a timeout", status="error", error_message="a slow timeout")
    call(persistence, "r1", error_message="timeout")
    call(persistence, None, error_message="timeout network")
    assert found(persistence, "r1", kind="error") == [
        (None, "error", "timeout network"),
        ("r2", "error", "a slow timeout"),
    ]
    assert found(persistence, "r2", kind="prompt") == []
    assert found(persistence, "r1") == [
        ("r2", "prompt", "a timeout"),
        (None, "error", "timeout network"),
        ("r2", "error", "a slow timeout"),
    ]


def test_a_run_without_an_error_is_compared_by_its_objective(persistence: Persistence) -> None:
    record(persistence, "r1", "a poem")
    record(persistence, "r2", "some verse")
    assert found(persistence, "r1") == [("r2", "prompt", "some verse")]


def test_a_vector_is_compared_as_it_is(persistence: Persistence, model: Meanings) -> None:
    record(persistence, "r1", "a hotel")
    record(persistence, "r2", "a poem")
    for vector in (model.vector("hotel"), tuple(model.vector("hotel hotel"))):
        assert found(persistence, vector) == [("r1", "prompt", "a hotel")]
    huge = np.array(model.vector("hotel")) * 1e300
    assert found(persistence, huge) == [("r1", "prompt", "a hotel")]


def test_of_a_list_of_messages_the_last_of_the_user_is_the_prompt(persistence: Persistence) -> None:
    messages = [
        {"role": "system", "content": "rate limit"},
        {"role": "user", "content": "hotel"},
        {"role": "user", "content": [{"type": "text", "text": "a poem"}, {"type": "image"}]},
        {"role": "assistant", "content": "timeout"},
    ]
    call(persistence, "r1", prompt=json.dumps(messages))
    call(persistence, "r2", prompt=json.dumps({"messages": messages[:2]}))
    assert found(persistence, "poem") == [("r1", "prompt", "a poem")]
    assert found(persistence, "hotel") == [("r2", "prompt", "hotel")]
    assert found(persistence, "timeout") == []


def test_of_a_traceback_the_exception_is_the_error(persistence: Persistence) -> None:
    traceback = "Traceback (most recent call last):\n  File poem\nTimeoutError: network timeout\n"
    record(persistence, "r1", error_message=traceback)
    assert found(persistence, "network") == [("r1", "error", "TimeoutError: network timeout")]
    assert found(persistence, "poem") == []


def test_a_result_is_a_table(persistence: Persistence) -> None:
    run = record(persistence, "r1", "a poem")
    hits = persistence.similar("poem")
    assert hits.to_pandas()[["kind", "run_id", "snippet", "record_id"]].values.tolist() == [
        ["prompt", "r1", "a poem", run.id]
    ]
    assert "a poem" in hits._repr_html_()
    assert hits[:1].to_dicts() == [hits[0].to_dict()]
    assert repr(hits) == "<SimilarHits: 1 similar texts>"
    assert len(persistence.similar("poem", agent_id="nobody").to_arrow()) == 0


# --- filters --------------------------------------------------------------------------------------


def some_of_two_runs(persistence: Persistence, clock: Hands) -> None:
    for number, status in ((1, "completed"), (2, "error")):
        metadata = {"release": number, "source": f"tool{number}", "project": f"/home/{number}"}
        record(
            persistence,
            f"r{number}",
            "a poem",
            agent_id=f"agent{number}",
            session_id=f"s{number}",
            user_id=f"u{number}",
            parent_run_id=f"p{number}",
            status=status,
            tags=["all", f"t{number}"],
            metadata=metadata,
        )
        usage = AgentLLMUsage("agent", f"r{number}", f"acme{number}", f"m{number}", prompt="poem")
        persistence.log_llm_usage(usage)
        persistence.append_event(
            f"r{number}",
            f"agent{number}",
            f"type{number}",
            level="info" if number == 1 else "error",
            message="verse",
            payload={"number": number},
        )
        clock.move(hours=1)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"agent_id": "agent2"}, 2),  # The calls are of another agent.
        ({"run_id": "r2"}, 3),
        ({"run_id": ["r1", "r2"]}, 6),
        ({"session_id": "s2"}, 3),
        ({"user_id": "u2"}, 3),
        ({"parent_run_id": "p2"}, 3),
        ({"status": "error"}, 3),
        ({"status": ["error", "completed"]}, 6),
        ({"tags": ["all", "t2"]}, 3),
        ({"any_tags": ["t1", "t2"]}, 6),
        ({"source": "tool2"}, 3),
        ({"source": ["tool1", "tool2"], "project": "/home/2"}, 3),
        ({"metadata": {"release": 2}}, 3),
        ({"metadata": {"release": 3}}, 0),
        ({"event_type": "type2"}, 1),
        ({"event_type": ["type1", "type2"], "session_id": "s2"}, 1),
        ({"level": "error"}, 1),
        ({"level": "error", "kind": "message", "status": "error", "metadata": {"release": 2}}, 1),
        ({"level": "error", "status": "completed"}, 0),
        ({"min_level": "info"}, 2),
        ({"payload": {"number": 2}}, 1),
        ({"model": "m2"}, 1),
        ({"model": ["m1", "m2"], "provider": "acme2", "kind": "prompt", "user_id": "u2"}, 1),
        ({"provider": "acme2", "status": "completed"}, 0),
        ({"since": "90m"}, 3),
        ({"until": "90m"}, 3),
        ({"agent_id": "nobody"}, 0),
        ({"run_id": "r2", "kind": "prompt"}, 2),
        ({"since": "90m", "status": "completed"}, 0),
    ],
    ids=str,
)
def test_filters_choose_among_all_records_or_among_the_most_similar(
    persistence: Persistence,
    clock: Hands,
    filters: dict[str, Any],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finding, "_AT_LEAST", 1)
    some_of_two_runs(persistence, clock)
    for few, very_few in ((finding._FEW, finding._VERY_FEW), (finding._FEW, 0), (1, 0)):
        monkeypatch.setattr(finding, "_FEW", few)
        monkeypatch.setattr(finding, "_VERY_FEW", very_few)
        hits = persistence.similar("verse", **filters)
        assert len(hits) == count
        if count < 4 and not {"until", "min_level"} & filters.keys():
            assert {hit.run_id for hit in hits} <= {"r2"}
        assert len(persistence.similar("verse", top=1, **filters)) == min(count, 1)


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"kind": "prompt", "level": "error"}, "level", "'message' or 'error' there, not 'prompt'"),
        (
            {"kind": "message", "model": "m"},
            "model",
            "a filter of model calls: kind is 'prompt' or",
        ),
        ({"model": "m", "payload": {"a": 1}}, "payload", "and model one of model calls: no record"),
        ({"kind": "error", "min_level": "loud"}, "min_level", "is one of"),
    ],
    ids=str,
)
@pytest.mark.before_io
def test_filters_that_no_such_record_has_are_refused(
    persistence: Persistence, options: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message) as refused:
        persistence.similar("poem", **options)
    assert refused.value.field == field


@pytest.mark.before_io
def test_an_unknown_filter_is_refused(persistence: Persistence) -> None:
    with pytest.raises(TypeError, match="seq"):
        persistence.similar("poem", seq=1)  # type: ignore[call-arg]


# --- many texts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        {"_ROWS": 7},
        {"_ROWS": 7, "_LARGEST": 20},
        {"_ROWS": 7, "_FULL_PRECISION": 300},
        {"_ROWS": 7, "_FULL_PRECISION": 300, "_MOST": 700},
        {"_MOST": 0},
    ],
    ids=str,
)
def test_of_many_texts_some_are_kept_with_less_precision_or_not_at_all(
    persistence: Persistence, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(matrix, name, limit)
    for number in range(60):
        words = " ".join(WORDS[number % 5 : number % 7 + 1]) or "poem"
        persistence.append_event(f"r{number % 9}", "agent", "log", message=words)
        if number % 20 == 10:  # Blocks of different sizes are merged.
            persistence.similar("poem")
    question = "rate limit timeout"
    asked = Meanings()
    vectors = {e.id: asked.vector(e.message or "") for e in persistence.iter_agent_run_events()}
    wanted = np.array(asked.vector(question))
    expected = sorted(
        (wanted @ v / np.linalg.norm(wanted) / np.linalg.norm(v) for v in vectors.values()),
        reverse=True,
    )
    for _ in range(2):
        hits = persistence.similar(question, top=60)
        assert [hit.score for hit in hits] == pytest.approx(expected, abs=0.002)
        for hit in hits:
            v = np.array(vectors[hit.record.id])
            cosine = wanted @ v / np.linalg.norm(wanted) / np.linalg.norm(v)
            assert hit.score == pytest.approx(cosine, abs=0.002)
    persistence.delete_agent_run("r8")
    assert len(persistence.similar(question, top=60)) == 54


# --- embedding ------------------------------------------------------------------------------------


def test_what_is_stored_later_is_embedded_by_the_next_question(
    persistence: Persistence, model: Meanings
) -> None:
    record(persistence, "r1", "a poem")
    assert len(persistence.similar("poem")) == 1
    record(persistence, "r2", "poem 2")
    call(persistence, "r2", response_content="poem 3")
    assert model.seen == ["poem", "a poem"]
    assert len(persistence.similar("poem")) == 3
    assert sorted(model.seen[2:]) == ["poem", "poem 2", "poem 3"]


def test_the_same_text_is_embedded_once(
    open_again: Open, persistence: Persistence, model: Meanings
) -> None:
    for number in range(3):
        record(persistence, f"r{number}", "a poem", error_message="a poem")
    assert persistence.similarity.index_pending() == 3
    call(persistence, prompt="a poem")
    assert persistence.similarity.index_pending() == 1
    assert model.seen == ["a poem"]
    assert persistence.similarity.models() == {"meanings": 7}


def test_another_program_knows_what_was_embedded(
    lasting: None, open_again: Open, persistence: Persistence, model: Meanings
) -> None:
    record(persistence, "r1", "a poem")
    persistence.similarity.index_pending()
    other = open_again(embed=Meanings())
    call(other, prompt="a poem")
    assert len(other.similar("verse")) == 2
    assert len(persistence.similar("verse")) == 2


def test_a_run_that_changes_is_embedded_again(persistence: Persistence, model: Meanings) -> None:
    run = record(persistence, "r1", "a poem", status="running")
    record(persistence, "r2", "a poem")
    assert len(persistence.similar("timeout")) == 2
    run.error_message, run.objective = "network timeout", "a hotel"
    persistence.update_agent_run("r1", run)
    assert found(persistence, "timeout") == [("r1", "error", "network timeout")]
    assert found(persistence, "poem") == [("r2", "prompt", "a poem")]
    assert found(persistence, "hotel") == [("r1", "prompt", "a hotel")]
    run.error_message = ""
    persistence.update_agent_run("r1", run)
    assert found(persistence, "timeout") == []


def test_a_run_that_an_event_came_before_is_embedded(persistence: Persistence) -> None:
    persistence.append_event("r1", "agent", "log", message="timeout")
    assert len(persistence.similar("poem")) == 1
    record(persistence, "r1", "a poem")
    assert found(persistence, "poem") == [("r1", "prompt", "a poem")]


def test_changes_that_are_forgotten_are_found_by_reading_all_runs(
    persistence: Persistence,
) -> None:
    runs = [record(persistence, f"r{number}", "a hotel") for number in range(3)]
    persistence.similarity.index_pending()
    for run in runs:
        run.objective = "a poem"
        persistence.update_agent_run(run.run_id, run)
    persistence._store.delete(CHANGES, ())  # Only the newest are kept.
    runs[0].error_message = "a timeout"
    persistence.update_agent_run("r0", runs[0])
    assert len(found(persistence, "poem")) == 3
    assert found(persistence, "hotel") == []
    assert persistence.similarity.pending() == 0


def test_indexing_goes_on_where_it_was_stopped(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        record(persistence, f"r{number}", f"poem {number}")
        call(persistence, f"r{number}", prompt=f"verse {number}")
    monkeypatch.setattr(indexing, "_BATCH", 2)
    similarity, steps = persistence.similarity, list[tuple[int, int | None]]()
    assert similarity.pending() == 10
    assert similarity.index_pending(limit=3) == 3
    assert similarity.pending() == 7
    assert similarity.index_pending(progress=lambda done, total: steps.append((done, total))) == 7
    assert steps[-1] == (7, 7)
    assert similarity.index_pending() == 0
    assert len(found(persistence, "poem")) == 10


def test_a_question_that_may_not_wait_tells_how_much_was_not_compared(
    persistence: Persistence,
) -> None:
    record(persistence, "r1", "a poem")
    hits = persistence.similar("poem", max_wait=0)
    assert (len(hits), hits.pending) == (0, 1)
    assert "1 records not compared yet" in repr(hits)
    assert persistence.similar("poem").pending == 0


def test_a_reader_finds_what_others_have_embedded(
    lasting: None, open_again: Open, persistence: Persistence, model: Meanings
) -> None:
    record(persistence, "r1", "a poem")
    persistence.similarity.index_pending()
    record(persistence, "r2", "a poem")
    hits = open_again(embed=model, read_only=True).similar("verse")
    assert ([hit.run_id for hit in hits], hits.pending) == (["r1"], 1)


def test_a_buffered_persistence_finds_what_it_has_stored(persistence: Persistence) -> None:
    with persistence.buffered() as buffered:
        buffered.append_event("r1", "agent", "log", message="a poem")
        buffered.flush()
        assert found(buffered, "verse") == [("r1", "message", "a poem")]


def test_a_check_up_tells_of_models_and_of_what_waits(
    open_again: Open, persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> tuple[str, str, str]:
        [check] = [each for each in persistence.diagnose() if each.name == "similar"]
        return check[1:]

    record(persistence, "r1", "a poem", error_message="timeout")
    assert told() == ("ok", "no text has a vector yet: the first question makes them", "")
    persistence.similar("poem")
    assert told() == ("ok", "2 vectors by meanings; 0 records wait", "")
    record(persistence, "r2", "another poem")
    level, message, advice = told()
    assert (level, message[-14:]) == ("ok", "1 records wait")
    assert advice.endswith("curio-persistence index --similar")
    persistence.similarity.index_pending()
    monkeypatch.setattr(similarity, "_MANY", 3)
    assert told()[2].endswith("curio-persistence index --similar --hnsw")


def test_a_check_up_tells_of_other_models_and_of_one_that_is_not_there(
    lasting: None, open_again: Open, persistence: Persistence
) -> None:
    record(persistence, "r1", "a poem")
    persistence.similarity.index_pending()
    check = open_again(embed=Meanings("others")).similarity.check()
    said = "0 vectors by others; 1 records wait; 1 by meanings are not used here"
    assert check.message == said
    check = open_again(embed="nothing:here").similarity.check()
    assert check.level == "warning"
    assert check.message.startswith("There is no nothing:here for embeddings: ")


# --- models ---------------------------------------------------------------------------------------


def test_vectors_of_two_models_are_never_compared(
    lasting: None, open_again: Open, persistence: Persistence
) -> None:
    other = open_again(embed=Meanings("others", extra=3))
    record(persistence, "r1", "a poem")
    assert len(persistence.similar("poem")) == 1
    assert other.similarity.pending() == 1
    [hit] = other.similar("poem")
    assert hit.score == 1
    assert persistence.similarity.models() == {"meanings": 1, "others": 1}
    with pytest.raises(
        InvalidValueError, match="have 11 numbers in this database, and this one has 8"
    ):
        other.similar(Meanings().vector("poem"))


def test_a_model_that_changes_its_dimension_is_refused(
    lasting: None, open_again: Open, persistence: Persistence
) -> None:
    record(persistence, "r1", "a poem")
    persistence.similarity.index_pending()
    changed = open_again(embed=Meanings(extra=1))
    with pytest.raises(InvalidValueError, match="give another model another name"):
        changed.similar("poem")
    record(persistence, "r2", "another poem")
    with pytest.raises(InvalidValueError, match="give another model another name"):
        changed.similarity.index_pending()
    assert len(persistence.similar("poem")) == 2


def test_the_vectors_of_a_model_can_be_deleted(persistence: Persistence, model: Meanings) -> None:
    record(persistence, "r1", "a poem")
    call(persistence, prompt="a verse")
    assert len(persistence.similar("poem")) == 2
    assert persistence.similarity.delete("another") == 0
    assert persistence.similarity.delete() == 2
    assert persistence.similarity.models() == {}
    assert persistence.similar("poem", max_wait=0).pending == 2
    assert len(persistence.similar("poem")) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: [[1.0, 0.0]] * (len(texts) + 1), "returned 2 × 2 for 1 texts"),
        (lambda texts: [], "returned 0 for 1 texts"),
        (lambda texts: [1.0], "returned 1 for 1 texts"),
        (lambda texts: None, "returned"),
        (lambda texts: [["a"]], "is no array of numbers"),
        (lambda texts: [[1.0], [1.0, 2.0]], "is no array of numbers"),
        (lambda texts: [[math.nan, 1.0]], "not finite"),
        (lambda texts: [[math.inf, 1.0]], "not finite"),
        (lambda texts: [[]], "has 0 numbers"),
        (lambda texts: [[0.0] * 20_000], "has 20000 numbers"),
    ],
)
def test_a_wrong_answer_of_a_model_is_refused_and_nothing_is_stored(
    open_again: Open, answer: Callable[[list[str]], Any], message: str
) -> None:
    def embed(texts: list[str]) -> Any:
        return answer(texts)

    embed.name = "wrong"  # type: ignore[attr-defined]
    persistence = open_again(embed=embed)
    record(persistence, "r1", "a poem")
    with pytest.raises(InvalidValueError, match=message) as refused:
        persistence.similar("poem")
    assert refused.value.field == "embed"
    with pytest.raises(InvalidValueError, match=message):
        persistence.similarity.index_pending()
    assert persistence.similarity.models() == {}
    assert persistence.similarity.pending() == 1


def test_a_model_that_fails_is_asked_again_by_the_next_question(open_again: Open) -> None:
    model, fails = Meanings(), [True]

    def embed(texts: list[str]) -> Any:
        if fails[0] and texts != ["poem"]:
            raise ConnectionError("no route to host")
        return model(texts)

    embed.name = "remote"  # type: ignore[attr-defined]
    persistence = open_again(embed=embed)
    record(persistence, "r1", "a poem")
    with pytest.raises(UnavailableError, match="remote has failed: ConnectionError: no route"):
        persistence.similar("poem")
    fails[0] = False
    assert len(persistence.similar("poem")) == 1


# --- failures -------------------------------------------------------------------------------------


def test_failures_that_mean_the_same_are_one_group(persistence: Persistence, clock: Hands) -> None:
    messages = ["rate limit 1", "throttled quota", "rate limit 2", "timeout", "unknown", "words"]
    for number, message in enumerate(messages):
        record(persistence, f"r{number}", status="error", error_message=message)
        clock.move(minutes=1)
    record(persistence, "other", status="error", error_message="429 limit", agent_id="other")
    groups = persistence.similarity.failures()
    assert [(g.name, g.message, g.count, g.messages, g.run_id) for g in groups] == [
        ("other", "429 limit", 1, 1, "other"),
        ("agent", "words", 1, 1, "r5"),
        ("agent", "unknown", 1, 1, "r4"),
        ("agent", "timeout", 1, 1, "r3"),
        ("agent", "rate limit #", 3, 2, "r2"),
    ]
    assert groups[4].first == persistence.runs.list(limit=None)[-1].created_at
    assert len(persistence.similarity.failures(agent_id="other")) == 1
    assert len(persistence.similarity.failures(min_score=-1)) == 2
    with pytest.raises(InvalidValueError, match="min_score"):
        persistence.similarity.failures(min_score="high")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="min_score"):
        persistence.similarity.failures(min_score=float("nan"))


# --- deletion -------------------------------------------------------------------------------------


def vectors(persistence: Persistence) -> int:
    return persistence._store.count(EMBEDDINGS)


def a_whole_run(persistence: Persistence, run_id: str, **fields: Any) -> None:
    record(persistence, run_id, "a poem", error_message="a verse", **fields)
    call(persistence, run_id, prompt="poem", response_content="verse")
    persistence.append_event(run_id, "agent", "log", message="poem poem")


def test_deleting_a_run_deletes_the_vectors_of_all_its_texts(persistence: Persistence) -> None:
    a_whole_run(persistence, "r1")
    a_whole_run(persistence, "r2")
    assert len(persistence.similar("verse")) == 10
    persistence.delete_agent_run("r1")
    assert vectors(persistence) == 5
    assert {hit.run_id for hit in persistence.similar("verse")} == {"r2"}
    persistence.similarity.index_pending()
    assert vectors(persistence) == 5


def test_expiring_a_run_deletes_the_vectors(persistence: Persistence, clock: Hands) -> None:
    a_whole_run(persistence, "r1", status="completed", finished_at=clock())
    persistence.similarity.index_pending()
    clock.move(days=100)
    a_whole_run(persistence, "r2")
    assert persistence.lifecycle.expire("90d", pace=1).runs == 1
    assert vectors(persistence) == 0
    assert {hit.run_id for hit in persistence.similar("verse")} == {"r2"}


def test_removing_the_texts_of_a_run_deletes_the_vectors(
    persistence: Persistence, clock: Hands
) -> None:
    a_whole_run(persistence, "r1", status="completed", finished_at=clock())
    persistence.similarity.index_pending()
    clock.move(days=100)
    policy = RetentionPolicy(keep_content="90d")
    persistence.lifecycle.expire(policies=[policy], pace=1)
    assert vectors(persistence) == 0
    persistence.similarity.index_pending()
    assert found(persistence, "verse") == []


def test_what_is_deleted_while_it_is_embedded_is_not_stored(open_again: Open) -> None:
    model = Meanings("slow")
    deleted: list[str] = []

    def embed(texts: list[str]) -> Any:
        if texts != ["verse"] and not deleted:
            deleted.append("r1")
            persistence.delete_agent_run("r1")
        return model(texts)

    embed.name = "slow"  # type: ignore[attr-defined]
    persistence = open_again(embed=embed)
    a_whole_run(persistence, "r1")
    a_whole_run(persistence, "r2")
    hits = persistence.similar("verse")
    assert {hit.run_id for hit in hits} == {"r2"}
    assert vectors(persistence) == 5


def test_compacting_deletes_the_vectors_of_what_other_programs_deleted(
    persistence: Persistence,
) -> None:
    persistence.append_event("r1", "agent", "log", message="a poem")
    persistence.append_event("r1", "agent", "log", message="a hotel")
    persistence.similarity.index_pending()
    persistence._store.delete(EVENTS, EVENTS.where(message="a poem"))
    assert found(persistence, "poem") == []
    persistence.compact()
    assert vectors(persistence) == 1


def test_what_was_deleted_does_not_stay_in_memory(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "_ROWS", 4)
    for number in range(10):
        words = "a poem" if number % 2 else f"a poem {number}"
        persistence.append_event(f"r{number}", "agent", "log", message=words)
    expected = [hit.run_id for hit in persistence.similar("verse")]
    kept = persistence.similarity._matrix
    for gone in ("r0", "r4", "r5"):
        persistence.delete_agent_run(gone)
        expected.remove(gone)
    assert [hit.run_id for hit in persistence.similar("verse")] == expected
    assert sum(len(block.ids) for block in kept._blocks) == 10
    monkeypatch.setattr(matrix, "_LOOK_EVERY", 0)
    assert [hit.run_id for hit in persistence.similar("verse")] == expected
    assert sum(len(block.ids) for block in kept._blocks) == 7
    assert sum(len(block.vectors) for block in kept._blocks) <= 6


def test_vectors_are_not_copied(persistence: Persistence) -> None:
    a_whole_run(persistence, "r1")
    persistence.similarity.index_pending()
    with InMemoryPersistence(embed=Meanings()) as copy:
        copy_records(persistence, copy)
        assert vectors(copy) == 0
        assert len(copy.similar("verse")) == 5


def test_memory_that_was_cleared_is_compared_anew(model: Meanings) -> None:
    with InMemoryPersistence(embed=model) as persistence:
        record(persistence, "r1", "a poem")
        assert len(persistence.similar("poem")) == 1
        persistence.clear_all()
        record(persistence, "r2", "a hotel")
        assert found(persistence, "poem") == []
        assert found(persistence, "hotel") == [("r2", "prompt", "a hotel")]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("", "empty text"),
        (" \n\t", "empty text"),
        ("unknown words", "knows no word"),
        (None, "list or an array of numbers, not NoneType"),
        (7, "list or an array"),
        ([], "has 0 numbers"),
        ([math.nan] * 8, "not finite"),
        ([1.0, math.inf], "not finite"),
        ([0.0] * 8, "only zeros"),
        ([[1.0, 2.0]], "list or an array"),
        (["a", "b"], "list or an array"),
        ([1.0, 2.0], "have 8 numbers in this database, and this one has 2"),
    ],
)
def test_what_has_no_meaning_is_refused(persistence: Persistence, to: Any, message: str) -> None:
    record(persistence, "r1", "a poem")
    persistence.similarity.index_pending()
    with pytest.raises(InvalidValueError, match=message) as refused:
        persistence.similar(to)
    assert refused.value.field == "to"


@pytest.mark.parametrize(
    ("run_id", "kind", "message"),
    [
        ("empty", None, "empty has no text"),
        ("empty", "error", "empty has no error"),
        ("full", "message", "full has no message"),
    ],
)
def test_a_run_without_text_is_refused(
    persistence: Persistence, run_id: str, kind: Any, message: str
) -> None:
    record(persistence, "empty", "")
    record(persistence, "full", "a poem")
    with pytest.raises(InvalidValueError, match=message):
        persistence.similar(run_id, kind=kind)


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "errors"}, "kind is one of prompt, output, error, message, not 'errors'"),
        ({"top": -1}, "top"),
        ({"top": "many"}, "top"),
        ({"max_wait": -1}, "max_wait"),
        ({"since": "yesterday"}, "since"),
    ],
)
def test_wrong_options_are_refused(
    persistence: Persistence, options: dict[str, Any], error: str
) -> None:
    with pytest.raises(InvalidValueError, match=error):
        persistence.similar("poem", **options)


def test_nothing_is_asked_inside_a_transaction(persistence: Persistence) -> None:
    with persistence.transaction(), pytest.raises(UnsupportedError, match="transaction"):
        persistence.similar("poem")


@pytest.mark.before_io
def test_a_model_without_a_name_is_refused(open_again: Open) -> None:
    with pytest.raises(ConfigurationError, match="has no name"):
        open_again(embed=lambda texts: texts).similar("poem")
    with pytest.raises(ConfigurationError, match="not int"):
        open_again(embed=7).similar("poem")


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("tests.support.meanings", "'module:callable'"),
        ("tests.support.nothing:embed", "There is no"),
        ("tests.support.meanings:nothing", "There is no"),
        ("tests.support.meanings:WORDS", "'module:callable'"),
    ],
)
def test_a_model_that_is_not_where_it_is_said_to_be(
    open_again: Open, place: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_again(embed=place).similar("poem")


@pytest.mark.before_io
def test_a_function_is_found_by_its_place_which_is_its_name(open_again: Open) -> None:
    persistence = open_again(embed="tests.support.meanings:embed")
    record(persistence, "r1", "a poem")
    assert len(persistence.similar("poem")) == 1
    assert persistence.similarity.model == "tests.support.meanings:embed"


# --- the model of the extra -----------------------------------------------------------------------


def test_by_default_english_is_understood_without_a_network(
    open_again: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    persistence = open_again()

    def refused(*address: object, **options: object) -> None:
        raise AssertionError("there is no network here")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    record(persistence, "r1", "book a flight to Rome")
    record(persistence, "r2", "write a poem about the sea")
    record(persistence, "r3", "\0 \ud800")  # Which no tokenizer takes as it is.
    [hit] = persistence.similar("airline tickets for a trip", top=1)
    assert hit.run_id == "r1"
    assert persistence.similarity.models() == {"wordllama-l2-supercat-256": 3}
    assert len(persistence.similar("\ud800")) == 3
