"""Make identifiers: run ids that sort by time, and OpenTelemetry's ids of spans and traces.

A run's ids in the trace are derived from its run_id, so that whatever continues the run or begins a
child of it, in this process or in another, arrives at the same ids.
"""

from __future__ import annotations

import os
import re
from datetime import datetime

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_run_id(now: datetime) -> str:
    """Return a UUID of version 7: 48 bits of milliseconds, 12 of their fraction, 62 random."""
    milliseconds, rest = divmod(round(now.timestamp() * 1_000_000), 1000)
    fraction = rest * 4096 // 1000
    random = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    number = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_span_id() -> str:
    """Return 16 hex digits."""
    return os.urandom(8).hex()


def trace_id_of(run_id: str) -> str:
    """Return the trace of a run without a parent: 32 hex digits, those of a UUID."""
    if _UUID.fullmatch(run_id):
        return run_id.replace("-", "")
    from _blake2 import blake2b

    return blake2b(run_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def span_id_of(run_id: str) -> str:
    """Return the span of a run: the last 16 digits of its trace, or of what would be its trace."""
    return trace_id_of(run_id)[16:]
