"""Whatever values the known attributes have, all that was sent is stored, and nothing raises."""

from __future__ import annotations

import random
from typing import Any

import pytest

from curio_persistence import Persistence
from curio_persistence.interop.otel.coding_agents import CODING_AGENTS
from curio_persistence.interop.otel.conventions import DETAIL_EVENT, KINDS, NAMES
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.interop.otel.spans import OtelEvent, OtelLog, OtelPoint, OtelSpan, Source

pytestmark = pytest.mark.slow  # Not in the inner loop.

KEYS = sorted(
    {row.key.replace(".*", ".0.message.content") for rows in NAMES.values() for row in rows}
    | {kind.key for kind in KINDS}
)
AGENT_KEYS = sorted(
    {key for agent in CODING_AGENTS.values() for keys in agent.keys.values() for key in keys}
)
TEXTS = ("", "ok", "\0", "a\0b", "\ud800", "x" * 70_000, "9" * 400, "12", "-0.5", "1e400", "true")
JSON = (
    '["a\\u0000"]',
    '{"session_id": "\\ud800", "lc_agent_name": "\\u0000"}',
    "{",
    "[[[[",
    "null",
)
NUMBERS = (-1, 0, 7, 0.25, 2**63 - 1, -(2**63), 1e308, float("nan"), float("inf"), True, None)
NESTED = ([], [1, 2], ["\0", "", "t" * 400], {"a": {"b": [1, None, float("nan")]}}, b"\0\xff")
KINDS_OF_SPANS = ("chat", "invoke_agent", "execute_tool", "embeddings", "retrieval", "AGENT")
EVENTS = ("exception", "gen_ai.choice", "gen_ai.user.message", DETAIL_EVENT, "\0")
TIMES = (0, 5, 10**18, 2**64 - 1)


class Hostile:
    """Makes telemetry, the same for the same number."""

    def __init__(self, number: int) -> None:
        self.pick = random.Random(number)

    def attributes(self, keys: list[str]) -> dict[str, Any]:
        values = (*TEXTS, *JSON, *NUMBERS, *NESTED)
        return {key: self.pick.choice(values) for key in self.pick.sample(keys, 9)}

    def ids(self) -> tuple[str, str]:
        return f"{self.pick.randint(1, 2):032x}", f"{self.pick.randint(1, 8):016x}"

    def span(self) -> OtelSpan:
        pick = self.pick
        kind = {"gen_ai.operation.name": pick.choice(KINDS_OF_SPANS)}
        told = self.attributes(["content", "message", "exception.message", *KEYS[:9]])
        return OtelSpan(
            *self.ids(),
            pick.choice((None, self.ids()[1])),
            pick.choice(("span", *TEXTS)),
            pick.choice(TIMES),
            pick.choice((0, 2**64 - 1)),
            status_code=pick.choice((0, 1, 2, 9)),
            status_message=pick.choice(TEXTS),
            attributes=self.attributes(KEYS) | kind,
            events=(OtelEvent(pick.choice(EVENTS), pick.choice(TIMES), told),),
            trace_state=pick.choice(TEXTS),
            source=Source({"service.name": pick.choice((*TEXTS, *NESTED))}),
        )

    def log(self) -> OtelLog:
        pick = self.pick
        name = pick.choice([*CODING_AGENTS]) + pick.choice(["user_prompt", "tool_result", "x\0"])
        return OtelLog(
            pick.choice(TIMES),
            *pick.choice((self.ids(), (None, None))),
            pick.choice((name, *EVENTS)),
            pick.choice((*TEXTS, *NESTED)),
            self.attributes(AGENT_KEYS) | {"session.id": pick.choice(TEXTS)},
        )

    def point(self) -> OtelPoint:
        name = self.pick.choice([*CODING_AGENTS]) + self.pick.choice(TEXTS)
        value = self.pick.choice((0, 1.5, float("nan"), None))
        told = {**self.attributes(AGENT_KEYS), "session.id": "s"}
        return OtelPoint(name, value, None, self.pick.choice(TIMES), type="gauge", attributes=told)


@pytest.mark.parametrize("number", range(3))
def test_telemetry_of_any_values_is_stored(persistence: Persistence, number: int) -> None:
    hostile, receiver = Hostile(number), Receiver(persistence)
    sent = set()
    for _ in range(8):
        spans = [hostile.span() for _ in range(5)]
        receiver.spans(spans)
        sent |= {(span.trace_id, span.span_id) for span in spans}
        receiver.logs(hostile.log() for _ in range(5))
        receiver.metrics(hostile.point() for _ in range(5))
    stored = {(span.trace_id, span.span_id) for span in receiver.received()}
    assert sent <= stored
    for records in (
        persistence.iter_agent_runs(),
        persistence.iter_llm_usage(),
        persistence.iter_agent_run_events(),
    ):
        assert [*records]
