"""The full-text index in PostgreSQL: per document an array of hashes of its words, under GIN.

Hashes take a third of the room of a `tsvector`, and what they confuse the records tell apart. A
second hash, of a word's first letters, finds words by their beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
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
_HALF = 2**31
"""What makes a number of 32 bits a signed one, as PostgreSQL's `integer` is."""
_FIRST_UNSPACED = "\u0e00"
"""From this code point on, most scripts put no spaces between words."""


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
        return list(map(Candidate._make, rows))

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
    letters = 1 if term.word >= _FIRST_UNSPACED else 3
    if len(term.word) < letters or term.word.isdigit():
        return set()
    return {_hash(f"*{term.word[:letters]}"), _hash(term.word)}


def _document_array(words: str) -> str:
    """Return the hashes of a document's words and of their beginnings, as an array literal.

    Short words and numbers have no beginning. In scripts without spaces a word is a pair of
    characters, and one is searched as a beginning.
    """
    each = words.split(" ")
    long = (w for w in each if len(w) > 3 and w[0] != MARK and not w.isdigit())
    pairs = (w for w in each if w >= _FIRST_UNSPACED and len(w) > 1)
    beginnings = {*(f"*{word[:3]}" for word in long), *(f"*{word[0]}" for word in pairs)}
    hashed = " ".join((words, *beginnings)).encode().split()
    return _array({crc32(word) - _HALF for word in hashed})


def _hash(word: str) -> int:
    return crc32(word.encode()) - _HALF


def _array(values: Iterable[int]) -> str:
    """Return whole numbers as a literal: the driver's own way for lists takes ten times as long."""
    return f"{{{','.join(map(str, values))}}}"
