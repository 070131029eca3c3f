"""Queries in any script, with any syntax errors, find the same on every backend."""

from __future__ import annotations

import json
import random

import pytest

from curio_persistence import AgentLLMUsage, AgentRunEvent, Persistence
from curio_persistence.capabilities.search.documents import tokenize_record
from curio_persistence.text.query import matches, parse_query
from tests.support import soak
from tests.support.corpus import samples

SAMPLES = [sample for of_kind in samples().values() for sample in of_kind]
WORDS = [tokenize_record(1, AgentRunEvent("a", "r", message=sample.text)) for sample in SAMPLES]
FUZZED = 100
"""20,000 with CURIO_SOAK=200."""


def record(persistence: Persistence) -> None:
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type=str(number), message=sample.text)
        for number, sample in enumerate(SAMPLES)
    )


def found(persistence: Persistence, query: str) -> set[int]:
    return {
        int(hit.record.event_type)
        for hit in persistence.search_text(query, limit=None)
        if isinstance(hit.record, AgentRunEvent)
    }


def expected(query: str) -> set[int]:
    parsed = parse_query(query)
    return {number for number, words in enumerate(WORDS) if matches(parsed, words)}


@pytest.mark.slow
def test_every_script_is_found_as_people_type_it(persistence: Persistence) -> None:
    record(persistence)
    for number, sample in enumerate(SAMPLES):
        # All words in one query; tests/unit/test_words.py tests each one by itself.
        together = " ".join(sample.found_by)
        assert number in found(persistence, together), together
        assert number not in found(persistence, sample.missed_by[0]), sample.missed_by[0]


def test_every_query_has_an_answer(persistence: Persistence) -> None:
    record(persistence)
    chance = random.Random(7)
    for _ in soak.times(FUZZED):
        query = fuzzed(chance)
        assert found(persistence, query) == expected(query), query


def fuzzed(chance: random.Random) -> str:
    """Return pieces of texts and queries, cut anywhere, joined by special characters."""
    typed = ""
    for _ in range(chance.randint(0, 5)):
        sample = chance.choice(SAMPLES)
        text = chance.choice([sample.text, *sample.found_by])
        start = chance.randrange(len(text))
        typed += text[start : start + chance.choice([1, 2, 5, 20, 1_000])]
        typed += chance.choice([" ", " ", " -", '"', '" "', ' -"', "*", "* ", "", *_SIGNS])
    return typed * chance.choice([1, 1, 1, 1, 40])


_SIGNS = "'():;%_\\/{}[]^~+|&!?§\0\t\n\ud800\udc4d\ufffe\u200d\u0301"


def test_the_parts_of_camel_case_words_are_found(persistence: Persistence) -> None:
    persistence.append_event("r", "a", "log", message="Died of a TimeoutError in runStep")
    persistence.append_event("r", "a", "log", payload={"errorClass": "HTTPTimeout"})
    found = {
        query: len(persistence.search_text(query))
        for query in (
            "timeout",
            "TimeoutError",
            "timeouterror",
            '"timeout error"',
            '"a TimeoutError in"',
            "http",
            "class",
            "step -http",
            "time",
        )
    }
    assert found == {
        "timeout": 2,
        "TimeoutError": 1,
        "timeouterror": 1,
        '"timeout error"': 1,
        '"a TimeoutError in"': 1,
        "http": 1,
        "class": 1,
        "step -http": 1,
        "time": 0,
    }
    [hit] = persistence.search_text("step")
    start, end = hit.highlights[0]
    assert hit.snippet[start:end] == "Step"


def test_a_chat_prompt_is_shown_as_words(persistence: Persistence) -> None:
    messages = [{"role": "user", "content": "Where is\nZürich?"}]
    persistence.log_llm_usage(AgentLLMUsage("a", "r", prompt=json.dumps(messages)))
    [hit] = persistence.search_text("zurich")
    assert hit.snippet == "role: user, content: Where is Zürich?"
