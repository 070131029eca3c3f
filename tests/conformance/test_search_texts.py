"""What people type, in any script and in any disorder, is searched alike everywhere."""

from __future__ import annotations

import random

from curio_persistence import AgentRunEvent, Persistence
from curio_persistence.text.query import matches, parse_query
from curio_persistence.text.tokenizer import tokenize
from tests.support import soak
from tests.support.corpus import samples

SAMPLES = [sample for of_kind in samples().values() for sample in of_kind]
WORDS = [tokenize(sample.text) for sample in SAMPLES]
FUZZED = 100
"""With CURIO_SOAK=200 they are 20,000."""


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


def test_every_script_is_found_as_people_type_it(persistence: Persistence) -> None:
    record(persistence)
    for number, sample in enumerate(SAMPLES):
        # All at once, as all of them have to be there; tests/test_words.py has each by itself.
        together = " ".join(sample.found_by)
        assert number in found(persistence, together), together
        assert number not in found(persistence, sample.missed_by[0]), sample.missed_by[0]


def test_whatever_is_typed_is_answered(persistence: Persistence) -> None:
    record(persistence)
    chance = random.Random(7)
    for _ in soak.times(FUZZED):
        query = fuzzed(chance)
        assert found(persistence, query) == expected(query), query


def fuzzed(chance: random.Random) -> str:
    """Pieces of texts and queries, cut anywhere, with signs between them that mean something."""
    typed = ""
    for _ in range(chance.randint(0, 5)):
        sample = chance.choice(SAMPLES)
        text = chance.choice([sample.text, *sample.found_by])
        start = chance.randrange(len(text))
        typed += text[start : start + chance.choice([1, 2, 5, 20, 1_000])]
        typed += chance.choice([" ", " ", " -", '"', '" "', ' -"', "*", "* ", "", *_SIGNS])
    return typed * chance.choice([1, 1, 1, 1, 40])


_SIGNS = "'():;%_\\/{}[]^~+|&!?§\0\t\n\ud800\udc4d\ufffe\u200d\u0301"
