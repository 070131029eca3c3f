"""Posting lists: what they were made of is found in them, however they were split and merged."""

from __future__ import annotations

from contextlib import suppress
from functools import reduce
from itertools import pairwise
from operator import or_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence.backends.postgres.postings import (
    BLOCK,
    Page,
    first_to_merge,
    lists_of,
    merged,
    offsets_with,
    pack_places,
    pages_of,
    read_places,
    without,
)
from curio_persistence.store.search_index import Term, Wanted

WORDS = st.sampled_from(
    ["a", "ab", "abc", "b", "ba", "天気", "🚀", "é", "ﬁ", "\U0010ffff", "z" * 64]
)
DOCUMENTS = st.lists(st.frozensets(WORDS, max_size=6).map(" ".join), min_size=1, max_size=40)
TERMS = st.builds(Term, WORDS, st.booleans())
WANTED = st.builds(
    Wanted,
    st.lists(st.lists(TERMS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple),
    st.lists(TERMS, max_size=2).map(tuple),
)
FIRST = st.integers(0, 3).map(lambda block: block * BLOCK + 100)


def pages(documents: list[str], first: int) -> list[Page]:
    kept = pages_of([lists_of(documents, first)])
    return [Page.read(content) for _, content in kept]


def has(document: str, term: Term) -> bool:
    words = document.split()
    if term.is_prefix:
        return any(word.startswith(term.word) for word in words)
    return term.word in words


def meant(wanted: Wanted, document: str) -> bool:
    return all(any(has(document, term) for term in group) for group in wanted.groups) and not any(
        has(document, term) for term in wanted.none
    )


@given(documents=DOCUMENTS, first=FIRST, wanted=WANTED)
def test_those_are_found_that_are_meant(documents: list[str], first: int, wanted: Wanted) -> None:
    expected = [
        first % BLOCK + number
        for number, document in enumerate(documents)
        if meant(wanted, document)
    ]
    assert list(offsets_with(wanted, pages(documents, first))) == expected


@given(documents=DOCUMENTS, first=FIRST, cut=st.lists(st.integers(0, 40), max_size=4))
def test_what_was_written_in_parts_is_the_same_when_it_is_merged(
    documents: list[str], first: int, cut: list[int]
) -> None:
    edges = [0, *sorted(cut), len(documents)]
    parts = [pages(documents[begin:end], first + begin) for begin, end in pairwise(edges)]
    assert reduce(or_, merged(parts), {}) == lists_of(documents, first)


@given(documents=DOCUMENTS, first=FIRST, gone=st.sets(st.integers(0, 40)))
def test_without_some_documents_their_words_are_gone(
    documents: list[str], first: int, gone: set[int]
) -> None:
    left = ["" if number in gone else document for number, document in enumerate(documents)]
    numbers = {first + number for number in gone}
    assert without(lists_of(documents, first), numbers) == lists_of(left, first)


def test_many_words_are_spread_over_pages() -> None:
    documents = [f"word{number} same" for number in range(3_000)]
    kept = list(pages_of([lists_of(documents, 0)]))
    assert len(kept) > 3
    read = [Page.read(content) for _, content in kept]
    assert [page.words[0].encode() for page in read] == [word for word, _ in kept]
    [last] = [page for page in read if "same" in page.words]
    assert [len(each) for each in last.lists_of(Term("same"))] == [6_000]
    assert all(page.is_of(range(3_000)) for page in read)
    assert not all(page.is_of(range(2_000)) for page in read)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], None),
        ([1_000], None),
        ([10] * 15, None),
        ([10] * 16, 0),
        ([BLOCK // 2, BLOCK // 2], 0),
        ([BLOCK // 2, *[10] * 16], 1),
        ([160, *[10] * 15], None),
        ([160, 160, *[10] * 16], 2),
        ([160] * 15 + [10] * 16, 0),
        ([BLOCK], None),
    ],
)
def test_small_segments_are_merged_when_there_are_many(
    sizes: list[int], expected: int | None
) -> None:
    assert first_to_merge(sizes) == expected


@given(places=st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_places_are_kept(places: list[int]) -> None:
    assert list(read_places(pack_places(places))) == places


@given(content=st.binary(max_size=80))
def test_what_is_no_page_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="page of posting lists"):
        Page.read(content)


@given(documents=DOCUMENTS, at=st.integers(0), octet=st.integers(1, 255))
def test_a_damaged_page_is_refused(documents: list[str], at: int, octet: int) -> None:
    for _, content in pages_of([lists_of(documents, 0)]):
        damaged = bytearray(content)
        damaged[at % len(damaged)] ^= octet
        with suppress(ValueError):
            assert Page.read(bytes(damaged)) == Page.read(content)
