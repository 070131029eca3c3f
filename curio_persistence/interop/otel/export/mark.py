"""The position of an export that goes on: what was sent, and what is still to be sent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from curio_persistence.clock import utc_now
from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Watermark
from curio_persistence.store.query import Position
from curio_persistence.tables import CONSUMERS
from curio_persistence.tables.consumers import position_row

_TABLE = "traces"
"""What stands for a table in the row of a mark: traces are read from several."""
_VERSION = 1


@dataclass
class Mark:
    """The position of an export in the traces of a database.

    `feeds` are positions in the change feeds of the tables that tell of spans. Traces that were
    stored before are the history: `history` is the position of the last one that was looked at, and
    None when all were. `runs` and `spans` are the ids of outermost runs, and of spans of traces
    without a run, whose traces have not ended, or are still to be sent.
    """

    feeds: dict[str, Watermark]
    history: Position | None = ()
    runs: set[int] = field(default_factory=set)
    spans: set[int] = field(default_factory=set)

    def text(self) -> str:
        """Return the mark as text, to be stored: some bytes for each id."""
        feeds = {name: watermark.text() for name, watermark in self.feeds.items()}
        told = {
            "version": _VERSION,
            "feeds": feeds,
            "history": self.history,
            "runs": _packed(self.runs),
            "spans": _packed(self.spans),
        }
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Mark:
        """Return the mark that `text()` wrote."""
        told = json.loads(text)
        if told["version"] != _VERSION:
            raise InvalidValueError(
                f"The export was begun by a later version of this package ({told['version']}).",
                field="name",
            )
        return cls(
            {name: Watermark.parse(each) for name, each in told["feeds"].items()},
            None if told["history"] is None else tuple(told["history"]),
            _unpacked(told["runs"]),
            _unpacked(told["spans"]),
        )


class StoredMark:
    """The mark of a named export, kept in the database whose traces are exported."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._where = CONSUMERS.where(name=f"otlp {name}", table_name=_TABLE)
        self._text: str | None = None

    def read(self) -> Mark | None:
        """Return the mark; None before the first export of this name."""
        self._text = self._stored()
        return None if self._text is None else Mark.parse(self._text)

    def write(self, mark: Mark) -> None:
        """Store a mark in place of the one that was read.

        Raise ConflictError if another program has stored one meanwhile.
        """
        text = mark.text()
        if text == self._text:
            return
        with self._store.transaction():
            self._store.advisory_lock(f"otlp {self._name}")
            if self._stored() != self._text:
                raise ConflictError(
                    f"Another program exports under the name {self._name!r} as well, and both may "
                    "have sent the same traces: end one of them, or give it another name."
                )
            row = position_row(f"otlp {self._name}", _TABLE, text, utc_now())
            key = ("name", "table_name")
            self._store.upsert(CONSUMERS, [row], key=key, update=("watermark", "updated_at"))
        self._text = text

    def _stored(self) -> str | None:
        [*found] = self._store.select_columns(CONSUMERS, ("watermark",), self._where)
        return str(found[0][0]) if found else None


def _packed(ids: Iterable[int]) -> list[int]:
    """Return ids as the distances between them."""
    return [after - before for before, after in pairwise((0, *sorted(ids)))]


def _unpacked(distances: Iterable[int]) -> set[int]:
    ids, last = set(), 0
    for distance in distances:
        last += distance
        ids.add(last)
    return ids
