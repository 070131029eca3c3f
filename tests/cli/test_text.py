"""Stored text is escaped, shortened and wrapped for a terminal."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence.cli.terminal.text import (
    cells,
    folded,
    lines,
    one_line,
    padded,
    shortened,
    without_secrets,
)
from curio_persistence.views.wording import duration, local_time

TEXTS = st.text(st.characters(), max_size=40)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


CATEGORIES_A_TERMINAL_ACTS_ON = {"Cc", "Cs", "Zl", "Zp"}


def is_harmless(text: str) -> bool:
    return all(
        unicodedata.category(each) not in CATEGORIES_A_TERMINAL_ACTS_ON
        and unicodedata.bidirectional(each) not in {"LRE", "RLE", "LRO", "RLO", "PDF"}
        and unicodedata.bidirectional(each) not in {"LRI", "RLI", "FSI", "PDI"}
        for each in text
    )


@given(TEXTS)
def test_one_line_is_harmless(text: str) -> None:
    assert is_harmless(one_line(text))


@given(TEXTS)
def test_every_line_is_harmless(text: str) -> None:
    assert all(map(is_harmless, lines(text)))


@pytest.mark.parametrize(
    "text",
    [
        "東京\u3000大阪",
        "Prix\u00a0: 10\u00a0€",
        "👨\u200d👩\u200d👧",
        "می\u200cخواهم",
        "ක්\u200dෂ",
        "co\u00adoperate",
        "\U0001fae9 \ue000",
    ],
)
def test_text_that_does_not_control_a_terminal_is_unchanged(text: str) -> None:
    assert lines(text) == [text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        ("\ud83d", "\\ud83d"),
    ],
)
def test_control_characters_are_escaped(text: str, said: str) -> None:
    assert lines(text) == [said]


@given(TEXTS.map(one_line), st.integers(1, 50))
def test_a_shortened_text_fits_and_a_padded_one_fills(text: str, width: int) -> None:
    short = shortened(text, width)
    assert cells(short) <= width
    assert cells(padded(short, width)) == width
    assert cells(padded(short, width, right=True)) == width
    assert short == text or (cells(text) > width and short.endswith("…"))


@given(TEXTS.map(one_line), st.integers(2, 50))
def test_a_wrapped_text_fits_and_nothing_is_lost(text: str, width: int) -> None:
    parts = [text[begin:end] for begin, end in folded(text, width)]
    assert "".join(parts) == text
    assert all(cells(part.rstrip()) <= width for part in parts)


def test_a_text_is_wrapped_between_words() -> None:
    def parts(text: str, width: int) -> list[str]:
        return [text[begin:end] for begin, end in folded(text, width)]

    assert parts("one two three", 7) == ["one two ", "three"]
    assert parts("one twothree", 7) == ["one ", "twothre", "e"]
    assert parts("in 東京の天気", 7) == ["in 東京", "の天気"]
    assert parts("", 7) == [""]


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("abc", 3),
        ("日本", 4),
        ("é", 1),
        ("e\u0301", 1),
        ("ＡＢ", 4),
        ("한", 2),
        ("🚀", 2),
        ("", 0),
        ("👨\u200d👩\u200d👧", 2),
        ("🏃🏽\u200d♂\ufe0f", 4),
        ("❤\ufe0f", 2),
        ("a\u00ad\u200cb", 2),
    ],
)
def test_wide_characters_take_two_cells_and_accents_none(text: str, width: int) -> None:
    assert cells(text) == width


def test_a_wide_character_is_not_cut_in_half() -> None:
    assert shortened("東京の天気", 6) == "東京…"
    assert shortened("東京の天気", 7) == "東京の…"


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(0), "0 ms"),
        (timedelta(milliseconds=999), "999 ms"),
        (timedelta(milliseconds=999, microseconds=999), "1.0 s"),
        (timedelta(seconds=59.94), "59.9 s"),
        (timedelta(seconds=59.96), "1m 00s"),
        (timedelta(minutes=59, seconds=59.9), "1h 00m"),
        (timedelta(hours=23, minutes=59), "23h 59m"),
        (timedelta(days=3, hours=4, minutes=59), "3d 04h"),
        (timedelta(seconds=-2), "-2.0 s"),
    ],
)
def test_a_duration_has_two_units(length: timedelta, said: str) -> None:
    assert duration(NOON, NOON + length) == said


def test_a_run_that_has_not_ended_has_no_duration() -> None:
    assert duration(NOON, None) == duration(None, NOON) == "–"


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_the_first_and_last_dates_can_be_shown(
    moment: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local_time(moment.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("to postgresql://me:pw@host/db.", "to postgresql://me:***@host/db."),
        ("postgresql://me:p@w/x@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:pw@host", "postgresql://:***@host"),
        ("postgresql:///db?password=pw&user=me", "postgresql:///db?password=***&user=me"),
        ("host=here password=pw user=me", "host=here password=*** user=me"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_messages_contain_no_passwords(message: str, said: str) -> None:
    assert without_secrets(message) == said
