"""A snippet shows on one line why a text matches."""

from __future__ import annotations

import unicodedata

import pytest

from curio_persistence.text.query import parse_query
from curio_persistence.text.snippets import Snippet, snippet
from tests.support.corpus import samples


def shown(query: str, text: str, width: int = 160) -> str:
    """Return a snippet with brackets around its highlights."""
    piece = snippet(parse_query(query), text, width=width)
    assert piece is not None
    marked, at = "", 0
    for start, end in piece.highlights:
        marked += f"{piece.text[at:start]}[{piece.text[start:end]}]"
        at = end
    return marked + piece.text[at:]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("limit", "A rate limit, twice: LIMIT!", "A rate [limit], twice: [LIMIT]!"),
        ('"rate limit"', "the rate\n\t limit of rates", "the [rate limit] of rates"),
        ("rate limit", "rate limit", "[rate] [limit]"),
        ("it's isn", "It’s so, isn't it?", "[It’s] so, [isn]'t it?"),
        ("pre* fox", "prefixes of foxes and a fox", "[prefixes] of foxes and a [fox]"),
        ('"a b" "b c"', "a b c", "[a b c]"),
        ("strasse", "Die Straße, STRASSE", "Die [Straße], [STRASSE]"),
        ("cafe", "cafe\u0301 und Café", "[cafe\u0301] und [Café]"),
        ("错误", "一个严重的错误，数据库", "一个严重的[错误]，数据库"),
        ("错", "错误，有错", "[错]误，有[错]"),
        ("连接池", "数据库连接池已耗尽", "数据库[连接池]已耗尽"),
        ("한", "ᄒ\u1161\u11ab글과 한글", "[ᄒ\u1161\u11ab]글과 [한]글"),
        ("👍", "ok 👍🏽!", "ok [👍🏽]!"),
        ("💻", "a 👩🏽\u200d💻 b", "a [👩🏽\u200d💻] b"),
        ("b -c", "a b", "a [b]"),
        ("b", "\x1b[31ma\0\u202eb\ud800\r\nc", " [31ma [b] c"),
        ("#\u20e3", "press #\ufe0f\u20e3 or *\u20e3", "press [#\ufe0f\u20e3] or [*\u20e3]"),
    ],
)
def test_matches_are_highlighted_in_their_original_spelling(
    query: str, text: str, expected: str
) -> None:
    assert shown(query, text) == expected


def test_the_densest_part_is_shown_and_cut_between_words() -> None:
    text = f"limit {'filler ' * 60}(a rate limit, the same rate) {'ending ' * 60}limit"
    assert shown("rate limit", text, 60) == (
        "…filler (a [rate] [limit], the same [rate]) ending ending…"
    )


@pytest.mark.parametrize("query", ["", "-a", "z", "..."])
def test_a_text_without_a_match_has_no_snippet(query: str) -> None:
    assert snippet(parse_query(query), "a b c") is None


def test_a_phrase_that_is_too_long_shows_its_beginning() -> None:
    words = "one two three four five six seven"
    assert shown(f'"{words}"', f"zero {words} eight", 20) == "…[one two three four]…"


def test_a_match_far_into_a_long_text_is_found_as_fast_as_at_its_beginning() -> None:
    text = "filler, " * 5_000 + "the needle" + " filler" * 5_000
    assert shown("needle", text, 40) == "…filler, the [needle] filler filler…"


@pytest.mark.parametrize("width", [1, 8, 13, 30])
def test_no_visible_character_is_cut(width: int) -> None:
    for sample in (sample for of_kind in samples().values() for sample in of_kind):
        for query in sample.found_by:
            piece = snippet(parse_query(query), f"{sample.text} {sample.text}", width=width)
            if piece is not None:
                assert not _begins_within_a_character(piece.text.lstrip("…"))
                assert not any(_begins_within_a_character(rest) for rest in _rests(piece))


def _rests(piece: Snippet) -> list[str]:
    """Return the rest of the text after each boundary of a highlight."""
    return [piece.text[at:] for span in piece.highlights for at in span]


def _begins_within_a_character(text: str) -> bool:
    first = text[:1]
    return unicodedata.category(first or " ")[0] == "M" or "\U0001f3fb" <= first <= "\U0001f3ff"
