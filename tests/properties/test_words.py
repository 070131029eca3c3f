"""Words do not depend on the normal form of a text, and any part of a text finds it."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curio_persistence.text.query import matches, parse_query
from curio_persistence.text.snippets import snippet
from curio_persistence.text.tokenizer import LONGEST_WORD, tokenize, tokenize_with_offsets
from tests.properties.strategies import any_text

# Scripts, marks, joiners, emoji and signs side by side, as in no real language.
LIVELY = (
    "aZ09 _-.'\"*\n\t\0éßÅłİıſΩς\u0345ёйЙ\u0306\u0301\u0327ﬁ½①™\u00ad\u200b\u200d\u200c\ufe0f"
    "日本語がハﾞｶﾞ゛々用한글ᄀ\u1161\u11a8ㄱㅏไทยที่ລາວខ្មែរမြန်မာहिन्दीক্ষমুதமிழ்"
    "مُحَمَّدأإآـی٢שָׁלוֹם👍🏽👩\u200d💻🇩🇪🏴\U000e0067\U000e007f1\u20e3❤✓→°≠=\u0338\ud83d\udc4d\ud800"
)
texts = any_text | st.text(st.sampled_from(LIVELY)) | st.text(st.sampled_from(LIVELY), min_size=70)


@given(texts)
@example("か\u200b\u3099")
@example("I\u0307")
@example("ｶﾞ ㄱㅏ ½ﷺ")
def test_located_words_are_the_words(text: str) -> None:
    located = tokenize_with_offsets(text)
    assert [word.text for word in located] == tokenize(text)
    assert all(0 <= word.start < word.end <= len(text) for word in located)
    assert sorted(located, key=lambda word: word.start) == located


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@given(text=texts)
def test_normal_forms_of_a_text_have_the_same_words(form: str, text: str) -> None:
    assert tokenize(unicodedata.normalize(form, text)) == tokenize(text)


@given(texts)
def test_a_word_has_no_character_at_which_a_database_would_split_it(text: str) -> None:
    for word in tokenize(text):
        assert 0 < len(word) <= LONGEST_WORD
        assert all(
            letter > "\x7f" or letter in "0123456789abcdefghijklmnopqrstuvwxyz" for letter in word
        )
        word.encode("utf-8")


@given(texts, st.data())
def test_a_text_is_found_by_each_of_its_words_and_their_prefixes(
    text: str, data: st.DataObject
) -> None:
    words = tokenize(text)
    for word in words:
        beginning = data.draw(st.integers(1, len(word)))
        assert matches(parse_query(word), words)
        assert matches(parse_query(f"{word[:beginning]}*"), words)


@given(st.lists(texts, min_size=1), st.sampled_from(" -,\n/"), st.sampled_from(" -."), st.data())
def test_a_text_is_found_by_each_quoted_piece_of_it(
    texts: list[str], between: str, typed: str, data: st.DataObject
) -> None:
    words = tokenize(between.join(texts))
    first = data.draw(st.integers(0, len(texts) - 1))
    last = data.draw(st.integers(first + 1, len(texts)))
    piece = re.sub('["“”„‟«»]', " ", typed.join(texts[first:last]))
    if tokenize(piece):
        assert matches(parse_query(f'"{piece}"'), words)
        assert not matches(parse_query(f'-"{piece}"'), words)


@given(texts, texts)
def test_no_query_raises_and_matches_are_shown(query: str, text: str) -> None:
    parsed = parse_query(query)
    found = matches(parsed, tokenize(text))
    assert found <= bool(parsed)
    if found and parsed.required:
        assert snippet(parsed, text) is not None


@given(texts, st.integers(1, 60), st.data())
def test_a_snippet_is_one_short_line_that_contains_its_highlights(
    text: str, width: int, data: st.DataObject
) -> None:
    words = tokenize(text)
    if not words:
        return
    query = parse_query(data.draw(st.sampled_from(words)))
    shown = snippet(query, text, width=width)
    assert shown is not None
    longest = max(end - start for start, end in shown.highlights)
    assert len(shown.text) <= max(width, longest + 2)
    assert len(shown.text.splitlines()) == 1
    shown.text.encode("utf-8")
    for start, end in shown.highlights:
        assert matches(query, tokenize(shown.text[start:end]))
    assert list(shown.highlights) == sorted(set(shown.highlights))


@pytest.fixture(scope="module")
def terms_of_fts5() -> Iterator[Callable[[str], set[str]]]:
    """Return the words that FTS5 finds in a text."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE words USING fts5"
        "(text, detail=none, content='', columnsize=0, tokenize='ascii')"
    )
    connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(words, row)")

    def terms(text: str) -> set[str]:
        connection.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (text,))
        found = {term for (term,) in connection.execute("SELECT term FROM terms")}
        connection.rollback()
        return found

    yield terms
    connection.close()


@given(texts)
def test_fts5_does_not_split_words(terms_of_fts5: Callable[[str], set[str]], text: str) -> None:
    words = tokenize(text)
    assert terms_of_fts5(" ".join(words)) == set(words)


@given(st.lists(texts))
def test_postgresql_does_not_split_words(postgres18: str, texts: list[str]) -> None:
    words = [word for text in texts for word in tokenize(text)]
    with psycopg2.connect(postgres18) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT %s::text[], %s::text[] @> %s::text[]", (words, words, words))
        assert cursor.fetchone() == (words, True)
