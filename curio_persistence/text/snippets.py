"""Extract the part of a text that shows why it matches, on one line, with highlights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from curio_persistence.text.query import Phrase, WordQuery, phrase_positions
from curio_persistence.text.tokenizer import Word, tokenize, tokenize_with_offsets

# Characters that break a line, control a terminal or change the direction of text.
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")
_VISIBLE = re.compile(r"\S")
_CUT = "…"

Span = tuple[int, int]


class Snippet(NamedTuple):
    """A part of a text, and the starts and ends of the hits in it."""

    text: str
    highlights: tuple[Span, ...]


def snippet(query: WordQuery, text: str, *, width: int = 160) -> Snippet | None:
    """Return the part with most hits, of at most about `width` characters; None without a hit."""
    found = _found(query.required, tokenize(text))
    if not found:
        return None
    hits, words = _located(found, text, width)
    room = max(width - 2 * len(_CUT), 1)
    start, end = _widened(_densest(hits, room), words, len(text), room)
    shown = [(max(hit, start), min(stop, end)) for hit, stop in hits if hit < end and stop > start]
    return _on_one_line(text, start, end, shown)


def _found(phrases: Sequence[Phrase], words: Sequence[str]) -> list[tuple[int, Phrase]]:
    return sorted((at, phrase) for phrase in phrases for at in phrase_positions(phrase, words))


def _located(
    found: Sequence[tuple[int, Phrase]], text: str, width: int
) -> tuple[list[Span], list[Word]]:
    """Return hits and the words around them; of a long text, only where hits are dense."""
    first, last = _densest([(at, at + len(phrase.words)) for at, phrase in found], width // 4)
    # So many words fill the width, or its columns where each word is one wide character.
    around = max(width // 3, 1)
    first = max(first - around, 0)
    words = tokenize_with_offsets(text, first, last + around)
    near = [
        (at - first, phrase)
        for at, phrase in found
        if first <= at <= first + len(words) - len(phrase.words)
    ]
    return _spans(near, words), words


def _spans(found: Sequence[tuple[int, Phrase]], words: Sequence[Word]) -> list[Span]:
    """Return the spans of the phrases in the text, in order; overlapping ones are merged."""
    spans: list[Span] = []
    for at, phrase in found:
        start, end = words[at].start, _end(phrase, at, words)
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _end(phrase: Phrase, at: int, words: Sequence[Word]) -> int:
    """Return the end of a phrase; after the first character of a pair that it matches alone."""
    last = words[at + len(phrase.words) - 1]
    following = words[at + len(phrase.words)].start if at + len(phrase.words) < len(words) else 0
    return following if phrase.prefix and last.start < following < last.end else last.end


def _densest(hits: Sequence[Span], width: int) -> Span:
    """Return the span of as many hits as fit into the width; at least one."""
    best, first = (0, 0), 0
    for last, (_, end) in enumerate(hits):
        while first < last and end - hits[first][0] > width:
            first += 1
        if last - first > best[1] - best[0]:
            best = (first, last)
    return hits[best[0]][0], hits[best[1]][1]


def _widened(hit: Span, words: Sequence[Word], length: int, width: int) -> Span:
    """Return the span with text around it, cut between words; or the beginning of a long span."""
    start, end = hit
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
    shown = _CUT if _VISIBLE.search(text, 0, start) else ""
    highlights = []
    at = start
    for hit_start, hit_end in hits:
        shown += _BLANKS.sub(" ", text[at:hit_start])
        begin = len(shown)
        shown += _BLANKS.sub(" ", text[hit_start:hit_end])
        highlights.append((begin, len(shown)))
        at = hit_end
    shown += _BLANKS.sub(" ", text[at:end])
    return Snippet(shown + (_CUT if _VISIBLE.search(text, end) else ""), tuple(highlights))
