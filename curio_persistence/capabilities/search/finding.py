"""Ask the index which records may match, and return those that do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

from curio_persistence.capabilities.search.documents import (
    KINDS,
    mark,
    slot_at,
    texts_of,
    tokenize_apart,
    tokenize_record,
)
from curio_persistence.capabilities.search.hits import SearchHit
from curio_persistence.capabilities.search.rows import RowCandidates
from curio_persistence.models import AgentLLMUsage
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.search_index import Candidate, Clause, Term
from curio_persistence.store.table import Columns
from curio_persistence.text.query import Phrase, WordQuery, matches
from curio_persistence.text.snippets import Snippet, snippet
from curio_persistence.text.tokenizer import split_camel_case

_MOST_TERMS = 32
"""Words that the index is asked for; the records are asked for all."""
_MOST_VALUES = 1_000
"""Values of a column that the index is asked for; of more, only the records are."""
_FIRST_LOOK = 20
_LONGEST_LOOK = 2_000
"""Records looked at in one query: first, and at most."""
_RANKED = 10_000
_BEST = 200
"""The newest candidates to consider, and the shortest of these to rank by word frequency."""
_SHOWN = 160
_SATURATION, _LENGTH_WEIGHT = 1.2, 0.75
"""BM25's k1 and b, at their usual values."""


class Question(NamedTuple):
    """A query, and for some columns the values of which a record must have one.

    A model call has the session of its run: `runs` are the runs of the wanted session.
    """

    query: WordQuery
    values: Mapping[str, tuple[str, ...]]
    runs: frozenset[str]
    since: datetime | None
    until: datetime | None

    def can_be_met(self) -> bool:
        """Return False where no record can match."""
        return bool(self.query) and all(self.values.values())

    def clauses(self) -> tuple[Clause, ...]:
        """Return the clauses of the index query: candidates match these, and perhaps not the rest.

        Exclusions are left to the records, since the index may know more words than a record has.
        """
        words = {term for phrase in self.query.required for term in _terms(phrase)}
        # The longest are the rarest.
        longest = sorted(words, key=lambda term: (-len(term.word), term))[:_MOST_TERMS]
        return (*((word,) for word in longest), *filter(None, map(self._marks, self.values)))

    def _marks(self, column: str) -> Clause:
        """Return the marks of a column's wanted values, none if these are too many."""
        marks = _marks(column, self.values[column])
        if column == "session_id":
            marks += _marks("run_id", self.runs)
        return marks if len(marks) <= _MOST_VALUES else ()

    def words_of_hit(self, kind: int, record: Any) -> list[str] | None:
        """Return the words of a record that matches, None for another one."""
        time = getattr(record, KINDS[kind].time)
        if (
            (self.since is not None and time < self.since)
            or (self.until is not None and time >= self.until)
            or not all(self._has(record, name) for name in self.values)
        ):
            return None
        return self._if_they_match(tokenize_record(kind, record), kind, record)

    def _has(self, record: Any, name: str) -> bool:
        if name == "session_id" and isinstance(record, AgentLLMUsage):
            return record.run_id in self.runs
        return getattr(record, name, None) in self.values[name]  # Not every kind has each column.

    def _if_they_match(self, words: list[str], kind: int, record: Any) -> list[str] | None:
        if all(len(phrase.words) == 1 for phrases in self.query for phrase in phrases):
            return words if matches(self.query, words) else None
        # Separating the texts of a payload takes three times as long; most queries have no phrase.
        required = self.query._replace(excluded=())
        if required and not matches(required, words):
            return None
        words = tokenize_apart(kind, record)
        return words if matches(self.query, words) else None


def _terms(phrase: Phrase) -> list[Term]:
    *whole, last = phrase.words
    return [*map(Term, whole), Term(last, phrase.prefix)]


def _marks(column: str, values: Collection[str]) -> Clause:
    return tuple(Term(mark(column, value), stands_for=(column, value)) for value in values)


class Match(NamedTuple):
    """A record that matches, with its words."""

    candidate: Candidate
    record: Any
    words: list[str]


