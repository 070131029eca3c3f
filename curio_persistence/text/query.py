"""The query language of the search: words that must all occur, "a phrase", -not, begin*.

Everything else is text: a term without a space (`it's`, `20.04`, `a/b.py`) is a phrase of its
words, and an unclosed quotation mark, `--flag`, `-5`, a lone `-` or `*` mean nothing special.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from curio_persistence.text.tokenizer import is_last_of_run, tokenize

MOST_QUERY_WORDS = 256
"""The number of words of a query that count."""
LONGEST_QUERY = 50_000
"""And so many characters."""

_QUOTES = str.maketrans("“”„‟«»", '""""""')
# A dash excludes what follows it: a quotation or a letter, not a number or another dash.
_TYPED = re.compile(
    r'''(?:(?P<no>(?<!\S)-))?"(?P<phrase>[^"]*)"'''
    r"|(?:(?P<not>(?<!\S)-)(?!\d)(?=[^\x00-@\[-^`{-\x7f]))?(?P<text>\S+)"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_BEGINNING = re.compile(r"[^\x00-/:-@\[-`{-\x7f]\*\s*\Z")


class Phrase(NamedTuple):
    """Consecutive words; with `prefix` the last one is the beginning of a word."""

    words: tuple[str, ...]
    prefix: bool = False

    @property
    def spaced(self) -> str:
        """The phrase as it appears in a line of words between spaces."""
        return f" {' '.join(self.words)}{'' if self.prefix else ' '}"


class WordQuery(NamedTuple):
    """Phrases that must all occur, and phrases that must not; without any, nothing matches."""

    required: tuple[Phrase, ...] = ()
    excluded: tuple[Phrase, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.required or self.excluded)


class Term(NamedTuple):
    """A part of a query as it was typed, and the words it stands for; None if it has none."""

    typed: str
    phrase: Phrase | None
    is_excluded: bool


def terms_of(text: str) -> Iterator[Term]:
    """Yield the parts of a query in their order; any text is a valid one."""
    room = MOST_QUERY_WORDS
    for typed in _TYPED.finditer(text[:LONGEST_QUERY].translate(_QUOTES)):
        phrase = _phrase(typed["phrase"] or typed["text"] or "", room)
        yield Term(typed[0], phrase, bool(typed["no"] or typed["not"]))
        room -= len(phrase.words) if phrase else 0
        if not room:
            return


def parse_query(text: str) -> WordQuery:
    """Parse a query; any text is a valid one."""
    required: dict[Phrase, None] = {}
    excluded: dict[Phrase, None] = {}
    for _, phrase, is_excluded in terms_of(text):
        if phrase is not None:
            (excluded if is_excluded else required)[phrase] = None
    return WordQuery(tuple(required), tuple(excluded))


def matches(query: WordQuery, words: Sequence[str]) -> bool:
    """Return whether a record of these words matches."""
    line = _line(words)
    return (
        bool(query)
        and all(phrase.spaced in line for phrase in query.required)
        and not any(phrase.spaced in line for phrase in query.excluded)
    )


def phrase_positions(phrase: Phrase, words: Sequence[str]) -> Iterator[int]:
    """Return the positions of the words at which a phrase begins."""
    line, number, before = _line(words), 0, 0
    at = line.find(phrase.spaced)
    while at >= 0:
        number += line.count(" ", before, at)
        yield number
        before, at = at, line.find(phrase.spaced, at + 1)


def _line(words: Sequence[str]) -> str:
    """Join words with spaces. Finding text in text is ten times as fast as searching a list."""
    return f" {' '.join(words)} "


def _phrase(text: str, room: int) -> Phrase | None:
    words = tokenize(text)
    # As a date is the beginning of `2026-11-20T10:30`, and ends within a word.
    prefix = bool(_BEGINNING.search(text) or _DATE.fullmatch(text))
    if not words:
        return None
    if is_last_of_run(words[-1]):
        # The last character of a Chinese run: the run in the record may continue.
        prefix = words[-1] != "".join(words[-2:-1])[1:]
        words = words if prefix else words[:-1]
    return Phrase(tuple(words[:room]), prefix and len(words) <= room)
