"""Finds what the index says may be there, and keeps of it what is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

from curio_persistence.capabilities.search.documents import (
    SORTS,
    mark,
    place_at,
    texts_of,
    words_apart_in,
    words_in,
)
from curio_persistence.capabilities.search.hits import SearchHit
from curio_persistence.models import AgentLLMUsage
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.search_index import Found, Term, Wanted
from curio_persistence.text.query import Phrase, WordQuery, matches
from curio_persistence.text.snippets import snippet

_MOST_TERMS = 32
"""How many of the words are asked of the index; the records are asked for all."""
_MOST_VALUES = 1_000
"""Of how many values of a column the index is asked; if there are more, only the records are."""
_FIRST_LOOK = 100
_LONGEST_LOOK = 2_000
"""How many records are looked at a time."""
_RANKED = 10_000
_BEST = 200
"""Of how many of the newest the shortest so many are weighed by how often they have the words."""
_SHOWN = 160
_SATURATION, _LENGTH_WEIGHT = 1.2, 0.75
"""BM25's k1 and b, as everybody has them."""


class Question(NamedTuple):
    """What is looked for: words, and values that a record is to have one of.

    A model call has the session of its run: `runs` are those of the session that is asked for.
    """

    query: WordQuery
    values: Mapping[str, tuple[str, ...]]
    runs: frozenset[str]
    since: datetime | None
    until: datetime | None

    def kinds(self) -> tuple[int, ...]:
        """The sorts of record that have all the columns that are asked for."""
        return tuple(
            kind
            for kind, sort in enumerate(SORTS)
            if self.values.keys() <= {*sort.marked, "session_id"}
        )

    def can_be_met(self) -> bool:
        """Whether any record could be meant at all."""
        phrases = self.query.required or self.query.excluded
        return bool(phrases and self.kinds() and all(self.values.values()))

    def wanted(self) -> Wanted:
        """What to ask the index. It may find more than is meant, but nothing less."""
        words = [term for phrase in self.query.required for term in _terms(phrase)]
        # The longest are the rarest.
        words = sorted(set(words), key=lambda term: len(term.word), reverse=True)[:_MOST_TERMS]
        excluded = [phrase for phrase in self.query.excluded if len(phrase.words) == 1]
        return Wanted(
            (*((word,) for word in words), *self._marks(bool(words))),
            tuple(term for phrase in excluded[:_MOST_TERMS] for term in _terms(phrase)),
        )

    def _marks(self, any_words: bool) -> Iterator[tuple[Term, ...]]:
        """Marks that tell the records that are meant. Those of a column tell the kind as well."""
        told = 0
        for column, values in self.values.items():
            marks = _marks(column, values)
            if column == "session_id":
                marks += _marks("run_id", self.runs)
            if len(marks) <= _MOST_VALUES:
                told += 1
                yield marks
        if told < len(self.values) or not (told or any_words):
            yield _marks("kind", [SORTS[kind].name for kind in self.kinds()])

    def words_of_hit(self, kind: int, record: Any) -> list[str] | None:
        """The words of a record that is meant; None of one that is not."""
        time = getattr(record, SORTS[kind].time)
        if (
            (self.since is not None and time < self.since)
            or (self.until is not None and time >= self.until)
            or not all(self._has(record, name) for name in self.values)
        ):
            return None
        return self._if_they_match(words_in(kind, record), kind, record)

    def _has(self, record: Any, name: str) -> bool:
        if name == "session_id" and isinstance(record, AgentLLMUsage):
            return record.run_id in self.runs
        return getattr(record, name) in self.values[name]

    def _if_they_match(self, words: list[str], kind: int, record: Any) -> list[str] | None:
        if all(len(phrase.words) == 1 for phrases in self.query for phrase in phrases):
            return words if matches(self.query, words) else None
        # To tell the texts of a payload apart takes three times as long, and most have no phrase.
        required = self.query._replace(excluded=())
        if required and not matches(required, words):
            return None
        words = words_apart_in(kind, record)
        return words if matches(self.query, words) else None


def _terms(phrase: Phrase) -> list[Term]:
    *whole, last = phrase.words
    return [*map(Term, whole), Term(last, phrase.prefix)]


def _marks(column: str, values: Collection[str]) -> tuple[Term, ...]:
    return tuple(Term(mark(column, value)) for value in values)


class Checked(NamedTuple):
    """A record that is meant, with its words."""

    found: Found
    record: Any
    words: list[str]


