"""Hash chains of records, and the program that verifies exported ones.

It needs the standard library only: an export with a proof has a copy of this file as `verify.py`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = "v1:"
"""The beginning of a hash that is computed as here. Others are hashes of other programs."""
FIELDS: Mapping[str, tuple[str, ...]] = {
    "events": (
        "run_id",
        "agent_id",
        "agent_name",
        "timestamp",
        "event_type",
        "created_at",
        "event_id",
        "session_id",
        "level",
        "trace_id",
        "span_id",
        "parent_span_id",
        "contract_id",
        "contract_version",
        "seq",
    ),
    "audit": (
        "action",
        "resource",
        "resource_type",
        "actor_type",
        "actor_id",
        "agent_id",
        "run_id",
        "timestamp",
        "created_at",
    ),
}
"""The columns that a link's hash covers, by the kind of the chain."""
CONTENT: Mapping[str, tuple[str, ...]] = {
    "events": ("data", "message", "artifact_uri", "metadata"),
    "audit": ("metadata",),
}
"""The columns with content, of which the link's hash covers only their hash: they may be erased."""
AUDIT = "audit"
"""The kind, and the name, of the chain of the audit log."""
_DEFAULTS = {"level": "info"}
_READ = {kind: [(name, _DEFAULTS.get(name)) for name in names] for kind, names in FIELDS.items()}

Row = Mapping[str, Any]


def content_hash(kind: str, row: Row) -> str:
    """Return the hash of a record's content."""
    return _hash([row.get(name) for name in CONTENT[kind]])


def link_hash(kind: str, row: Row, prev_hash: str, content: str) -> str:
    """Return the hash of a record as a link of its chain."""
    fields = [row.get(name, default) for name, default in _READ[kind]]
    return FORMAT + _hash([kind, prev_hash, content, *fields])


def _encoder() -> Callable[[list[Any]], str]:
    """Return a function that makes a JSON array without spaces, in ASCII, of texts and numbers.

    It is `JSONEncoder.encode`, whose part in C is made once instead of at each call: half the time.
    """
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(separators=(",", ":")).encode
    text = json.encoder.encode_basestring_ascii
    parts = make(None, None, text, None, ":", ",", False, False, True)
    return lambda values: "".join(parts(values, 0))


_canonical = _encoder()


@cache
def _sha256() -> Callable[[bytes], Any]:
    from hashlib import sha256  # Importing the package must not take longer for it.

    return sha256


def _hash(values: list[Any]) -> str:
    return str(_sha256()(_canonical(values).encode()).hexdigest())


class Head(NamedTuple):
    """The last link of a chain, and its anchor: the last of the links that retention deleted."""

    position: int = 0
    hash: str = ""
    anchor_position: int = 0
    anchor_hash: str = ""

    def signature(self, kind: str, name: str, key: bytes) -> str:
        """Return the signature of this head; it cannot be computed without the key."""
        from hmac import digest

        return digest(key, _canonical([kind, name, *self]).encode(), "sha256").hex()

    def is_signed(self, kind: str, name: str, key: bytes, signature: str | None) -> bool:
        """Return whether a signature was made for this head with this key."""
        from hmac import compare_digest

        return compare_digest(self.signature(kind, name, key), signature or "")


class Fault(NamedTuple):
    """The first thing that is wrong with a chain.

    `problem` is changed, missing, moved, inserted, cut, unsigned or forged. `position` is that of
    the link, and `record` its event_id or id, if there is one.
    """

    kind: str
    name: str
    problem: str
    position: int | None
    record: str | None
    message: str

    def __str__(self) -> str:
        chain = "audit log" if self.kind == AUDIT else f"run {self.name}"
        at = "" if self.position is None else f", link {self.position}"
        record = "" if self.record is None else f" ({self.record})"
        return f"{chain}{at}{record}: {self.problem}: {self.message}"


class Verified(NamedTuple):
    """A chain that was read: its links, those without content, those of other programs."""

    links: int
    last_hash: str
    erased: tuple[str, ...]
    foreign: int
    met: bool
    """True if the hash that was looked for is that of a link."""
    fault: Fault | None


