"""How a query is understood is said in words."""

from __future__ import annotations

import pytest

from curio_persistence.text.query import parse_query, terms_of
from curio_persistence.views.queries import Part, understood


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("rate limit", [Part("word", "rate"), Part("word", "limit")]),
        ('"rate limit"', [Part("phrase", "rate limit")]),
        ("“rate limit”", [Part("phrase", "rate limit")]),
        ("retr*", [Part("beginning", "retr")]),
        ("-test error", [Part("excluded", "test"), Part("word", "error")]),
        ('-"two words"', [Part("excluded", "two words")]),
        ("it's", [Part("phrase", "it's")]),
        ("-5 --flag", [Part("word", "-5"), Part("word", "--flag")]),
        ("error error", [Part("word", "error")]),
        ("", []),
    ],
)
def test_each_part_is_named(query: str, parts: list[Part]) -> None:
    assert [*understood(query).parts] == parts


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ('"rate limit', "not closed"),
        ("rate * limit", "* has no letter"),
        ("a OR b", "each word by itself"),
        ("a AND b", "anyway"),
        ("NOT b", "-word"),
        ("!!! ???", "no word to look for"),
    ],
)
def test_what_is_easily_meant_otherwise_gets_a_hint(query: str, hint: str) -> None:
    assert any(hint in each for each in understood(query).hints)


@pytest.mark.parametrize("query", ['rate "too many" retr* -test', "and or not", "", "東京の天気"])
def test_a_plain_query_has_no_hint(query: str) -> None:
    assert understood(query).hints == ()


def test_a_query_is_the_phrases_of_its_terms() -> None:
    query = 'rate "too many" -"not this" retr* rate'
    terms = [*terms_of(query)]
    parsed = parse_query(query)
    required = dict.fromkeys(t.phrase for t in terms if not t.is_excluded)
    assert parsed.required == (*required,)
    assert parsed.excluded == (*(t.phrase for t in terms if t.is_excluded),)


def test_a_long_query_is_cut() -> None:
    assert len([*terms_of("word " * 1_000)]) == 256
