"""Read the hash chains of a database, and report what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from typing import Any

from curio_persistence.capabilities.chains import (
    CHAINED,
    EVENT_CHAINS,
    IN_ORDER,
    TABLES,
    head_of,
)
from curio_persistence.hash_chain import AUDIT, Chain, Fault, Head, fault_of_signature
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.query import ReadRows, query_of
from curio_persistence.tables import CHAIN_HEADS, EVENTS
from curio_persistence.tables.audit import ChainHead

_BY_RUN = (Order("run_id"), *IN_ORDER)
_NAMED = 5
"""The erased records that a report names."""
_ROWS = 1_000
_RUNS = 100
_AS_INDEXED = (Order("run_id"), Order("timestamp"), Order("id"))


@dataclass(frozen=True)
class TrailReport:
    """The result of verifying hash chains.

    `links` is their number in all `chains`. `erased` links have lost their content, as retention
    and erasure remove it; everything else about them was verified. `foreign` links have the hashes
    of another program, of which only the order was verified. `faults` has the first fault of each
    broken chain. `head` is the hash of the last link, of the audit log if that was read: keep it
    elsewhere, and pass it as `known_head` later. `signed` tells whether signatures were checked.
    """

    chains: int
    links: int
    erased: int
    erased_records: tuple[str, ...]
    foreign: int
    signed: bool
    head: str
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """True if no chain is broken."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        faults = [{**fault._asdict(), "text": str(fault)} for fault in self.faults]
        return {"ok": self.ok, **asdict(self), "faults": faults}


class Verifier:
    """Verifies chains as of one moment."""

    def __init__(self, store: Store, known_head: str | None = None) -> None:
        self._store = store
        self._known_head = known_head
        self._faults: list[Fault] = []
        self.heads: dict[tuple[str, str], Head] = {}
        """The ends of the chains that are whole, signed or not."""
        self._chains = self._links = self._erased = self._foreign = 0
        self._named: list[str] = []
        self._runs: list[str] = []
        self._head, self._of_run = "", False
        self._met = known_head is None

    def verify(self, run_id: str | None = None) -> TrailReport:
        """Verify the chain of a run, or else all chains."""
        self._of_run = run_id is not None
        kinds = (EVENT_CHAINS,) if run_id is not None else (AUDIT, EVENT_CHAINS)
        with self._store.snapshot() as read:
            for kind in kinds:
                self._verify_kind(kind, run_id, read)
            self._look_for_unchained(read)
        if not self._met:
            self._faults.append(self._fault_of_known_head(kinds[0], run_id))
        return self._report()

    def verify_log(self) -> TrailReport:
        """Verify the audit log only."""
        with self._store.snapshot() as read:
            self._verify_kind(AUDIT, None, read)
        return self._report()

    def _report(self) -> TrailReport:
        return TrailReport(
            self._chains,
            self._links,
            self._erased,
            tuple(self._named),
            self._foreign,
            self._store.audit_key is not None,
            self._head,
            tuple(self._faults),
        )

    def _verify_kind(self, kind: str, run_id: str | None, read: ReadRows) -> None:
        where: Where = (Filter("kind", "=", kind),)
        if run_id is not None:
            where = (*where, Filter("name", "=", run_id))
        pieces = read(query_of(CHAIN_HEADS, where, None, None), _ROWS)
        stored = {head.name: head for piece in pieces for head in CHAIN_HEADS.decode(piece)}
        for name, rows in self._chains_of(kind, run_id, read):
            self._verify_chain(kind, name, rows, stored.pop(name, None))
        for name, head in stored.items():
            if head.position > head.anchor_position:
                self._verify_chain(kind, name, (), head)

    def _chains_of(
        self, kind: str, run_id: str | None, read: ReadRows
    ) -> Iterator[tuple[str, Iterable[Mapping[str, Any]]]]:
        """Yield the name and the rows of each chain of a kind."""
        table, where = TABLES[kind], CHAINED
        if run_id is not None:
            where = (*where, Filter("run_id", "=", run_id))
        order = _BY_RUN if kind == EVENT_CHAINS else IN_ORDER
        pieces = read(query_of(table, where, order, None), _ROWS)
        rows = (
            dict(zip(table.names, values, strict=True))
            for columns in pieces
            for values in zip(*columns, strict=True)
        )
        if kind == AUDIT:
            yield AUDIT, rows
        else:
            yield from groupby(rows, lambda row: str(row["run_id"]))

    def _verify_chain(
        self, kind: str, name: str, rows: Iterable[Mapping[str, Any]], stored: ChainHead | None
    ) -> None:
        head = None if stored is None else head_of(stored)
        looked_for = None if self._met else self._known_head
        found = Chain(kind, name, looked_for).verify(rows, head)
        if found.links or found.fault or head is not None:
            self._chains += 1
        self._links += found.links
        if kind == EVENT_CHAINS and found.links:
            self._runs.append(name)
        self._erased += len(found.erased)
        self._named += found.erased[: _NAMED - len(self._named)]
        self._foreign += found.foreign
        if kind == AUDIT or self._of_run:
            self._head = found.last_hash
        at_anchor = head is not None and self._known_head in (head.hash, head.anchor_hash)
        self._met = self._met or found.met or at_anchor
        if found.fault is not None:
            self._faults.append(found.fault)
            return
        if found.links or head is not None:
            self.heads[kind, name] = head or Head(found.links, found.last_hash)
            self._check_signature(kind, name, head, stored)

    def _check_signature(
        self, kind: str, name: str, head: Head | None, stored: ChainHead | None
    ) -> None:
        key = self._store.audit_key
        if key is not None:
            signature = None if stored is None else stored.signature
            fault = fault_of_signature(kind, name, head, signature, key)
            self._faults += [] if fault is None else [fault]

    def _look_for_unchained(self, read: ReadRows) -> None:
        """Find events that are not in the chain of their run."""
        broken: set[str] = {fault.name for fault in self._faults}
        names = iter([name for name in self._runs if name not in broken])
        while some := tuple(islice(names, _RUNS)):
            where = (Filter("run_id", "in", some), Filter("chain_position", "is null"))
            for columns in read(query_of(EVENTS, where, _AS_INDEXED, None), _ROWS):
                rows = dict(zip(EVENTS.names, columns, strict=True))
                found = zip(rows["run_id"], rows["event_id"], rows["id"], strict=True)
                for name, event_id, ident in found:
                    if name not in broken:
                        broken.add(name)
                        self._faults.append(_unchained(name, event_id or f"id {ident}"))

    def _fault_of_known_head(self, kind: str, run_id: str | None) -> Fault:
        message = f"no link has the hash {self._known_head} that was known before"
        return Fault(kind, run_id or AUDIT, "cut", None, None, message)


def _unchained(run_id: str, record: str) -> Fault:
    message = "it is not in the chain of its run; a program without chain=True may have stored it"
    return Fault(EVENT_CHAINS, run_id, "inserted", None, record, message)
