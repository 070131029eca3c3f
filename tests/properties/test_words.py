"""Words are the same however a text is written, and what is typed of a text finds it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curio_persistence.store.snippets import snippet
from curio_persistence.store.word_queries import matches, parse_query
from curio_persistence.store.words import LONGEST_WORD, located_words, words_of
from tests.properties.strategies import any_text

# Scripts, marks, joiners, pictures and signs side by side, as they never are in any one language.
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
    located = located_words(text)
    assert [word.text for word in located] == words_of(text)
    assert all(0 <= word.start < word.end <= len(text) for word in located)
    assert sorted(located, key=lambda word: word.start) == located


@given(texts)
def test_words_are_folded_once_and_for_all(text: str) -> None:
    words = words_of(text)
    unspaced = " ".join(words)
    assert [word for word in words_of(unspaced) if len(word) > 1] == [
        w for w in words if len(w) > 1
    ]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@given(text=texts)
def test_normal_forms_of_a_text_have_the_same_words(form: str, text: str) -> None:
    assert words_of(unicodedata.normalize(form, text)) == words_of(text)


@given(texts)
def test_a_word_has_no_character_at_which_an_index_would_split_it(text: str) -> None:
    for word in words_of(text):
        assert 0 < len(word) <= LONGEST_WORD
        assert all(
            letter > "\x7f" or letter in "0123456789abcdefghijklmnopqrstuvwxyz" for letter in word
        )
        word.encode("utf-8")


@given(texts, texts)
def test_no_query_raises(query: str, text: str) -> None:
    parsed = parse_query(query)
    found = matches(parsed, words_of(text))
    shown = snippet(parsed, text)
    assert found <= bool(parsed)
    assert (shown is not None) >= (found and bool(parsed.required))
