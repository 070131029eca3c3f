"""The reports of a replicator and of a comparison."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class ReplicationReport:
    """The numbers of rows that were sent to a replica, and deleted there.

    `sent` are new rows by table, `changed` rows that were sent again because they changed, and
    `deleted` runs whose deletion, or expiry, has reached the replica.
    """

    source: str
    sent: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    deleted: int = 0

    @property
    def rows(self) -> int:
        """The number of all rows that were sent."""
        return self.sent.total() + self.changed.total()

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return {
            "source": self.source,
            "rows": self.rows,
            "sent": dict(self.sent),
            "changed": dict(self.changed),
            "deleted": self.deleted,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between a replica and its source: rows of a day, or a run.

    `rows` is the number in the source, and `replicated` that in the replica, of a run the number of
    all that belongs to it.
    """

    table: str
    day: str | None
    run_id: str | None
    rows: int
    replicated: int


@dataclass(frozen=True, slots=True)
class ReplicaCheck:
    """The outcome of a comparison.

    `rows` were compared, and `behind` more are in the source and were not sent yet. `differences`
    are the first thousand.
    """

    source: str
    rows: int
    behind: int
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """True if all that was sent is the same in both."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}
