"""The understanding of a query of the search, in words. Any text is valid: no error says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from curio_persistence.text.query import Term, terms_of

Meaning = Literal["word", "phrase", "beginning", "excluded"]

_SAID = {
    "word": "has the word",
    "phrase": "has next to each other",
    "beginning": "has a word that begins with",
    "excluded": "does not have",
}
_JOINING = frozenset(("AND", "OR", "NOT"))
_QUOTES = frozenset('"“”„‟«»')


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a query: how it is meant, and its text."""

    meaning: Meaning
    text: str

    @property
    def said(self) -> str:
        """The clause of which the text is the object: `has the word`."""
        return _SAID[self.meaning]


@dataclass(frozen=True, slots=True)
class Understanding:
    """The parts of a query, and hints about what was perhaps meant otherwise."""

    parts: tuple[Part, ...]
    hints: tuple[str, ...]


def understood(query: str) -> Understanding:
    """Return how a query is understood."""
    terms = [*terms_of(query)]
    parts = dict.fromkeys(_part(term) for term in terms if term.phrase is not None)
    return Understanding(tuple(parts), tuple(dict.fromkeys(_hints(query, terms))))


def _part(term: Term) -> Part:
    text = term.typed.strip('"')
    if term.is_excluded:
        return Part("excluded", term.typed.removeprefix("-").strip('"'))
    assert term.phrase is not None
    if term.typed.endswith("*") and term.phrase.prefix:
        return Part("beginning", text.rstrip("*"))
    return Part("phrase" if len(term.phrase.words) > 1 else "word", text)


def _hints(query: str, terms: list[Term]) -> Iterator[str]:
    """Yield a sentence for each thing that is easily meant otherwise."""
    if sum(character in _QUOTES for character in query) % 2:
        yield "A quotation mark is not closed, so the words behind it are searched one by one."
    for term in terms:
        if term.phrase is None:
            yield f"{term.typed} has no letter or digit, and is left out."
        elif term.typed in _JOINING:
            yield f"{term.typed} is searched as a word. {_INSTEAD[term.typed]}"
    if query.strip() and not any(term.phrase for term in terms):
        yield "The query has no word to look for."


_INSTEAD = {
    "AND": "All words have to be there anyway.",
    "OR": "Search for each word by itself.",
    "NOT": "Put a dash before a word that is not to be there: -word.",
}
