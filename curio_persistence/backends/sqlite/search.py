"""The full-text index in SQLite: an FTS5 table that stores neither texts nor positions of words.

Texts come split and normalized, so its tokenizer only has to separate words at the spaces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from curio_persistence.backends.sql.search import RUN, SQLSearchIndex
from curio_persistence.errors import PersistenceError, UnsupportedError
from curio_persistence.store.search_index import Candidate, Clause, Document, Term

_DOCUMENTS = "agent_search_documents"
_WORDS = "agent_search_words"

_CREATE = (
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {_WORDS} USING fts5"
    "(words, content = '', detail = none, columnsize = 0, tokenize = 'ascii')"
)
# One statement for many rows: at each statement the interpreter gives the GIL away and waits.
_INSERT_WORDS = (
    f"INSERT INTO {_WORDS} (rowid, words) SELECT CAST(key AS INTEGER), value FROM json_each(?)"
)
_REMOVE_WORDS = (
    f"INSERT INTO {_WORDS} ({_WORDS}, rowid, words) "
    "SELECT 'delete', CAST(key AS INTEGER), value FROM json_each(?)"
)
_INSERT = (
    f"INSERT INTO {_DOCUMENTS} (slot, kind, record_id, length, words) "
    "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
    "json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(?) WHERE true "
    "ON CONFLICT (kind, record_id) DO UPDATE "
    "SET slot = excluded.slot, length = excluded.length, words = excluded.words"
)
_FIND = (
    f"SELECT d.slot, d.kind, d.record_id, d.length FROM {_WORDS} w "
    f"JOIN {_DOCUMENTS} d ON d.slot = w.rowid "
    f"WHERE {_WORDS} MATCH ? AND w.rowid >= ? AND w.rowid < ? ORDER BY w.rowid DESC LIMIT ?"
)
_NEWEST = (
    f"SELECT slot, kind, record_id, length FROM {_DOCUMENTS} "
    "WHERE slot >= ? AND slot < ? ORDER BY slot DESC LIMIT ?"
)


class SQLiteSearchIndex(SQLSearchIndex):
    """Documents in a table, their words in an FTS5 table whose row ids are the slots."""

    removal_needs_words = True
    _value = "?"
    _any_of = "IN (SELECT value FROM json_each(?))"

    def _numbers(self, values: Sequence[int]) -> str:
        return _json(values)

    def put(self, documents: Sequence[Document]) -> None:
        self._create()
        self._remove_words(RUN, [each.record_id for each in documents if each.kind == RUN], {})
        # In order: the newest are at the end of each list.
        documents = sorted(documents)
        self._write(_INSERT_WORDS, (_json({each.slot: each.words for each in documents}),))
        rows = [each if each.kind == RUN else (*each[:4], None) for each in documents]
        self._write(_INSERT, (_json(rows),))

    def _create(self) -> None:
        if self._exists():
            return
        try:
            self._write(_CREATE, ())
        except PersistenceError as error:
            if "no such module" not in str(error):
                raise
            raise UnsupportedError(
                "This Python's SQLite was built without FTS5, which search needs. Use another "
                "Python, or search=False."
            ) from error.__cause__

    def _exists(self) -> bool:
        # Not cached: a rollback removes the table that its transaction created.
        return bool(self._read("SELECT 1 FROM sqlite_master WHERE name = ?", (_WORDS,)))

    def remove(self, kind: int, ids: Sequence[int], words: Mapping[int, str]) -> None:
        self._remove_words(kind, ids, words)
        super().remove(kind, ids, words)

    def _remove_words(self, kind: int, ids: Sequence[int], words: Mapping[int, str]) -> None:
        """Remove records from FTS5, as far as their words are known.

        Words left behind make a search look at a record in vain, no more.
        """
        sql = f"SELECT slot, record_id, words FROM {_DOCUMENTS} WHERE {self._of_records}"
        rows = self._read(sql, (kind, _json(ids))) if ids else []
        known = {slot: each for slot, ident, text in rows if (each := text or words.get(ident))}
        if known:
            self._write(_REMOVE_WORDS, (_json(known),))

    def find(
        self, clauses: Sequence[Clause], *, since: int, before: int, limit: int
    ) -> list[Candidate]:
        if clauses and not self._exists():
            return []
        sql, values = (_FIND, (" AND ".join(map(_clause, clauses)),)) if clauses else (_NEWEST, ())
        rows = self._read(sql, (*values, since, before, limit))
        return list(starmap(Candidate, rows))

    def clear(self) -> None:
        super().clear()
        if self._exists():  # It is never dropped: another process may be reading it.
            self._write(f"INSERT INTO {_WORDS} ({_WORDS}) VALUES ('delete-all')", ())

    def check(self) -> str:
        if not self._exists():
            return ""
        try:
            self._write(f"INSERT INTO {_WORDS} ({_WORDS}) VALUES ('integrity-check')", ())
        except PersistenceError as error:
            return str(error)
        return ""

    def optimize(self) -> None:
        if self._exists():
            self._write(f"INSERT INTO {_WORDS} ({_WORDS}) VALUES ('optimize')", ())


def _clause(clause: Clause) -> str:
    """Return a clause in FTS5's language. Words contain nothing that could end a quotation."""
    return f"({' OR '.join(map(_term, clause))})"


def _term(term: Term) -> str:
    return f'"{term.word}"*' if term.is_prefix else f'"{term.word}"'


def _json(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False)
