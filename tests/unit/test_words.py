"""Queries in any script find the texts with their words, and no similar ones."""

from __future__ import annotations

import pytest

from curio_persistence.text.query import (
    MOST_QUERY_WORDS,
    Phrase,
    WordQuery,
    matches,
    parse_query,
)
from curio_persistence.text.tokenizer import (
    LONGEST_WORD,
    MOST_WORDS,
    split_camel_case,
    tokenize,
    tokenize_with_offsets,
)
from tests.support.corpus import Sample, samples

SAMPLES = [(kind, sample) for kind, of_kind in samples().items() for sample in of_kind]
every_sample = pytest.mark.parametrize(
    "sample",
    [sample for _, sample in SAMPLES],
    ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(SAMPLES)],
)


@every_sample
def test_a_text_is_found_by_its_queries_and_not_by_similar_ones(
    sample: Sample,
) -> None:
    words = [*tokenize(sample.text), "", *tokenize(split_camel_case(sample.text) or "")]
    missing = [q for q in sample.found_by if not matches(parse_query(q), words)]
    surplus = [q for q in sample.missed_by if matches(parse_query(q), words)]
    assert (missing, surplus) == ([], []), words


def test_long_texts_have_the_words_of_their_parts() -> None:
    texts = [sample.text for _, sample in SAMPLES]
    words = [word for text in texts for word in tokenize(text)]
    together = "\n".join(texts)
    assert tokenize(together) == words
    located = tokenize_with_offsets(together)
    assert [word.text for word in located] == words
    assert tokenize_with_offsets(together, 700, 800) == located[700:800]
    assert located[-1].end > len(together) - 20


def test_limited_numbers_of_words_and_characters_count() -> None:
    text = f"{'x' * 1_000} " * (MOST_WORDS + 1)
    assert tokenize(text) == ["x" * LONGEST_WORD] * MOST_WORDS
    assert len(tokenize_with_offsets(f"é {text}")) == MOST_WORDS


W = Phrase


@pytest.mark.parametrize(
    ("typed", "required", "excluded"),
    [
        ("rate limit", [W(("rate",)), W(("limit",))], []),
        ('"rate limit" now', [W(("rate", "limit")), W(("now",))], []),
        ("“rate limit” «no w»", [W(("rate", "limit")), W(("no", "w"))], []),
        ("again again", [W(("again",))], []),
        # Words joined without a space are a phrase.
        ("it's 20.04", [W(("it", "s")), W(("20", "04"))], []),
        ("a/b.py:17", [W(("a", "b", "py", "17"))], []),
        # A dash before a word or a quotation excludes it.
        ("-word", [], [W(("word",))]),
        ('-"a phrase" b', [W(("b",))], [W(("a", "phrase"))]),
        ("a -b.c -d*", [W(("a",))], [W(("b", "c")), W(("d",), prefix=True)]),
        ("-ärger -错误 -🚀", [], [W(("arger",)), W(("错误",)), W(("🚀",))]),
        ("--max-tokens", [W(("max", "tokens"))], []),
        ("-5 -0.5 -.5", [W(("5",)), W(("0", "5"))], []),
        ('-"5"', [], [W(("5",))]),
        ("foo- - b", [W(("foo",)), W(("b",))], []),
        ('"a"-b x-"c"', [W(("a",)), W(("b",)), W(("x", "c"))], []),
        ("-> -(a) -/b", [W(("a",)), W(("b",))], []),
        # A star after a word makes it a prefix.
        ("pre*", [W(("pre",), prefix=True)], []),
        ('"rate lim*"', [W(("rate", "lim"), prefix=True)], []),
        ("über* cafe\u0301*", [W(("uber",), prefix=True), W(("cafe",), prefix=True)], []),
        ("* a * *b", [W(("a",)), W(("b",))], []),
        ("c** d*e toolu_*", [W(("c",)), W(("d", "e")), W(("toolu",))], []),
        # An unpaired quotation mark, or one within a word, is ignored.
        ('"rate limit', [W(("rate",)), W(("limit",))], []),
        ('5" disk say"hi there"', [W(("5",)), W(("disk",)), W(("say", "hi")), W(("there",))], []),
        # A date is the prefix of a time.
        ("2026-11-20", [W(("2026", "11", "20"), prefix=True)], []),
        ("2026-11-20T10:30", [W(("2026", "11", "20t10", "30"))], []),
        # One character of a script without spaces may be the first of a pair.
        ("错", [W(("错",), prefix=True)], []),
        ("错误", [W(("错误",))], []),
        ("错误码 用py", [W(("错误", "误码")), W(("用", "py"))], []),
        ("a错", [W(("a", "错"), prefix=True)], []),
        ("", [], []),
        ('"" - * ... \0 \ud800 \'"', [], []),
    ],
)
def test_queries_are_parsed_as_people_mean_them(
    typed: str, required: list[Phrase], excluded: list[Phrase]
) -> None:
    assert parse_query(typed) == WordQuery(tuple(required), tuple(excluded))


def test_a_query_without_words_finds_nothing() -> None:
    assert not parse_query("... *")
    assert not matches(parse_query("... *"), ["a"])


def test_a_query_with_only_an_exclusion_finds_all_other_texts() -> None:
    query = parse_query('-quota -"rate limit"')
    assert query
    assert matches(query, ["limit", "rate"])
    assert matches(query, [])
    assert not matches(query, ["a", "rate", "limit"])


def test_the_first_words_of_a_long_query_count() -> None:
    typed = " ".join(f"w{number}" for number in range(1_000))
    assert len(parse_query(typed).required) == MOST_QUERY_WORDS
    assert matches(parse_query(typed), tokenize(typed))
    assert matches(parse_query(f'"{typed}"'), tokenize(typed))
    assert matches(parse_query("x" * 200_000), tokenize("x" * 200_000))


@pytest.mark.parametrize("text", ["กข" * 300_000, "ж「" * 300_000, "e\u0301" * 300_000])
def test_the_beginning_of_an_endless_piece_counts(text: str) -> None:
    words = tokenize(text)
    assert words == tokenize(text[: 10 * MOST_WORDS])
    assert words == [word.text for word in tokenize_with_offsets(text)]
