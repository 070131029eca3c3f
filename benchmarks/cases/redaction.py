"""The cost of searching an event for secrets, and of redacting one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.cases.sides import Case, check, events_to_write
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Chunk, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence.redaction.patterns import SecretPatterns

_TEXTS = 100
_GOAL = Goal(10_000, 7_000, "alone")
_GOAL_OF_HITS = Goal(40_000, 20_000, "alone")
"""They are rare, and JSON may have to be written again."""
_SECRETS: Mapping[str, Callable[[dict[str, object]], object]] = {
    "nothing to find": lambda payload: None,
    "an e-mail address": lambda payload: payload.update(to="alice@example.com"),
    "an API key": lambda payload: payload.update(use="sk-" + "a1B2" * 10),
    "a password under its name": lambda payload: payload.update(password="hunter2"),
}


def named_patterns(work: Workspace) -> list[Line]:
    return [_line(work, said, hide) for said, hide in _SECRETS.items()]


CASES: dict[str, Case] = {"redaction": named_patterns}


def _line(work: Workspace, said: str, hide: Callable[[dict[str, object]], object]) -> Line:
    """Measure all patterns over about 300 bytes of JSON each."""
    payloads = [json.loads(str(event.data)) for event in events_to_write(work).take(_TEXTS)]
    for payload in payloads:
        hide(payload)
    texts = [json.dumps(payload, ensure_ascii=False) for payload in payloads]
    redact = partial(SecretPatterns("all"), "AgentRunEvent.data")
    is_found = [redact(text) != text for text in texts]
    check(is_found, [said != "nothing to find"] * _TEXTS)

    def chunk(call: Callable[[str], object]) -> Chunk:
        return lambda: timed(call, texts)

    return Line(
        f"all named patterns, an event with {said}, against reading and writing its JSON",
        _GOAL if not any(is_found) else _GOAL_OF_HITS,
        interleave(
            chunk(lambda text: json.dumps(json.loads(text), ensure_ascii=False)),
            chunk(redact),
            calls=_TEXTS,
            chunks=max(work.sizes.writes // _TEXTS, 1),
            repetitions=work.sizes.repetitions,
        ),
    )
