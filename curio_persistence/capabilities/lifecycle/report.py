"""The report of a deletion by policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

_COUNTED = ("runs", "events", "usage", "scores", "approvals", "snapshots", "spans", "sessions")
_ADDED = ("trees", "stripped", "bytes_freed", "archived")


@dataclass
class ExpireReport:
    """The numbers of deleted records, or with `dry_run` of those that would be deleted.

    `cutoff` is the time before which a run had finished to expire; None without a policy. `trees`
    are runs that no stored run started, each with its descendants; `sessions` those of which no
    run is left. `held` trees are kept by a legal hold only, `unfinished` ones because a run that
    their first run started is not finished. `stripped` runs lost their texts only. Of the runs,
    `archived` were moved into an archive. `bytes_freed` went back to the disk; `advice` says how
    to free more. With `kept` the records were copied to an archive, and not deleted.
    """

    dry_run: bool
    cutoff: datetime | None = None
    trees: int = 0
    runs: int = 0
    events: int = 0
    usage: int = 0
    scores: int = 0
    approvals: int = 0
    snapshots: int = 0
    spans: int = 0
    sessions: int = 0
    held: int = 0
    unfinished: int = 0
    stripped: int = 0
    bytes_freed: int = 0
    archived: int = 0
    advice: str = ""
    kept: bool = False

    def count(self, numbers: Mapping[str, int]) -> None:
        """Add numbers of records by their kinds."""
        for name, number in numbers.items():
            setattr(self, name, getattr(self, name) + number)

    def __add__(self, following: ExpireReport) -> ExpireReport:
        """Return the report of two steps of the same round."""
        sums = {n: getattr(self, n) + getattr(following, n) for n in (*_COUNTED, *_ADDED)}
        cutoff = max(filter(None, (self.cutoff, following.cutoff)), default=None)
        advice = self.advice or following.advice
        return replace(following, cutoff=cutoff, advice=advice, **sums)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it: `runs_deleted`, or `runs_to_delete` in a dry run.

        Of records that were kept it says `runs_copied`, or `runs_to_copy`.
        """
        if self.kept:
            done = "to_copy" if self.dry_run else "copied"
        else:
            done = "to_delete" if self.dry_run else "deleted"
        return {
            "dry_run": self.dry_run,
            "cutoff": self.cutoff and self.cutoff.isoformat(),
            **{f"{name}_{done}": getattr(self, name) for name in _COUNTED},
            "trees": self.trees,
            "held": self.held,
            "unfinished": self.unfinished,
            f"runs_{'to_strip' if self.dry_run else 'stripped'}": self.stripped,
            "archived": self.archived,
            "bytes_freed": self.bytes_freed,
            "advice": self.advice,
        }
