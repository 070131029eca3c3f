"""Put long texts back in the place of their markers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, NamedTuple

from curio_persistence.content.markers import (
    address_of,
    addresses_in,
    as_written,
    from_bytes,
    has_marker,
    number_of,
    parts_of,
    to_bytes,
)
from curio_persistence.errors import CorruptDatabaseError
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import EVENTS, USAGE
from curio_persistence.tables.content import SCOPE_LENGTH

ReadBlobs = Callable[[Where], Columns]
"""Returns the rows of `content_blobs` that match."""

SHARING = {table.name: frozenset(table.content) for table in (EVENTS, USAGE)}
"""The tables whose long texts are stored once, and the columns of these texts."""


class DamagedText(CorruptDatabaseError):
    """A long text is missing, or is not what was stored."""


class Blob(NamedTuple):
    """A row of `content_blobs`."""

    address: str
    size: int
    parent: int | None
    chain: int | None
    body: bytes
    id: int

    def damaged(self, reason: object) -> DamagedText:
        """Return the error for a blob that is not what was stored."""
        return DamagedText(f"its long text in content_blobs, id {self.id}, {reason}.")


def resolved(
    table: Table[Any], names: Sequence[Any], columns: Sequence[Sequence[Any]], read: ReadBlobs
) -> Sequence[Sequence[Any]]:
    """Return columns, by their `names`, with long texts in place of their markers."""
    marked = _marked(table, names, columns)
    if not marked:
        return columns
    found = {a for at in marked for text in columns[at] if text for a in addresses_in(text)}
    texts, whole = LongTexts(read, found), list(columns)
    for at in marked:
        try:
            whole[at] = [text and texts.whole(text) for text in columns[at]]
        except DamagedText as error:
            raise _in_row(error, texts, table, names, columns, at) from error
    return whole


def _marked(table: Table[Any], names: Sequence[Any], columns: Sequence[Sequence[Any]]) -> list[int]:
    """Return the positions of the columns that have markers."""
    content = SHARING.get(table.name)
    if content is None or not columns:
        return []
    return [
        at
        for at, (name, column) in enumerate(zip(names, columns, strict=True))
        if name in content and not all(map(str.isascii, filter(None, column)))
        if any(map(has_marker, column))
    ]


def _in_row(
    error: DamagedText,
    texts: LongTexts,
    table: Table[Any],
    names: Sequence[Any],
    columns: Sequence[Sequence[Any]],
    at: int,
) -> DamagedText:
    """Return an error with the row that has the text."""
    where = ""
    if "id" in names:
        ids = columns[names.index("id")]
        bad = next(i for i, text in zip(ids, columns[at], strict=True) if texts.is_damaged(text))
        where = f" in the row with id {bad}"
    return DamagedText(
        f"{table.name}.{names[at]} is damaged{where}: {error} Restore a backup; `doctor --deep` "
        "lists all such rows."
    )


class LongTexts:
    """The long texts that some rows refer to, read by three queries, however many there are."""

    def __init__(self, read: ReadBlobs, addresses: Collection[str]) -> None:
        self._read = read
        self.reached = set[str]()
        """The addresses of the blobs that these texts are made of."""
        self._blobs: dict[str, Blob] = {}
        self._numbered: dict[int, Blob] = {}
        """Those that may grow by their numbers."""
        self._bodies: dict[str, str] = {}
        self._own: dict[str, str] = {}
        """For each checked blob, what it adds to the text of its parent."""
        self._hashers: dict[int | None, Any] = {None: sha256()}
        """The running hash at the end of each of these that was checked, by its number."""
        self._load(addresses)

    def _load(self, addresses: Collection[str]) -> None:
        """Read blobs, those that they grew out of, and the texts inside of these."""
        asked = set[str]()
        while missing := tuple(a for a in addresses if a not in asked and a not in self._blobs):
            asked.update(missing)
            found = self._add((Filter("address", "in", missing),))
            self._load_parents([blob for blob in found if blob.parent is not None])
            addresses = {inner for blob in self._grown(missing) for inner in self._inside(blob)}

    def _load_parents(self, grown: Collection[Blob]) -> None:
        """Read all that one of these may have grown out of."""
        if grown:
            chains = tuple({blob.chain for blob in grown})
            longest = max(blob.size for blob in grown)
            self._add((Filter("chain", "in", chains), Filter("size", "<", longest)))

    def _add(self, where: Where) -> list[Blob]:
        found = [*map(Blob._make, zip(*self._read(where), strict=True))]
        for blob in found:
            self._blobs[blob.address] = blob
            if blob.chain is not None:
                self._numbered[number_of(blob.address)] = blob
        return found

    def _grown(self, addresses: Collection[str]) -> Iterator[Blob]:
        """Yield those of the blobs that may grow, and those that they grew out of."""
        for address in addresses:
            blob = self._blobs.get(address)
            while blob is not None and blob.address not in self.reached:
                self.reached.add(blob.address)
                if blob.chain is not None:
                    yield blob
                blob = None if blob.parent is None else self._numbered.get(blob.parent)

    def _inside(self, blob: Blob) -> Iterator[str]:
        with suppress(DamagedText):  # Raised when the text is needed.
            yield from addresses_in(self._body(blob))

    def _body(self, blob: Blob) -> str:
        body = self._bodies.get(blob.address)
        if body is None:
            try:
                body = self._bodies[blob.address] = from_bytes(zlib.decompress(blob.body))
            except (zlib.error, UnicodeDecodeError) as error:
                raise blob.damaged(f"cannot be read ({error})") from error
        return body

    def whole(self, text: str) -> str:
        """Return a stored text with what its markers stand for."""
        if not has_marker(text):
            return text
        pieces = list[str]()
        for piece, kind, address in parts_of(text):
            pieces.append(piece)
            if kind is not None:
                pieces.append(as_written(kind, self._text(address)))
        return "".join(pieces)

    def is_damaged(self, text: str | None) -> bool:
        """Return whether a marker of a stored text stands for a damaged one."""
        try:
            self.whole(text or "")
        except DamagedText:
            return True
        return False

    def _text(self, address: str) -> str:
        blob = self._blob(address)
        line = [blob]
        while blob.parent is not None:
            blob = self._parent(blob)
            line.append(blob)
        return "".join([self._own_text(blob) for blob in reversed(line)])

    def _blob(self, address: str) -> Blob:
        try:
            return self._blobs[address]
        except KeyError:
            digits = address[SCOPE_LENGTH:]
            raise DamagedText(f"its long text {digits} is missing in content_blobs.") from None

    def _parent(self, blob: Blob) -> Blob:
        parent = self._numbered.get(blob.parent or 0)
        if parent is None:
            raise blob.damaged("grew out of one that is missing")
        if parent.size >= blob.size:
            raise blob.damaged("grew out of a longer one")
        return parent

    def _own_text(self, blob: Blob) -> str:
        """Return what a blob adds to the text of its parent, which was checked before."""
        own = self._own.get(blob.address)
        if own is None:
            own = self._body(blob) if blob.chain is None else self._filled(blob)
            hasher = self._hashers[blob.parent].copy()
            hasher.update(to_bytes(own))
            if address_of(blob.address[:SCOPE_LENGTH], hasher) != blob.address:
                raise blob.damaged("is not what was stored: its SHA-256 is another")
            self._own[blob.address] = own
            if blob.chain is not None:
                self._hashers[number_of(blob.address)] = hasher
        return own

    def _filled(self, blob: Blob) -> str:
        """Return the body of a text that grew with what its markers stand for."""
        body = self._body(blob)
        if any(self._blob(address).size >= blob.size for address in addresses_in(body)):
            raise blob.damaged("has a longer one inside")
        return self.whole(body)
