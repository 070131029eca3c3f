"""What is sent to Phoenix and MLflow, and what they have to show of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curio_persistence import InMemoryPersistence, OtlpReport, export_otlp
from curio_persistence.interop.otel.encoding import encode_traces_as_json
from curio_persistence.interop.otel.identity import DATABASE
from tests.support.otlp_story import spans_in, tell
from tests.support.web_server import web_server

RECORDED = Path(__file__).with_name("recorded.json")
PROJECT = "cats"


def send(url: str, **options: Any) -> OtlpReport:
    """Send the story to a receiver."""
    with InMemoryPersistence() as persistence:
        tell(persistence)
        return export_otlp(persistence, url, project=PROJECT, **options)


def sent() -> Any:
    """Return the request that is sent, as OTLP's JSON, without the identity of the database."""
    with web_server() as server:
        send(server.url)
        spans = [span for request in server.received for span in spans_in(request)]
    for span in spans:
        span.source.resource.pop(DATABASE, None)
    return json.loads(encode_traces_as_json(spans))
