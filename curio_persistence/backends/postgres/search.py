"""The words of records in PostgreSQL: a table of documents, beside it posting lists in pages.

A tsvector keeps every word of each record once more, in twice the room that its text takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

from curio_persistence.backends.postgres.posting_lists import (
    MergedError,
    PostgresPostings,
    Rows,
    array_text,
)
from curio_persistence.backends.postgres.postings import BLOCK
from curio_persistence.errors import PersistenceError
from curio_persistence.store.search_index import Document, Found, Wanted, WordIndex
from curio_persistence.tables import RUNS

_TRIES = 100
"""So often it begins anew where others put segments together."""


class PostgresWords(WordIndex):
    """Documents in a table. `qualified` is how the store names one, `place` what it is itself in
    words; `vacuum` makes room that deleted rows of tables took."""

    batch = 4_096

    def __init__(
        self,
        read: Callable[[str, tuple[Any, ...]], Rows],
        write: Callable[[str, tuple[Any, ...]], tuple[Rows, int]],
        vacuum: Callable[[Sequence[str]], None],
        qualified: Callable[[str], str],
        lock_key: int,
        place: str,
    ) -> None:
        self._read = read
        self._write = write
        self._vacuum = vacuum
        self._documents = qualified("agent_search_documents")
        self._state = qualified("agent_search_state")
        self._runs = qualified(RUNS.name)
        self._lock_key = lock_key
        self._postings = PostgresPostings(read, write, qualified, place)

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
        sql = (
            f"SELECT id FROM {self._runs} WHERE id = ANY(%s::bigint[]) "
            "FOR NO KEY UPDATE SKIP LOCKED"
        )
        return {ident for (ident,) in self._read(sql, (array_text(ids),))}

    def taken(self, places: Sequence[int]) -> set[int]:
        sql = f"SELECT place FROM {self._documents} WHERE place = ANY(%s::bigint[])"
        return {place for (place,) in self._read(sql, (array_text(places),))}

    def known(self, kind: int, ids: Sequence[int]) -> set[int]:
        sql = (
            f"SELECT record_id FROM {self._documents} "
            "WHERE kind = %s AND record_id = ANY(%s::bigint[])"
        )
        return {ident for (ident,) in self._read(sql, (kind, array_text(ids)))}

    def add(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        documents = sorted(documents, key=itemgetter(0))
        places, kinds, record_ids, lengths, words = zip(*documents, strict=True)
        numbers = self._postings.add(places, words)
        self._write(
            f"INSERT INTO {self._documents} (place, number, record_id, length, kind) "
            "SELECT * FROM unnest"
            "(%s::bigint[], %s::bigint[], %s::bigint[], %s::integer[], %s::smallint[])",
            tuple(map(array_text, (places, numbers, record_ids, lengths, kinds))),
        )

    def after_batch(self) -> None:
        if self._postings.written_anew >= BLOCK:
            self._postings.written_anew = 0
            with suppress(PersistenceError):  # Then the server does it by itself, if later.
                self._vacuum(("agent_search_postings", "agent_search_segments"))

    def remove(self, kind: int, ids: Sequence[int], words: Callable[[], Mapping[int, str]]) -> None:
        rows, _ = self._write(
            f"DELETE FROM {self._documents} WHERE kind = %s AND record_id = ANY(%s::bigint[]) "
            "RETURNING number",
            (kind, array_text(ids)),
        )
        if rows:
            self._postings.forget([number for (number,) in rows])

    def find(self, wanted: Wanted, *, since: int, before: int, limit: int) -> list[Found]:
        for _ in range(_TRIES):
            with suppress(MergedError):
                return self._find(wanted, since, before, limit)
        raise self._postings.damage("damaged: its segments and their places differ")

    def _find(self, wanted: Wanted, since: int, before: int, limit: int) -> list[Found]:
        found: list[Found] = []
        for places in self._postings.find(wanted, since, before):
            while places and len(found) < limit:
                some = places[: limit - len(found)]
                places = places[len(some) :]
                found += self._living(some)
            if len(found) >= limit:
                break
        return found

    def _living(self, places: Sequence[int]) -> list[Found]:
        """Who is there now: it may have another number than when the places were found."""
        sql = (
            f"SELECT place, kind, record_id, length FROM {self._documents} "
            "WHERE place = ANY(%s::bigint[]) ORDER BY place DESC"
        )
        return list(map(Found._make, self._read(sql, (array_text(places),))))

    def counts(self) -> dict[int, int]:
        return dict(self._read(f"SELECT kind, count(*) FROM {self._documents} GROUP BY kind", ()))

    def clear(self) -> None:
        self._write(f"DELETE FROM {self._documents}", ())
        self._postings.clear()

    def check(self) -> str:
        return self._postings.check()

    def tidy(self) -> None:
        """Leave no word of what was forgotten."""
        self.lock()
        self._postings.write_anew(self._numbers_at)

    def _numbers_at(self, places: Sequence[int]) -> set[int]:
        sql = f"SELECT number FROM {self._documents} WHERE place = ANY(%s::bigint[])"
        return {number for (number,) in self._read(sql, (array_text(places),))}
