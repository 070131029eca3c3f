"""Store the long parts of rows, each once in its scope, and markers in their place."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from curio_persistence.content.markers import number_of, scope_of, to_bytes
from curio_persistence.content.resolving import SHARING
from curio_persistence.content.splitting import LONG, PART, GrownText, split
from curio_persistence.errors import BusyError, ConflictError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import CONTENT, RUNS

_ATTEMPTS = 100
_FEW = 8
"""The blobs that take less time one by one."""
_LAST = 16
"""The places at which a text is looked up first: little of it is new."""


def has_long_text(table: Table[Any], row: Row) -> bool:
    """Return whether a row has a text that is long enough to be stored once."""
    for name in SHARING[table.name]:
        text: Any = row.get(name)
        if text is not None and len(text) >= LONG:
            return True
    return False


def with_markers(store: Store, table: Table[Any], rows: Sequence[Row]) -> list[Row]:
    """Store the long parts of rows, and return the rows with markers. Call it in a transaction."""
    long = [row for row in rows if has_long_text(table, row)]
    sessions = _sessions(store, {row["run_id"] for row in long if not row.get("session_id")})
    parts, marked = _Parts(store), list[Row]()
    for row in rows:
        scope = _scope(row, sessions) if has_long_text(table, row) else None
        marked.append(row if scope is None else parts.taken_from(row, SHARING[table.name], scope))
    parts.store()
    return marked


def _sessions(store: Store, run_ids: Collection[Any]) -> dict[Any, Any]:
    """Return the sessions of runs."""
    ids = tuple(run_id for run_id in run_ids if run_id is not None)
    where = (Filter("run_id", "in", ids), Filter("session_id", "is not null"))
    return dict(store.select_columns(RUNS, ("run_id", "session_id"), where)) if ids else {}


def _scope(row: Row, sessions: dict[Any, Any]) -> str | None:
    """Return the scope of a row: its session, or that of its run, or its run; None without any."""
    run_id = row["run_id"]
    if session_id := row.get("session_id") or sessions.get(run_id):
        return scope_of("session", str(session_id))
    return None if run_id is None else scope_of("run", str(run_id))


class _Parts:
    """The long parts of some rows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts: dict[str, str] = {}
        self._grown: list[GrownText] = []

    def taken_from(self, row: Row, names: Iterable[str], scope: str) -> Row:
        """Return a row with markers in place of its long parts."""
        changes: Row = {}
        for name in names:
            text: Any = row.get(name)
            if text is None or len(text) < PART or (parts := split(scope, text)) is None:
                continue
            changes[name] = parts.shape
            self._texts |= parts.texts
            self._grown += parts.grown
        return {**row, **changes, "content_scope": scope} if changes else row

    def store(self) -> None:
        """Store the parts that are not stored yet."""
        for _ in range(_ATTEMPTS if self._texts or self._grown else 0):
            plan = _Plan(self._store)
            plan.add(self._texts, self._grown)
            if not plan.keeps_what_it_uses():
                continue  # A deletion was faster.
            try:
                plan.store_new()
            except ConflictError:
                continue  # Another transaction has stored one of these.
            return
        if self._texts or self._grown:
            raise BusyError("Other transactions keep storing and deleting these texts; try again.")


class _Stored(NamedTuple):
    """A blob that is stored already."""

    id: int
    chain: int | None


class _Plan:
    """The parts that are to be stored, and those that are stored already."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, _Stored] = {}
        self._new: dict[str, int | None] = {}
        """The chain of each new blob."""
        self._used = set[int]()
        self.new: list[Row] = []

    def add(self, texts: dict[str, str], grown: Sequence[GrownText]) -> None:
        """Decide which parts are new."""
        self._look_up({*texts, *(a for each in grown for a in each.addresses[-_LAST:])})
        inner = dict[str, str]()
        for each in grown:
            if not self._is_there(each.addresses[-1]):
                for stop in each.stops:
                    inner |= self._add_grown(each, stop)
        self._look_up(inner.keys() - texts.keys())
        for address, text in {**texts, **inner}.items():
            if not self._is_there(address):
                self._add(address, text, len(text))

    def keeps_what_it_uses(self) -> bool:
        """Return whether what is stored already stays until the end of the transaction."""
        if not self._used or self._store.writers_wait:
            return True
        return len(self._store.lock_rows(CONTENT, self._used, shared=True)) == len(self._used)

    def store_new(self) -> None:
        """Store what is new, in the order of addresses: in several, two writers could deadlock."""
        self.new.sort(key=lambda row: str(row["address"]))
        if len(self.new) > _FEW:
            self._store.insert_many(CONTENT, self.new)
        else:
            for row in self.new:
                self._store.insert(CONTENT, row)

    def _look_up(self, addresses: Collection[str]) -> None:
        if addresses:
            where = (Filter("address", "in", tuple(addresses)),)
            columns = ("address", "id", "chain")
            for address, *stored in self._store.select_columns(CONTENT, columns, where):
                self._known[address] = _Stored._make(stored)

    def _add_grown(self, grown: GrownText, stop: int) -> dict[str, str]:
        """Add what a text has behind the longest one before it; return the texts in that."""
        address = grown.addresses[stop]
        if self._is_there(address):
            return {}
        before = self._longest(grown.addresses[:stop])
        parent = None if before is None else grown.addresses[before]
        chain = number_of(address) if parent is None else self._use_chain(parent)
        rest = grown.between(before, stop)
        self._add(address, rest.shape, grown.ends[stop], parent, chain)
        return dict(rest.texts)

    def _longest(self, addresses: Sequence[str]) -> int | None:
        """Return the last of the places up to which a text is there."""
        found = self._last_there(addresses)
        if found is None and len(addresses) >= _LAST:
            self._look_up(addresses[: 2 - _LAST])
            found = self._last_there(addresses)
        return found

    def _last_there(self, addresses: Sequence[str]) -> int | None:
        backwards = range(len(addresses) - 1, -1, -1)
        return next((at for at in backwards if self._chain(addresses[at]) is not None), None)

    def _chain(self, address: str) -> int | None:
        """Return the chain of a text that is there and may grow."""
        stored = self._known.get(address)
        return self._new.get(address) if stored is None else stored.chain

    def _use_chain(self, parent: str) -> int | None:
        self._is_there(parent)
        return self._chain(parent)

    def _is_there(self, address: str) -> bool:
        """Return whether a blob is stored or about to be, and note that it is used."""
        if stored := self._known.get(address):
            self._used.add(stored.id)
        return stored is not None or address in self._new

    def _add(
        self,
        address: str,
        body: str,
        size: int,
        parent: str | None = None,
        chain: int | None = None,
    ) -> None:
        self._new[address] = chain
        row: Row = {"address": address, "size": size}
        if parent is not None:
            row["parent"] = number_of(parent)
        if chain is not None:
            row["chain"] = chain
        packed: Any = zlib.compress(to_bytes(body))
        self.new.append({**row, "body": packed})
