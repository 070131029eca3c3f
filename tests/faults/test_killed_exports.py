"""Exports by OTLP, killed at any moment: the next one goes on, and no trace is lost."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from pathlib import Path

import pytest

from curio_persistence import Persistence, connect, export_otlp
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child
from tests.support.otlp_story import spans_in
from tests.support.web_server import WebServer, web_server

pytestmark = pytest.mark.slow

KILLS = 3 * soak.FACTOR
BEFORE, AT_ONCE = 60, 20
EXPORTER = """
persistence = connect(sys.argv[1])
print("begun", flush=True)
follow_otlp(persistence, sys.argv[2], 0.01, name="test")
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def test_a_killed_export_loses_no_trace_and_repeats_few(url: str) -> None:
    with connect(url) as persistence, web_server() as server:
        for _ in range(BEFORE):
            _record(persistence)
        for _ in range(KILLS):
            with Child(EXPORTER, url, server.url) as exporter:
                assert exporter.read() == "begun"
                until = time.monotonic() + random.uniform(0.05, 0.4)
                while time.monotonic() < until:
                    _record(persistence)
        export_otlp(persistence, server.url, name="test")
        _compare(persistence, server)


def _record(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.llm_call(model="m", input_tokens=1)
        with run.tool("t"):
            pass


def _compare(persistence: Persistence, server: WebServer) -> None:
    """Check that all spans came, each the same each time, and that few came twice."""
    came = defaultdict(list)
    for request in server.received:
        for span in spans_in(request):
            came[span.trace_id, span.span_id].append(span)
    traces = [persistence.traces.get(each.trace_id) for each in persistence.traces.iterate()]
    expected = {(s.trace_id, s.span_id) for trace in traces if trace for s in trace.spans}
    assert came.keys() == expected
    assert all(span == spans[0] for spans in came.values() for span in spans)
    repeated = {trace_id for (trace_id, _), spans in came.items() if len(spans) > 1}
    assert len(repeated) <= KILLS * AT_ONCE
