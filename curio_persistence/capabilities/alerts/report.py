"""The report of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from curio_persistence.tables.alerts import Alert


@dataclass
class AlertReport:
    """The outcome of one evaluation of all rules.

    `fired` and `resolved` are the alerts that this evaluation began and ended; with several
    evaluators each alert is in the report of one. `failed` has the message of each rule that could
    not be measured. `delivered` and `undelivered` count the attempts to deliver a notification,
    also of earlier alerts.
    """

    at: datetime
    rules: int = 0
    fired: list[Alert] = field(default_factory=list)
    resolved: list[Alert] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    delivered: int = 0
    undelivered: int = 0

    @property
    def is_quiet(self) -> bool:
        """True if no alert began or ended, and all rules were measured."""
        return not (self.fired or self.resolved or self.failed)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "at": self.at.isoformat(),
            "rules": self.rules,
            "fired": [alert.to_dict() for alert in self.fired],
            "resolved": [alert.to_dict() for alert in self.resolved],
            "failed": self.failed,
            "delivered": self.delivered,
            "undelivered": self.undelivered,
        }


@dataclass
class AlertTest:
    """The value of a rule, whether it would fire, and what became of a test of each sink.

    `sinks` has None for a sink that was told, and the reason for one that was not.
    """

    rule_id: str
    value: float | None
    fires: bool
    message: str
    sinks: dict[str, str | None]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dict(vars(self))
