"""The words of records in PostgreSQL: a tsvector without places, found by a GIN index.

Words come split and folded, so the server's own parsers and dictionaries have no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from curio_persistence.store.tables import RUNS
from curio_persistence.store.word_index import Document, Found, Term, Wanted, WordIndex, Words

_LONGEST = 24
"""So many characters of a word are kept. A tsvector holds a megabyte, which is 10,000 such words of
four octets a character, and `array_to_tsvector` loses without a word what is more."""


class PostgresWords(WordIndex):
    """Documents in a table. `qualified` is how the store names one."""

    def __init__(
        self,
        read: Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]],
        write: Callable[[str, tuple[Any, ...]], object],
        qualified: Callable[[str], str],
        lock_key: int,
    ) -> None:
        self._read = read
        self._write = write
        self._documents = qualified("agent_search_documents")
        self._state = qualified("agent_search_state")
        self._runs = qualified(RUNS.name)
        self._lock_key = lock_key

    def notes(self) -> dict[str, str]:
        return dict(self._read(f"SELECT name, value FROM {self._state}", ()))

    def note(self, **values: str) -> None:
        for noted in values.items():
            self._write(
                f"INSERT INTO {self._state} (name, value) VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                noted,
            )

    def lock(self) -> None:
        self._write("SELECT pg_advisory_xact_lock(%s)", (self._lock_key,))

    def try_to_lock(self) -> bool:
        [(locked,)] = self._read("SELECT pg_try_advisory_xact_lock(%s)", (self._lock_key,))
        return bool(locked)

    def claim_runs(self, ids: Sequence[int]) -> set[int]:
        # Events of a run can go on coming.
        sql = f"SELECT id FROM {self._runs} WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED"
        return {ident for (ident,) in self._read(sql, (list(ids),))}

    def taken(self, places: Sequence[int]) -> set[int]:
        sql = f"SELECT place FROM {self._documents} WHERE place = ANY(%s)"
        return {place for (place,) in self._read(sql, (list(places),))}

    def known(self, kind: int, ids: Sequence[int]) -> set[int]:
        sql = f"SELECT record_id FROM {self._documents} WHERE kind = %s AND record_id = ANY(%s)"
        return {ident for (ident,) in self._read(sql, (kind, list(ids)))}

    def add(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        *numbers, words = zip(*documents, strict=True)
        self._write(
            f"INSERT INTO {self._documents} (place, kind, record_id, length, words) "
            "SELECT place, kind, record_id, length, array_to_tsvector(string_to_array(words, ' ')) "
            "FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::integer[], %s::text[]) "
            "AS t (place, kind, record_id, length, words) ORDER BY place",
            (*map(list, numbers), [" ".join(map(_cut, each)) for each in words]),
        )

    def after_many(self) -> None:
        # Without statistics the server takes a rare word for a frequent one, and looks for it row
        # by row; its own analysing comes within minutes.
        self._write(f"ANALYZE {self._documents}", ())

    def remove(
        self, kind: int, ids: Sequence[int], words: Callable[[], Mapping[int, Words]]
    ) -> None:
        sql = f"DELETE FROM {self._documents} WHERE kind = %s AND record_id = ANY(%s)"
        self._write(sql, (kind, list(ids)))

    def find(self, wanted: Wanted, *, since: int, before: int, limit: int) -> list[Found]:
        sql = (
            f"SELECT place, kind, record_id, length FROM {self._documents} "
            "WHERE words @@ %s::tsquery AND place >= %s AND place < %s "
            "ORDER BY place DESC LIMIT %s"
        )
        return list(map(Found._make, self._read(sql, (_query(wanted), since, before, limit))))

    def counts(self) -> dict[int, int]:
        return dict(self._read(f"SELECT kind, count(*) FROM {self._documents} GROUP BY kind", ()))

    def clear(self) -> None:
        self._write(f"DELETE FROM {self._documents}", ())

    def check(self) -> str:
        return ""


def _query(wanted: Wanted) -> str:
    """A tsquery. Words have nothing in them that could end a quotation."""
    every = " & ".join(_any(group) for group in wanted.groups)
    # A word that was cut may stand for others.
    none = [term for term in wanted.none if len(term.word) < _LONGEST]
    return f"{every} & !{_any(none)}" if none else every


def _any(terms: Iterable[Term]) -> str:
    return f"({' | '.join(map(_term, terms))})"


def _term(term: Term) -> str:
    return f"'{_cut(term.word)}':*" if term.is_prefix else f"'{_cut(term.word)}'"


def _cut(word: str) -> str:
    return word[:_LONGEST]
