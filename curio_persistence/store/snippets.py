"""The piece of a text that shows why it was found, on one line, with places to highlight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from curio_persistence.store.word_queries import Phrase, WordQuery, places
from curio_persistence.store.words import Word, located_words, words_of

# What breaks a line, steers a terminal or turns the direction of what follows.
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")
_CUT = "…"

Span = tuple[int, int]


class Snippet(NamedTuple):
    """A piece of a text, and the starts and ends in it of what was looked for."""

    text: str
    highlights: tuple[Span, ...]


def snippet(query: WordQuery, text: str, *, width: int = 160) -> Snippet | None:
    """About the piece with most hits, of at most `width` characters; None where there is no hit."""
    found = _found(query.required, words_of(text))
    if not found:
        return None
    words = located_words(text)
    hits = _spans(found, words)
    width = max(width - 2 * len(_CUT), 1)
    start, end = _densest(hits, width)
    start, end = _widened(start, end, words, len(text), width)
    shown = [
        (max(hit[0], start), min(hit[1], end)) for hit in hits if hit[0] < end and hit[1] > start
    ]
    return _on_one_line(text, start, end, shown)


def _found(phrases: Sequence[Phrase], words: Sequence[str]) -> list[tuple[int, Phrase]]:
    return sorted((at, phrase) for phrase in phrases for at in places(phrase, words))


def _spans(found: Sequence[tuple[int, Phrase]], words: Sequence[Word]) -> list[Span]:
    """Where the phrases stand in the text, in order; those that overlap are one."""
    spans: list[Span] = []
    for at, phrase in found:
        start, end = words[at].start, _end(phrase, at, words)
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _end(phrase: Phrase, at: int, words: Sequence[Word]) -> int:
    """Where a phrase ends. Of a pair of characters that was found by its first, that is all."""
    last = words[at + len(phrase.words) - 1]
    following = words[at + len(phrase.words)].start if at + len(phrase.words) < len(words) else 0
    return following if phrase.prefix and last.start < following < last.end else last.end


def _densest(hits: Sequence[Span], width: int) -> Span:
    """From the first to the last of as many hits as fit into the width; at least one."""
    best, first = (0, 0), 0
    for last, (_, end) in enumerate(hits):
        while first < last and end - hits[first][0] > width:
            first += 1
        if last - first > best[1] - best[0]:
            best = (first, last)
    return hits[best[0]][0], hits[best[1]][1]


def _widened(start: int, end: int, words: Sequence[Word], length: int, width: int) -> Span:
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


def _on_one_line(text: str, start: int, end: int, hits: Sequence[Span]) -> Snippet:
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