class Chain:
    """Verifies one chain."""

    def __init__(self, kind: str, name: str, looked_for: str | None = None) -> None:
        self._kind = kind
        self._name = name
        self._looked_for = looked_for
        self._links = 0
        self._erased: list[str] = []
        self._foreign = 0
        self._met = False
        self._last: tuple[int, str] = (0, "")

    def verify(self, rows: Iterable[Row], head: Head | None) -> Verified:
        """Return what is found in the chain's records, which come in the order of positions."""
        fault = self._first_fault(iter(rows), head or Head())
        if fault is None and head is not None:
            fault = self._fault_at_the_end(head)
        return Verified(
            self._links, self._last[1], tuple(self._erased), self._foreign, self._met, fault
        )

    def _first_fault(self, rows: Iterator[Row], head: Head) -> Fault | None:
        for row in rows:
            if self._links == 0 and row["chain_position"] > head.anchor_position:
                self._last = (head.anchor_position, head.anchor_hash)
            own, is_linked = self._own_fault(row), (row.get("prev_hash") or "") == self._last[1]
            if own or not is_linked:
                return self._explained(row, own, [row, *rows], is_linked=is_linked)
            if row["chain_position"] != self._last[0] + 1:
                return self._fault("moved", row, f"it follows link {self._last[0]}")
            self._links += 1
            self._last = (row["chain_position"], row["hash"])
            self._met = self._met or row["hash"] == self._looked_for
        if self._links == 0:
            self._last = (head.anchor_position, head.anchor_hash)
        return None

    def _own_fault(self, row: Row) -> str:
        """Return what in a record differs from its hash; note content that was erased."""
        stored = row.get("hash") or ""
        if stored and not stored.startswith(FORMAT):
            self._foreign += 1
            return ""
        content = row.get("content_hash") or ""
        if link_hash(self._kind, row, row.get("prev_hash") or "", content) != stored:
            return "a field of it is not what was stored"
        if content_hash(self._kind, row) != content:
            if any(row.get(name) is not None for name in CONTENT[self._kind]):
                return "its content is not what was stored"
            self._erased.append(_name_of(row))
        return ""

    def _explained(self, row: Row, own: str, rest: list[Row], *, is_linked: bool) -> Fault:
        """Return why a record is not the next link; `rest` begins with it."""
        position, last = self._last
        behind = [at for at, each in enumerate(rest) if (each.get("prev_hash") or "") == last]
        if own and (is_linked or 1 not in behind):
            return self._fault("changed", row, own)
        if not own and row.get("prev_hash") in {each.get("hash") for each in rest}:
            return self._fault("moved", row, "it belongs behind a link that stands after it")
        if 1 in behind:
            return self._fault("inserted", row, "the links before and after it follow each other")
        if behind:
            return self._fault("moved", rest[behind[0]], f"it belongs behind link {position}")
        if row["chain_position"] > position + 1 or position == 0:
            missing = f"links {position + 1} to {row['chain_position'] - 1} are not there"
            return Fault(self._kind, self._name, "missing", position + 1, None, missing)
        message = "another record stood here, or records that followed it are missing"
        return Fault(self._kind, self._name, "changed", position, None, message)

    def _fault_at_the_end(self, head: Head) -> Fault | None:
        position, last = self._last
        if (position, last) == (head.position, head.hash):
            return None
        if position < head.position:
            message = f"links {position + 1} to {head.position} are not there"
            return Fault(self._kind, self._name, "cut", position + 1, None, message)
        message = f"the chain ends with link {head.position}, whose hash is {head.hash}"
        return Fault(self._kind, self._name, "inserted", position, None, message)

    def _fault(self, problem: str, row: Row, message: str) -> Fault:
        position = row["chain_position"]
        return Fault(self._kind, self._name, problem, position, _name_of(row), message)


def _name_of(row: Row) -> str:
    """Return the name of a record in a message."""
    return str(row.get("event_id") or f"id {row.get('id')}")


def fault_of_signature(
    kind: str, name: str, head: Head | None, signature: str | None, key: bytes
) -> Fault | None:
    """Return what is wrong with the signature of a chain's head."""
    if head is not None and head.is_signed(kind, name, key, signature):
        return None
    if head is None or signature is None:
        message = "its head is not signed: a program without the key wrote it; see audit.sign()"
        return Fault(kind, name, "unsigned", None, None, message)
    message = "the signature of its head was made for another head, or with another key"
    return Fault(kind, name, "forged", head.position, None, message)


# --- the program -----------------------------------------------------------------------------


def _records(path: Path, kind: str) -> Iterator[Row]:
    """Yield the records of a kind in a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["kind"] == kind:
                yield record


def _chains(folder: Path) -> Iterator[tuple[str, str, list[Row]]]:
    """Yield the kind, the name and the records of each chain in a folder, in order."""
    events = [e for e in _records(folder / "events.jsonl", "event") if e.get("hash")]
    events.sort(key=lambda event: (event["run_id"], event["chain_position"]))
    for run_id, rows in groupby(events, lambda event: str(event["run_id"])):
        yield "events", run_id, list(rows)
    if (folder / "audit.jsonl").exists():
        entries = sorted(
            _records(folder / "audit.jsonl", "audit"), key=lambda entry: entry["chain_position"]
        )
        yield AUDIT, AUDIT, entries


def _faults(folder: Path, key: bytes | None) -> Iterator[Fault]:
    """Yield the faults of an export, and print what its chains have."""
    proof = json.loads((folder / "proof.json").read_text(encoding="utf-8"))
    signed = {(each["kind"], each["name"]): each for each in proof["heads"]}
    found = {(kind, name): rows for kind, name, rows in _chains(folder)}
    links, erased = 0, 0
    for kind, name in sorted(found.keys() | signed.keys()):
        given = signed.get((kind, name))
        head = None if given is None else Head(*(given[field] for field in Head._fields))
        verified = Chain(kind, name).verify(found.get((kind, name), []), head)
        links, erased = links + verified.links, erased + len(verified.erased)
        if verified.fault is not None:
            yield verified.fault
        elif key is not None:
            fault = fault_of_signature(kind, name, head, given and given["signature"], key)
            if fault is not None:
                yield fault
    chained = {name for kind, name in found if kind == "events"}
    for event in _records(folder / "events.jsonl", "event"):
        if not event.get("hash") and event["run_id"] in chained:
            message = "it is not in the chain of its run"
            yield Fault("events", event["run_id"], "inserted", None, _name_of(event), message)
    print(f"chains: {len(found)}, links: {links}, of them without their content: {erased}")


def main(arguments: Sequence[str]) -> int:
    """Verify the export in the folder of this file, or in the one that is named."""
    folder = Path(arguments[0] if arguments else Path(__file__).parent)
    key = os.environ.get("CURIO_AUDIT_KEY")
    faults = list(_faults(folder, key.encode() if key else None))
    for fault in faults:
        print(fault)
    if key is None:
        print("Without CURIO_AUDIT_KEY signatures were not checked.")
    print("The chains are broken." if faults else "All chains are whole.")
    return 5 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
