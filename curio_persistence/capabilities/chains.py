"""Append rows to hash chains, so that no chain ever forks, and keep their heads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from curio_persistence.clock import Clock
from curio_persistence.errors import BusyError, ConflictError
from curio_persistence.hash_chain import AUDIT, Head, content_hash, link_hash
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import AUDIT_LOG, CHAIN_HEADS, EVENTS
from curio_persistence.tables.audit import ChainHead, head_row

EVENT_CHAINS = "events"
TABLES: Mapping[str, Table[Any]] = {EVENT_CHAINS: EVENTS, AUDIT: AUDIT_LOG}
CHAINED: Where = (Filter("chain_position", "is not null"),)
IN_ORDER = (Order("chain_position"), Order("id"))
_LAST = (Order("chain_position", descending=True), Order("id", descending=True))
_KEY = CHAIN_HEADS.unique[0]
_CHANGES = tuple(name for name in CHAIN_HEADS.names if name not in (*_KEY, "id"))
_END = ("name", "id", "signature", *Head._fields)
"""The columns of an end."""
_LOCKS = 256
"""Chains share so many locks: PostgreSQL keeps each lock of a transaction in shared memory."""
_ATTEMPTS = 3

Link = Callable[[str, Row, str], None]
"""Sets the hash of a row, given the kind of its chain and the hash before it."""


def own_link(kind: str, row: Row, prev_hash: str) -> None:
    """Link a row by our own hash."""
    content = content_hash(kind, row)
    row["content_hash"] = content
    if prev_hash:
        row["prev_hash"] = prev_hash
    else:
        row.pop("prev_hash", None)
    row["hash"] = link_hash(kind, row, prev_hash, content)


def given_link(kind: str, row: Row, prev_hash: str) -> None:
    """Accept the hash that another program computed, if it follows the chain."""
    if (row.get("prev_hash") or "") != prev_hash:
        raise ConflictError(
            f"prev_hash is {row.get('prev_hash')!r}, but the chain ends with {prev_hash or None!r}."
        )


class End(NamedTuple):
    """The head of a chain, whether it may be signed, and the id of its row, if it is stored.

    It may not be signed if a program without the key could have made what it stands for.
    """

    head: Head
    is_trusted: bool
    id: int | None = None

    def moved_to(self, position: int, last: str) -> End:
        """Return the end of the same chain after more links."""
        return self._replace(head=Head(position, last, *self.head[2:]))


class _Moved(Exception):
    """The head of a chain has changed since it was read: its run was deleted, and stored again."""


class Chains:
    """The chains of one kind."""

    def __init__(self, store: Store, clock: Clock, kind: str) -> None:
        self._store = store
        self._clock = clock
        self._kind = kind
        self._table = TABLES[kind]

    def name_of(self, row: Row) -> str:
        """Return the name of the chain to which a row belongs."""
        return str(row["run_id"]) if self._kind == EVENT_CHAINS else AUDIT

    def where(self, name: str) -> Where:
        """Return the filters for the links of a chain."""
        if self._kind != EVENT_CHAINS:
            return CHAINED
        return (*CHAINED, Filter("run_id", "=", name))

    def insert(self, rows: Sequence[Row], link: Link = own_link) -> Sequence[int]:
        """Insert rows at the ends of their chains, all or none; raise as `Store.insert_many`.

        Other transactions wait from here on to the commit if they append to one of these chains.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with self._store.transaction():
                    return self._insert(rows, link, read_links=attempt > 0)
            except _Moved:
                continue
            except ConflictError:
                # Links may have come with their positions, from a copy; the head lags behind them.
                if attempt + 1 == _ATTEMPTS or not self._lags({self.name_of(r) for r in rows}):
                    raise
        raise BusyError("Runs of these events are deleted again and again; try again.")

    def _insert(self, rows: Sequence[Row], link: Link, *, read_links: bool) -> Sequence[int]:
        chains: dict[str, list[Row]] = defaultdict(list)
        linked = [dict(row) for row in rows]
        for row in linked:
            chains[self.name_of(row)].append(row)
        self.lock(chains)
        ends = self._ends(chains, read_links=read_links)
        moved = {}
        for name, links in chains.items():
            position, last = ends[name].head[:2]
            for row in links:
                link(self._kind, row, last)
                position += 1
                row["chain_position"] = position
                last = str(row["hash"])
            moved[name] = ends[name].moved_to(position, last)
        ids: Sequence[int]
        if len(linked) == 1:  # A savepoint less.
            ids = (self._store.insert(self._table, linked[0]),)
        else:
            ids = self._store.insert_many(self._table, linked)
        # After the rows: a transaction that deletes a run locks the run first, too.
        self._move_ends(ends, moved)
        for row, link_of in zip(rows, linked, strict=True):
            row.update(link_of)
        return ids

    def lock(self, names: Collection[str] = (AUDIT,)) -> None:
        """Keep others from appending to chains, the audit log's, until the transaction ends."""
        for lock in sorted({crc32(bytes(name, "utf-8")) % _LOCKS for name in names}):
            self._store.advisory_lock(f"chain {self._kind} {lock}")

    # --- heads --------------------------------------------------------------------------------

    def heads(self, names: Collection[str] | None = None) -> list[ChainHead]:
        """Return the stored heads of some chains, or of all."""
        return CHAIN_HEADS.decode(self._store.select(CHAIN_HEADS, self._where_heads(names)))

    def _where_heads(self, names: Collection[str] | None) -> Where:
        where: Where = (Filter("kind", "=", self._kind),)
        return where if names is None else (*where, Filter("name", "in", tuple(names)))

    def _stored_ends(self, names: Collection[str]) -> dict[str, End]:
        rows = self._store.select_columns(CHAIN_HEADS, _END, self._where_heads(names))
        return {
            name: End(Head(*head), self._is_signed(name, Head(*head), signature), ident)
            for name, ident, signature, *head in rows
        }

    def _is_signed(self, name: str, head: Head, signature: str | None) -> bool:
        key = self._store.audit_key
        return key is not None and head.is_signed(self._kind, name, key, signature)

    def _ends(self, names: Collection[str], *, read_links: bool) -> dict[str, End]:
        ends = self._stored_ends(names)
        for name in names:
            if name not in ends or read_links:
                known = ends.get(name, End(Head(), is_trusted=True))
                last = self._last_link(name)
                if last.position > known.head.position:
                    known = known.moved_to(last.position, last.hash)._replace(is_trusted=False)
                ends[name] = known
        return ends

    def _last_link(self, name: str) -> Head:
        rows = self._store.select(self._table, self.where(name), order=_LAST, limit=1)
        at = self._table.names.index
        for position, last in zip(rows[at("chain_position")], rows[at("hash")], strict=True):
            return Head(position, last or "")
        return Head()

    def _lags(self, names: Collection[str]) -> bool:
        positions = {stored.name: stored.position for stored in self.heads(names)}
        return any(self._last_link(name).position > positions.get(name, 0) for name in names)

    def _move_ends(self, read: Mapping[str, End], moved: Mapping[str, End]) -> None:
        """Store the new ends of chains; raise if one is not as it was read any more."""
        new = {name: end for name, end in moved.items() if end.id is None}
        if new:
            self._store_ends(new)
        now = encode_time(self._clock.now())
        for name, end in moved.items():
            if end.id is not None:
                anchor = Filter("anchor_position", "=", read[name].head.anchor_position)
                as_read = (Filter("id", "=", end.id), anchor)
                changes: Row = {
                    "position": end.head.position,
                    "hash": end.head.hash,
                    "signature": self._signature(name, end),
                    "updated_at": now,
                }
                if not self._store.update(CHAIN_HEADS, as_read, changes):
                    raise _Moved

    def _store_ends(self, ends: Mapping[str, End]) -> None:
        now = self._clock.now()
        rows = [
            head_row(ChainHead(self._kind, name, *end.head, self._signature(name, end), now))
            for name, end in ends.items()
        ]
        self._store.upsert(CHAIN_HEADS, rows, key=_KEY, update=_CHANGES)

    def _signature(self, name: str, end: End) -> str | None:
        key = self._store.audit_key if end.is_trusted else None
        return None if key is None else end.head.signature(self._kind, name, key)

    def sign(self, name: str, head: Head) -> bool:
        """Sign the head of a chain that was verified; return False if it has moved since."""
        with self._store.transaction():
            self.lock([name])
            if self._ends([name], read_links=True)[name].head != head:
                return False
            self._store_ends({name: End(head, is_trusted=True)})
        return True

    def anchor(self, names: Collection[str]) -> None:
        """Note that all links of chains were deleted as they had to be, in the same transaction.

        What is appended later follows the last of them.
        """
        ends = self._stored_ends(names)
        gone = {
            name: End(Head(*end.head[:2], *end.head[:2]), end.is_trusted)
            for name, end in ends.items()
            if end.head.anchor_position < end.head.position
        }
        if gone:
            self._store_ends(gone)

    def cut(self, name: str, position: int) -> int:
        """Delete the links of a chain up to a position, and return how many they were."""
        with self._store.transaction():
            self.lock([name])
            end = self._ends([name], read_links=False)[name]
            upto = (*self.where(name), Filter("chain_position", "<", position + 1))
            last = self._store.select(self._table, upto, order=_LAST, limit=1)
            hashes = last[self._table.names.index("hash")]
            if not hashes:
                return 0
            at = last[self._table.names.index("chain_position")][0]
            head = end.head._replace(anchor_position=at, anchor_hash=hashes[0])
            self._store_ends({name: end._replace(head=head)})
            return self._store.delete(self._table, upto)

    def forget(self, names: Collection[str]) -> None:
        """Delete the heads of chains whose runs were erased, in the same transaction."""
        where = (Filter("kind", "=", self._kind), Filter("name", "in", tuple(names)))
        self._store.delete(CHAIN_HEADS, where)

    def begin(self, name: str, after: str) -> None:
        """Let a chain without links begin behind a link that is not stored, by its hash."""
        self._store_ends({name: End(Head(0, after, 0, after), is_trusted=False)})

    def adopt(self, heads: Iterable[ChainHead]) -> None:
        """Store heads that came with a copy of their chains, where ours end with the same link."""
        with self._store.transaction():
            came = {head.name: head for head in heads}
            self.lock(came)
            rows = [
                head_row(head)
                for name, head in came.items()
                if self._last_link(name)[:2] == (head.position, head.hash)
            ]
            if rows:
                self._store.upsert(CHAIN_HEADS, rows, key=_KEY, update=_CHANGES)


def head_of(stored: ChainHead) -> Head:
    """Return the head of a chain as it is verified."""
    return Head(stored.position, stored.hash, stored.anchor_position, stored.anchor_hash)
