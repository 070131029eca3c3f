"""What an export by OTLP has sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OtlpReport:
    """How many traces and spans were sent, in how many requests of how many compressed bytes.

    The receiver `rejected` some of the spans, and says why in `message`. `waiting` traces had not
    ended, and were not sent. In a dry run nothing was sent, and `bytes` are not compressed.
    """

    url: str
    traces: int = 0
    spans: int = 0
    rejected: int = 0
    message: str | None = None
    waiting: int = 0
    requests: int = 0
    bytes: int = 0
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON."""
        return asdict(self)
