"""What a replicator has done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
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
