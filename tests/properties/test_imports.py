"""An import of any run folder stores the readable lines and reports the others."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from curio_persistence import InMemoryPersistence, import_agdd, import_costs

KEYS = (
    *("run_id", "event", "timestamp", "data", "span_id", "ts", "type", "level", "payload", "slug"),
    *("status", "error", "value", "metrics", "model", "cost_usd", "input_tokens", "metadata"),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["run", "start", "end", "error", "success", "2026-11-20T10:30:00", 1e9])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=12,
)
ENTRIES = st.fixed_dictionaries(
    {"model": st.just("m"), "event": st.sampled_from(["start", "step", "error", "end"])},
    optional={
        "timestamp": st.floats(0, 4e9) | st.just("2026-11-20T10:30:00"),
        "ts": st.datetimes().map(str),
        "type": st.text(max_size=5),
        **dict.fromkeys(("data", "payload", "metadata", "level", "span_id", "cost_usd"), VALUES),
    },
)
LINES = st.binary(max_size=40) | (VALUES | ENTRIES).map(lambda value: json.dumps(value).encode())
METRICS = st.dictionaries(
    st.text(max_size=5),
    st.lists(VALUES | st.fixed_dictionaries({"value": VALUES, "timestamp": SCALARS})),
).map(lambda value: json.dumps(value).encode())
FILES = ("logs.jsonl", "events.jsonl", "mcp_calls.jsonl")
WHOLE = ("metrics.json", "summary.json", "plan.json")


@given(
    lines=st.fixed_dictionaries({}, optional={name: st.lists(LINES, max_size=8) for name in FILES}),
    whole=st.fixed_dictionaries({}, optional=dict.fromkeys(WHOLE, LINES | METRICS)),
)
def test_every_line_is_an_event_or_a_problem(
    lines: dict[str, list[bytes]], whole: dict[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder, InMemoryPersistence() as persistence:
        run = Path(folder, "run")
        run.mkdir()
        for name, content in {**{k: b"\n".join(v) for k, v in lines.items()}, **whole}.items():
            (run / name).write_bytes(content)
        report = import_agdd(folder, persistence)
        assume(not any("compressed" in problem.what for problem in report.problems))
        written = sum(
            not line.isspace()
            for name in lines
            for line in (run / name).read_bytes().split(b"\n")
            if line
        )
        told = sum(problem.line is not None for problem in report.problems)
        stored = [event.event_id or "" for event in persistence.iter_agent_run_events()]
        assert told + sum("metrics.json" not in name for name in stored) == written
        assert report.events == len(stored)
        before: Any = persistence.get_all_data()
        assert import_agdd(folder, persistence).events == 0
        assert persistence.get_all_data() == before
        dry = import_agdd(folder, None)
        assert (dry.events, set(dry.problems)) == (report.events, set(report.problems))


@given(lines=st.lists(LINES, max_size=8))
def test_every_line_of_a_ledger_is_a_call_or_a_problem(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, InMemoryPersistence() as persistence:
        ledger = Path(folder, "costs.jsonl")
        ledger.write_bytes(b"\n".join(lines))
        report = import_costs(ledger, persistence)
        written = [line for line in ledger.read_bytes().split(b"\n") if line.strip()]
        assume(not any("compressed" in problem.what for problem in report.problems))
        skipped = sum(report.skipped.values())
        assert report.usage + skipped + len(report.problems) == len(written)
        assert import_costs(ledger, persistence).usage == 0