class Finder:
    """Finds the records that match one question, until its deadline."""

    def __init__(self, store: Store, question: Question, *, drift: int, until: float) -> None:
        self._store = store
        self._question = question
        self._clauses = question.clauses()
        self._until = until
        self._source = source = store.candidates or RowCandidates(store)
        since = -(2**62) if question.since is None else slot_at(question.since)
        before = 2**62 if question.until is None else slot_at(question.until) + drift + 1
        self._since, self._before = since * source.slots_per_ms, before * source.slots_per_ms
        self.gave_up_at: int | None = None
        """The slot down to which it looked, if it gave up."""
        self.newest_slot = 0
        """The slot of the newest record that was ranked."""

    def newest(self, before: int | None, count: int) -> list[Match]:
        """Return the last `count` matches before a slot."""
        hits: list[Match] = []
        before = self._before if before is None else min(before, self._before)
        size = max(_FIRST_LOOK, min(count, _LONGEST_LOOK))
        while len(hits) < count:
            found = self._find(before, size)
            hits += self._verified(found)
            if len(found) < size:
                break
            before = found[-1].slot
            if self._is_over() and len(hits) < count:
                self.gave_up_at = before
                break
            size = min(size * 2, _LONGEST_LOOK)
        return hits[:count]

    def ranked(self, before: int | None, count: int) -> list[tuple[Match, float]]:
        """Return the best `count` of the newest matches before a slot, with their scores."""
        before = self._before if before is None else min(before, self._before)
        found = self._find(before, _RANKED)
        self.newest_slot = found[0].slot if found else 0
        average = sum(each.length for each in found) / max(len(found), 1)
        # All words are in each of them: they make up more of a shorter one.
        found.sort(key=lambda each: (each.length, -each.slot))
        hits: list[Match] = []
        for begin in range(0, len(found), _BEST):
            if len(hits) >= max(count, _BEST) or (hits and self._is_over()):
                break
            hits += self._verified(found[begin : begin + _BEST])
        scored = [(hit, self._score(hit, average)) for hit in hits]
        best = sorted(scored[:_BEST], key=lambda each: (-each[1], -each[0].candidate.slot))
        return [*best, *scored[_BEST:]][:count]

    def _find(self, before: int, limit: int) -> list[Candidate]:
        return self._source.find(self._clauses, since=self._since, before=before, limit=limit)

    def _is_over(self) -> bool:
        return monotonic() >= self._until

    def _verified(self, found: Sequence[Candidate]) -> list[Match]:
        """Return the candidates that match, in the same order."""
        records = self._records(found)
        matches = []
        for each in found:
            record = records.get((each.kind, each.record_id))
            if record is not None:  # Else the record was deleted.
                words = self._question.words_of_hit(each.kind, record)
                if words is not None:
                    matches.append(Match(each, record, words))
        return matches

    def _records(self, found: Sequence[Candidate]) -> dict[tuple[int, int], Any]:
        records: dict[tuple[int, int], Any] = {}
        for number, table in enumerate(kind.table for kind in KINDS):
            of_kind = [each for each in found if each.kind == number]
            read: Columns = [
                *zip(*(c.values for c in of_kind if c.values is not None), strict=True)
            ]
            ids = tuple(each.record_id for each in of_kind if each.values is None)
            stored = self._store.indexed.select(table, (Filter("id", "in", ids),)) if ids else []
            for columns in filter(None, (read, stored)):
                records |= {(number, record.id): record for record in table.decode(columns)}
        return records

    def _score(self, hit: Match, average: float) -> float:
        """Return the BM25 score, as if all words were equally rare."""
        length = _LENGTH_WEIGHT * hit.candidate.length / max(average, 1)
        score = 0.0
        for phrase in self._question.query.required:
            for word, is_prefix, _ in _terms(phrase):
                count = (
                    sum(each.startswith(word) for each in hit.words)
                    if is_prefix
                    else hit.words.count(word)
                )
                damped = count + _SATURATION * (1 - _LENGTH_WEIGHT + length)
                score += count * (_SATURATION + 1) / damped
        return score


def hit_of(query: WordQuery, hit: Match, score: float | None = None) -> SearchHit:
    """Return the hit of a match, with its best line."""
    kind, record = hit.candidate.kind, hit.record
    field, text, highlights = _best_piece(query, kind, record)
    name: Any = KINDS[kind].name
    return SearchHit(
        name,
        record.run_id,
        record.agent_id,
        getattr(record, KINDS[kind].time),
        field,
        text,
        highlights,
        score,
        record,
    )


def _best_piece(
    query: WordQuery, kind: int, record: Any
) -> tuple[str, str, tuple[tuple[int, int], ...]]:
    """Return the field with the most highlights, a line of it, and these."""
    texts = list(texts_of(kind, record))
    pieces = _pieces(query, texts)
    if not pieces:
        split = [(field, parts) for field, text in texts if (parts := split_camel_case(text))]
        pieces = _pieces(query, split)
    if pieces:
        field, piece = max(pieces, key=lambda each: len(each[1].highlights))
        return field, piece.text, piece.highlights
    field, text = texts[0] if texts else (KINDS[kind].texts[0], "")
    return field, _beginning(text), ()


def _pieces(query: WordQuery, texts: Iterable[tuple[str, str]]) -> list[tuple[str, Snippet]]:
    return [(field, piece) for field, text in texts if (piece := snippet(query, text))]


def _beginning(text: str) -> str:
    """Return one line for a query that only excludes."""
    line = " ".join(text[: _SHOWN * 2].split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
