"""The words of records in SQLite: an FTS5 table that keeps neither texts nor places of words.

Words come split and folded, so all that its tokenizer has to do is to part them at the spaces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from curio_persistence.errors import PersistenceError, UnsupportedError
from curio_persistence.store.search_index import Document, Found, Term, Wanted, WordIndex

_DOCUMENTS = "agent_search_documents"
_WORDS = "agent_search_words"
_STATE = "agent_search_state"

_CREATE = (
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {_WORDS} USING fts5"
    "(words, content = '', detail = none, columnsize = 0, tokenize = 'ascii')"
)
# All at once: at each statement the interpreter would be given away, and taken back.
_INSERT = (
    f"INSERT INTO {_WORDS} (rowid, words) "
    "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"
)
_FORGET = f"INSERT INTO {_WORDS} ({_WORDS}, rowid, words) VALUES ('delete', ?, ?)"
_INSERT_DOCUMENTS = (
    f"INSERT INTO {_DOCUMENTS} (place, kind, record_id, length, words) "
    "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
    "json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(?)"
)
_FIND = (
    f"SELECT d.place, d.kind, d.record_id, d.length FROM {_WORDS} w "
    f"JOIN {_DOCUMENTS} d ON d.place = w.rowid "
    f"WHERE {_WORDS} MATCH ? AND w.rowid >= ? AND w.rowid < ? ORDER BY w.rowid DESC LIMIT ?"
)
_RUN = 0
"""The kind whose records change: theirs are the only words that have to be kept."""


class SQLiteWords(WordIndex):
    """Documents in a table, their words in an FTS5 table whose rows have the places for ids."""

    def __init__(
        self,
        read: Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]],
        write: Callable[[str, tuple[Any, ...]], object],
    ) -> None:
        self._read = read
        self._write = write

    def notes(self) -> dict[str, str]:
        return dict(self._read(f"SELECT name, value FROM {_STATE}", ()))

    def note(self, **values: str) -> None:
        for noted in values.items():
            self._write(f"INSERT OR REPLACE INTO {_STATE} (name, value) VALUES (?, ?)", noted)

    def lock(self) -> None:
        """Who writes to the file is alone."""

    def taken(self, places: Sequence[int]) -> set[int]:
        return self._one_column(
            f"SELECT place FROM {_DOCUMENTS} WHERE place IN (SELECT value FROM json_each(?))",
            (_json(places),),
        )

    def known(self, kind: int, ids: Sequence[int]) -> set[int]:
        return self._one_column(
            f"SELECT record_id FROM {_DOCUMENTS} "
            "WHERE kind = ? AND record_id IN (SELECT value FROM json_each(?))",
            (kind, _json(ids)),
        )

    def _one_column(self, sql: str, params: tuple[Any, ...]) -> set[int]:
        return {value for (value,) in self._read(sql, params)}

    def add(self, documents: Sequence[Document]) -> None:
        self._make()
        # In order: the newest are found at the end of each list.
        documents = sorted(documents)
        self._write(_INSERT, (_json([(each.place, each.words) for each in documents]),))
        kept = [each if each.kind == _RUN else (*each[:4], None) for each in documents]
        self._write(_INSERT_DOCUMENTS, (_json(kept),))

    def _make(self) -> None:
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
        # Not remembered: what a transaction has made is gone when that is undone.
        return bool(self._read("SELECT 1 FROM sqlite_master WHERE name = ?", (_WORDS,)))

    def remove(self, kind: int, ids: Sequence[int], words: Callable[[], Mapping[int, str]]) -> None:
        rows = self._read(
            f"SELECT record_id, place, words FROM {_DOCUMENTS} "
            "WHERE kind = ? AND record_id IN (SELECT value FROM json_each(?))",
            (kind, _json(ids)),
        )
        if not rows:
            return
        indexed_with = {} if kind == _RUN else words()
        for ident, place, kept in rows:
            text = kept if kept is not None else indexed_with.get(ident, "")
            self._write(_FORGET, (place, text))
            self._write(f"DELETE FROM {_DOCUMENTS} WHERE place = ?", (place,))

    def find(self, wanted: Wanted, *, since: int, before: int, limit: int) -> list[Found]:
        if not self._exists():
            return []
        params = (_match(wanted), since, before, limit)
        return list(map(Found._make, self._read(_FIND, params)))

    def counts(self) -> dict[int, int]:
        return dict(self._read(f"SELECT kind, count(*) FROM {_DOCUMENTS} GROUP BY kind", ()))

    def clear(self) -> None:
        self._write(f"DELETE FROM {_DOCUMENTS}", ())
        self._write(f"DROP TABLE IF EXISTS {_WORDS}", ())

    def check(self) -> str:
        if not self._exists():
            return ""
        try:
            self._write(f"INSERT INTO {_WORDS} ({_WORDS}) VALUES ('integrity-check')", ())
        except PersistenceError as error:
            return str(error)
        return ""

    def tidy(self) -> None:
        """Make of all that was written one sorted whole, in which nothing forgotten is left."""
        if self._exists():
            self._write(f"INSERT INTO {_WORDS} ({_WORDS}) VALUES ('optimize')", ())


def _match(wanted: Wanted) -> str:
    """A query in FTS5's language. Words have nothing in them that could end a quotation."""
    every = " AND ".join(_any(group) for group in wanted.groups)
    return f"({every}) NOT {_any(wanted.none)}" if wanted.none else every


def _any(terms: Iterable[Term]) -> str:
    return f"({' OR '.join(map(_term, terms))})"


def _term(term: Term) -> str:
    return f'"{term.word}"*' if term.is_prefix else f'"{term.word}"'


def _json(values: Sequence[Any]) -> str:
    return json.dumps(values, ensure_ascii=False)
