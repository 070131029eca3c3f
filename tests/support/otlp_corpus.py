"""Bodies of OTLP that real instrumentations sent, and what a right reading of them finds."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from curio_persistence.interop.otel.decoding import decode_traces
from curio_persistence.interop.otel.spans import OtelSpan

FOLDER = Path(__file__).parent / "otlp"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
CAPTURES: dict[str, dict[str, Any]] = {
    capture["name"]: capture for capture in json.loads((FOLDER / "manifest.json").read_bytes())
}


def bodies(capture: str, signal: str = "traces") -> list[bytes]:
    """Return the bodies of a capture in protobuf, in the order in which they came."""
    return [
        (FOLDER / f"{body['file']}.pb").read_bytes()
        for body in CAPTURES[capture]["bodies"]
        if body["signal"] == signal
    ]


@cache
def spans(capture: str) -> tuple[OtelSpan, ...]:
    """Return the spans of a capture as they came, with those that came twice."""
    found: list[OtelSpan] = []
    for body in bodies(capture):
        decoded = decode_traces(body, PROTOBUF)
        assert not decoded.rejected
        found += decoded.spans
    return tuple(found)


def telemetry(capture: str) -> dict[str, Any]:
    """Return what a right reading of a capture finds."""
    found: dict[str, Any] = CAPTURES[capture]["telemetry"]
    return found
