"""The full-text index in PostgreSQL: per document an array of hashes of its words, under GIN.

Hashes take a third of the room of a `tsvector`, and what they confuse the records tell apart. A
second hash, of a word's first letters, finds words by their beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain, starmap
from typing import Any
from zlib import crc32

from curio_persistence.backends.sql.search import Rows, SQLSearchIndex
from curio_persistence.errors import PersistenceError
from curio_persistence.store.search_index import (
    MARK,
    Candidate,
    Clause,
    Document,
    Term,
)

_PLANNING = "SET LOCAL random_page_cost = 1.1;"
"""Holds for the one statement after it, or until the caller's transaction ends.

The planner takes comparing arrays to cost next to nothing. With the usual page cost it then passes
over all documents, newest first, where GIN finds the few that match in a third of the time.
"""
_ANALYZED_AFTER = 10_000
"""Documents stored before the planner's statistics are refreshed; then twice as many."""
_FIRST_UNSPACED = "\u0e00"
"""From this code point on, most scripts put no spaces between words."""

_MOST_KNOWN = 100_000
"""Words whose hashes are remembered."""


class PostgresSearchIndex(SQLSearchIndex):
    """Hashes of words in a column. `maintain` runs a statement outside any transaction."""

    _value = "%s"
    _any_of = "= ANY(%s::bigint[])"

    def __init__(
        self,
        read: Callable[[str, tuple[Any, ...]], Rows],
        write: Callable[[str, tuple[Any, ...]], tuple[Rows, int]],
        qualified: Callable[[str], str],
        maintain: Callable[[str], None],
    ) -> None:
        super().__init__(read, write, qualified)
        self._maintain = maintain
        self._stored = 0
        self._analyzed_after = _ANALYZED_AFTER

    def _numbers(self, values: Sequence[int]) -> str:
        return _array(values)

    def lock(self, table: str, ids: Sequence[int]) -> set[int]:
        # This lock lets events of a run be stored meanwhile.
        sql = (
            f"SELECT id FROM {self._qualified(table)} WHERE id = ANY(%s::bigint[]) "
            "FOR NO KEY UPDATE SKIP LOCKED"
        )
        return {ident for (ident,) in self._read(sql, (_array(ids),))}

    def put(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        *columns, words = zip(*documents, strict=True)
        self._write(
            f"INSERT INTO {self._documents} (slot, kind, record_id, length, words) "
            "SELECT slot, kind, record_id, length, words::integer[] FROM unnest(%s::bigint[], "
            "%s::smallint[], %s::bigint[], %s::integer[], %s::text[]) "
            "AS new (slot, kind, record_id, length, words) "
            "ON CONFLICT (kind, record_id) DO UPDATE "
            "SET slot = excluded.slot, length = excluded.length, words = excluded.words",
            (*map(_array, columns), list(map(_document_array, words))),
        )

    def find(
        self, clauses: Sequence[Clause], *, since: int, before: int, limit: int
    ) -> list[Candidate]:
        # The driver puts the values into the text: the planner has to see which words are rare.
        conditions, values = _conditions(clauses)
        rows = self._read(
            f"{_PLANNING} SELECT slot, kind, record_id, length FROM {self._documents} "
            f"WHERE {conditions} slot >= %s AND slot < %s ORDER BY slot DESC LIMIT %s",
            (*values, since, before, limit),
        )
        return list(starmap(Candidate, rows))

    def check(self) -> str:
        return ""  # The server's own index: `amcheck` knows more.

    def after_indexing(self, count: int) -> None:
        self._stored += count
        if self._stored >= self._analyzed_after:
            self._analyzed_after *= 2
            with suppress(PersistenceError):  # Autovacuum does it too, later.
                self._maintain(f"ANALYZE (SKIP_LOCKED) {self._documents}")

    def optimize(self) -> None:
        """Refuse a role that may not rewrite the table: the store's VACUUM would only warn."""
        self._write(f"DELETE FROM {self._documents} WHERE false", ())


def _conditions(clauses: Sequence[Clause]) -> tuple[str, list[str]]:
    """Return SQL that the words of a document meet, each part followed by AND, and its values."""
    asked = [hashes for clause in clauses if (hashes := _hashes_of_clause(clause))]
    every = [one for one, *more in asked if not more]
    several = [hashes for hashes in asked if len(hashes) > 1]
    values = [_array(every)] if every else []
    return (
        "words @> %s::integer[] AND " * len(values) + "words && %s::integer[] AND " * len(several),
        values + list(map(_array, several)),
    )


def _hashes_of_clause(clause: Clause) -> set[int]:
    """Return hashes of which a document needs one; none where the index cannot tell."""
    hashes = list(map(_hashes_of_term, clause))
    return set().union(*hashes) if all(hashes) else set()


def _hashes_of_term(term: Term) -> set[int]:
    if not term.is_prefix:
        return {_hash(term.word)}
    letters = _letters(term.word)
    if len(term.word) < letters or term.word.isdigit():
        return set()
    return {_hash(f"*{term.word[:letters]}"), _hash(term.word)}


def _document_array(words: str) -> str:
    """Return the hashes of a document's words, as an array literal."""
    return f"{{{','.join(set(chain.from_iterable(map(_HASHES.__getitem__, words.split(' ')))))}}}"


class _Hashes(dict[str, tuple[str, ...]]):
    """For a word its hash and the hash of its beginning, which short words and numbers lack."""

    def __missing__(self, word: str) -> tuple[str, ...]:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        letters = _letters(word)
        if len(word) <= letters or word.isdigit() or word.startswith(MARK):
            hashes: tuple[str, ...] = (str(_hash(word)),)
        else:
            hashes = (str(_hash(word)), str(_hash(f"*{word[:letters]}")))
        self[word] = hashes
        return hashes


_HASHES = _Hashes()


def _letters(word: str) -> int:
    """Return how many letters of a word's beginning are hashed.

    In scripts without spaces a word is a pair of characters, and one is searched as a beginning.
    """
    return 1 if word >= _FIRST_UNSPACED else 3


def _hash(word: str) -> int:
    """Return a signed number of 32 bits, as PostgreSQL's `integer` is."""
    unsigned = crc32(word.encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


def _array(values: Iterable[int]) -> str:
    """Return whole numbers as a literal: the driver's own way for lists takes ten times as long."""
    return f"{{{','.join(map(str, values))}}}"
