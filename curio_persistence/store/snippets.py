"""The piece of a text that shows why it was found, on one line, with places to highlight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from curio_persistence.store.word_queries import Phrase, WordQuery, places
from curio_persistence.store.words import Word, located_words

# What breaks a line, steers a terminal or turns the direction of what follows.
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")
_CUT = "…"


class Snippet(NamedTuple):
    """A piece of a text, and the starts and ends in it of what was looked for."""

    text: str
    highlights: tuple[tuple[int, int], ...]


def snippet(query: WordQuery, text: str, *, width: int = 160) -> Snippet | None:
    """About the piece with most hits, of at most `width` characters; None where there is no hit."""
    words = located_words(text)
    hits = _hits(query.required, words)
    if not hits:
        return None
    width = max(width - 2 * len(_CUT), 1)
    start, end = _densest(hits, width)
    start, end = _widened(start, end, words, len(text), width)
    shown = [
        (max(hit[0], start), min(hit[1], end)) for hit in hits if hit[0] < end and hit[1] > start
    ]
    return _on_one_line(text, start, end, shown)


def _hits(phrases: Sequence[Phrase], words: Sequence[Word]) -> list[tuple[int, int]]:
    """Where any of the phrases stands, in order; those that overlap are one."""
    texts = [word.text for word in words]
    found = sorted(
        (words[at].start, _end(phrase, at, words))
        for phrase in phrases
        for at in places(phrase, texts)
    )
    merged: list[tuple[int, int]] = []
    for start, end in found:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _end(phrase: Phrase, at: int, words: Sequence[Word]) -> int:
    """Of a pair of characters that was found by its first, only that is highlighted."""
    last = at + len(phrase.words) - 1
    if phrase.prefix and last + 1 < len(words):
        following = words[last + 1].start
        if words[last].start < following < words[last].end:
            return following
    return words[last].end


def _densest(hits: Sequence[tuple[int, int]], width: int) -> tuple[int, int]:
    """From the first to the last of as many hits as fit into the width; at least one."""
    best, first = (0, 0), 0
    for last, (_, end) in enumerate(hits):
        while first < last and end - hits[first][0] > width:
            first += 1
        if last - first > best[1] - best[0]:
            best = (first, last)
    return hits[best[0]][0], hits[best[1]][1]


def _widened(
    start: int, end: int, words: Sequence[Word], length: int, width: int
) -> tuple[int, int]:
    """As much again of what stands around, cut between words; or less, where a hit is longer."""
    if end - start > width:
        return start, max((w.end for w in words if start < w.end <= start + width), default=end)
    spare = width - (end - start)
    before = min(start, max(spare // 2, spare - (length - end)))
    lowest = start - before
    highest = min(length, end + spare - before)
    if lowest > 0:
        lowest = next((w.start for w in words if lowest <= w.start <= start), start)
    if highest < length:
        highest = max((w.end for w in words if end <= w.end <= highest), default=end)
    return lowest, highest


def _on_one_line(text: str, start: int, end: int, hits: Sequence[tuple[int, int]]) -> Snippet:
    shown = _CUT if text[:start].strip() else ""
    highlights = []
    at = start
    for hit_start, hit_end in hits:
        shown += _BLANKS.sub(" ", text[at:hit_start])
        begin = len(shown)
        shown += _BLANKS.sub(" ", text[hit_start:hit_end])
        highlights.append((begin, len(shown)))
        at = hit_end
    shown += _BLANKS.sub(" ", text[at:end])
    return Snippet(shown + (_CUT if text[end:].strip() else ""), tuple(highlights))