class Finder:
    """The answers to one question, until a moment at which it gives up."""

    def __init__(self, store: Store, question: Question, *, drift: int, until: float) -> None:
        self._store = store
        self._question = question
        self._wanted = question.wanted()
        self._until = until
        self._since = -(2**62) if question.since is None else place_at(question.since)
        self._before = 2**62 if question.until is None else place_at(question.until) + drift + 1
        self.looked_down_to: int | None = None
        """The place down to which it looked, where it gave up."""
        self.newest_place = 0
        """That of the newest record that was weighed."""

    def newest(self, before: int | None, count: int) -> list[Checked]:
        """The last `count` before a place."""
        hits: list[Checked] = []
        before = self._before if before is None else min(before, self._before)
        size = max(_FIRST_LOOK, min(count, _LONGEST_LOOK))
        while len(hits) < count:
            found = self._find(before, size)
            hits += self._checked(found)
            if len(found) < size:
                break
            before = found[-1].place
            if self._is_over() and len(hits) < count:
                self.looked_down_to = before
                break
            size = min(size * 2, _LONGEST_LOOK)
        return hits[:count]

    def ranked(self, before: int | None, count: int) -> list[tuple[Checked, float]]:
        """The best `count` of the newest before a place, each with its score."""
        before = self._before if before is None else min(before, self._before)
        found = self._find(before, _RANKED)
        self.newest_place = found[0].place if found else 0
        average = sum(each.length for each in found) / max(len(found), 1)
        # All words are in each of them: the shorter one has more of them to say.
        found.sort(key=lambda each: (each.length, -each.place))
        hits: list[Checked] = []
        for begin in range(0, len(found), _BEST):
            if len(hits) >= max(count, _BEST) or (hits and self._is_over()):
                break
            hits += self._checked(found[begin : begin + _BEST])
        scored = [(hit, self._score(hit, average)) for hit in hits]
        best = sorted(scored[:_BEST], key=lambda each: (-each[1], -each[0].found.place))
        return [*best, *scored[_BEST:]][:count]

    def _find(self, before: int, limit: int) -> list[Found]:
        words = self._store.words
        return words.find(self._wanted, since=self._since, before=before, limit=limit)

    def _is_over(self) -> bool:
        return monotonic() >= self._until

    def _checked(self, found: Sequence[Found]) -> list[Checked]:
        """Those that are meant, in the same order."""
        records = self._records(found)
        return list(self._those_meant(found, records))

    def _those_meant(
        self, found: Sequence[Found], records: Mapping[tuple[int, int], Any]
    ) -> Iterator[Checked]:
        for each in found:
            record = records.get((each.kind, each.record_id))
            if record is not None:  # It was deleted meanwhile.
                words = self._question.words_of_hit(each.kind, record)
                if words is not None:
                    yield Checked(each, record, words)

    def _records(self, found: Sequence[Found]) -> dict[tuple[int, int], Any]:
        records: dict[tuple[int, int], Any] = {}
        for kind, sort in enumerate(SORTS):
            ids = tuple(each.record_id for each in found if each.kind == kind)
            if ids:
                columns = self._store.select(sort.table, (Filter("id", "in", ids),))
                records |= {(kind, r.id): r for r in sort.table.decode(columns)}
        return records

    def _score(self, hit: Checked, average: float) -> float:
        """BM25, every word being as rare as the other."""
        length = _LENGTH_WEIGHT * hit.found.length / max(average, 1)
        score = 0.0
        for phrase in self._question.query.required:
            for word, is_prefix in _terms(phrase):
                count = (
                    sum(each.startswith(word) for each in hit.words)
                    if is_prefix
                    else hit.words.count(word)
                )
                damped = count + _SATURATION * (1 - _LENGTH_WEIGHT + length)
                score += count * (_SATURATION + 1) / damped
        return score


def hit_of(query: WordQuery, hit: Checked, score: float | None = None) -> SearchHit:
    """A hit, with the piece of it that shows most."""
    kind, record = hit.found.kind, hit.record
    sort = SORTS[kind]
    field, text, highlights = _best_piece(query, kind, record)
    name: Any = sort.name
    return SearchHit(
        name,
        record.run_id,
        record.agent_id,
        getattr(record, sort.time),
        field,
        text,
        highlights,
        score,
        record,
    )


def _best_piece(
    query: WordQuery, kind: int, record: Any
) -> tuple[str, str, tuple[tuple[int, int], ...]]:
    """The field that has the most of what was looked for, and a line of it."""
    texts = list(texts_of(kind, record))
    pieces = [(field, piece) for field, text in texts if (piece := snippet(query, text))]
    if pieces:
        field, piece = max(pieces, key=lambda each: len(each[1].highlights))
        return field, piece.text, piece.highlights
    field, text = texts[0] if texts else (SORTS[kind].texts[0], "")
    return field, _beginning(text), ()


def _beginning(text: str) -> str:
    """One line, where nothing was looked for but what is not there."""
    line = " ".join(text[: _SHOWN * 2].split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
