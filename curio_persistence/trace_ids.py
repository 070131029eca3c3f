"""OpenTelemetry's ids of a run, derived from its run_id.

Whatever continues a run or begins a child of it, in this process or in another, and whatever reads
its trace later, arrives at the same ids.
"""

from __future__ import annotations

import re
from functools import lru_cache

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TRACE_ID = re.compile("[0-9a-f]{32}")
_RECEIVED = re.compile("(?:([0-9a-f]{16})-)?([0-9a-f]{32})")
_PARTS = (8, 12, 16, 20)


def tells_its_trace(run_id: str) -> bool:
    """Return whether a run_id is a UUID, whose digits are the id of its trace."""
    return _UUID.fullmatch(run_id) is not None


@lru_cache(1_024)  # All spans of a run ask for it.
def trace_id_of(run_id: str) -> str:
    """Return the trace of a run without a parent: 32 hex digits, those of a UUID.

    A run that was received by OpenTelemetry has the id of its span, then that of its trace.
    """
    if tells_its_trace(run_id):
        return run_id.replace("-", "")
    if received := _RECEIVED.fullmatch(run_id):
        return received[2]
    from _blake2 import blake2b

    return blake2b(run_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()


@lru_cache(1_024)
def span_id_of(run_id: str) -> str:
    """Return the span of a run: the last 16 digits of its trace, or of what would be its trace."""
    received = _RECEIVED.fullmatch(run_id)
    return (received and received[1]) or trace_id_of(run_id)[16:]


def may_share_its_trace(run_id: str) -> bool:
    """Return whether other runs without a parent may be of the same trace: it was received."""
    return _RECEIVED.fullmatch(run_id) is not None


def run_id_told_by(trace_id: str) -> str | None:
    """Return the UUID with the digits of a trace; None for an id of another form."""
    return as_uuid(trace_id) if _TRACE_ID.fullmatch(trace_id) else None


def as_uuid(digits: str) -> str:
    """Return the beginning of a UUID, or all of it, with its hyphens."""
    ends = (*(end for end in _PARTS if end < len(digits)), len(digits))
    return "-".join(digits[begin:end] for begin, end in zip((0, *ends), ends, strict=False))
