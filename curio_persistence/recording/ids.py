"""Make identifiers: run ids that sort by time, and OpenTelemetry's ids of spans and traces."""

from __future__ import annotations

import os
from datetime import datetime

from curio_persistence.trace_ids import span_id_of, trace_id_of

__all__ = ["new_run_id", "new_span_id", "new_trace_id", "span_id_of", "trace_id_of"]


def new_run_id(now: datetime) -> str:
    """Return a UUID of version 7: 48 bits of milliseconds, 12 of their fraction, 62 random."""
    milliseconds, rest = divmod(round(now.timestamp() * 1_000_000), 1000)
    fraction = rest * 4096 // 1000
    random = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    number = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_trace_id() -> str:
    """Return 32 hex digits."""
    return os.urandom(16).hex()


def new_span_id() -> str:
    """Return 16 hex digits."""
    return os.urandom(8).hex()
