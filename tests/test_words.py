"""What people type finds what was recorded, whatever the script; and nothing that is only near."""

from __future__ import annotations

import pytest

from curio_persistence.store.word_queries import matches, parse_query
from curio_persistence.store.words import words_of
from tests.support.corpus import Sample, samples

SAMPLES = [(kind, sample) for kind, of_kind in samples().items() for sample in of_kind]
every_sample = pytest.mark.parametrize(
    "sample",
    [sample for _, sample in SAMPLES],
    ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(SAMPLES)],
)


@every_sample
def test_a_text_is_found_by_what_people_type_and_missed_by_what_is_only_near(
    sample: Sample,
) -> None:
    words = words_of(sample.text)
    missing = [q for q in sample.found_by if not matches(parse_query(q), words)]
    surplus = [q for q in sample.missed_by if matches(parse_query(q), words)]
    assert (missing, surplus) == ([], []), words
