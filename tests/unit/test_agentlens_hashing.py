"""The hash chain of AgentLens, byte for byte, and its values."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from dataclasses import FrozenInstanceError, replace
from random import Random
from typing import Any

import pytest

from curio_persistence import InvalidValueError
from curio_persistence.compat.agentlens import (
    HASH_VERSION,
    MAX_PAYLOAD_SIZE,
    AgentLensEvent,
    AlertRule,
    ChainVerificationResult,
    EventQueryResult,
    compute_event_hash,
    compute_event_hash_raw,
    create_event,
    truncate_payload,
    verify_chain,
    verify_chain_batch,
    verify_records,
)
from curio_persistence.compat.agentlens.javascript import stringify
from tests.support.lens import random_value

FIRST = "f2e34ac2a8a01923673480515db1516cf0410e6e9b51e19e1e54eae1ac27f416"
SECOND = "9050450380af05eec07463e29272d8bd1900d4a1fa1d3ce126c4a8e561fb302a"
CALL: dict[str, Any] = {
    "id": "01HXY0001",
    "timestamp": "2026-02-07T10:00:00Z",
    "sessionId": "sess_abc123",
    "agentId": "agent_main",
    "eventType": "tool_call",
    "severity": "info",
    "payload": {"toolName": "web_search", "arguments": {"query": "test"}, "callId": "call_1"},
    "metadata": {},
    "prevHash": None,
    "hash": FIRST,
}
ANSWER: dict[str, Any] = {
    **CALL,
    "id": "01HXY0002",
    "timestamp": "2026-02-07T10:00:01Z",
    "eventType": "tool_response",
    "payload": {
        "callId": "call_1",
        "toolName": "web_search",
        "result": {"ok": True},
        "durationMs": 12.5,
    },
    "prevHash": FIRST,
    "hash": SECOND,
}
VALID = ChainVerificationResult(valid=True, failed_at_index=-1, reason=None)

WRITTEN: list[tuple[Any, str]] = [
    ("é 😀 \u2028\u2029 \x7f", '"é 😀 \u2028\u2029 \x7f"'),
    ('"\\/', '"\\"\\\\/"'),
    ("\b\f\n\r\t\0\x1f", '"\\b\\f\\n\\r\\t\\u0000\\u001f"'),
    ("a\ud800b\udfff", '"a\\ud800b\\udfff"'),
    ("\ud83d\ude00", '"😀"'),
    (1.0, "1"),
    (-0.0, "0"),
    (12.5, "12.5"),
    (-12.5, "-12.5"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (1.5e300, "1.5e+300"),
    (1e-6, "0.000001"),
    (1e-7, "1e-7"),
    (-1.25e-7, "-1.25e-7"),
    (5e-324, "5e-324"),
    (0.1 + 0.2, "0.30000000000000004"),
    (123456789012345680000, "123456789012345680000"),
    (2**53 + 1, "9007199254740992"),
    (10**400, "null"),
    (math.nan, "null"),
    (math.inf, "null"),
    (-math.inf, "null"),
    ([True, False, None, []], "[true,false,null,[]]"),
    ((1, 2), "[1,2]"),
    ({"b": 1, "10": 2, "a": 3, "2": 4}, '{"2":4,"10":2,"b":1,"a":3}'),
    ({"01": 1, "-1": 2, "4294967295": 3, "4294967294": 4, "1": 5, "1.5": 6},
     '{"1":5,"4294967294":4,"01":1,"-1":2,"4294967295":3,"1.5":6}'),
    ({3: "c", True: 1, None: 2}, '{"3":"c","true":1,"null":2}'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), WRITTEN)
def test_json_is_written_as_javascript_writes_it(value: Any, text: str) -> None:
    assert stringify(value) == text
    assert stringify({"nested": [value]}) == f'{{"nested":[{text}]}}'


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_writes_the_same_json() -> None:
    seed = Random().randrange(2**32)
    dice = Random(seed)
    program = (
        "const read = require('fs').readFileSync(0, 'utf8');"
        "console.log(JSON.stringify(JSON.parse(read).map(v => JSON.stringify(v))));"
    )
    values = json.dumps([random_value(dice) for _ in range(5_000)])
    done = subprocess.run(
        ["node", "-e", program], input=values, capture_output=True, text=True, check=True
    )
    for value, written in zip(json.loads(values), json.loads(done.stdout), strict=True):
        assert stringify(value) == written, f"seed {seed}"


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidValueError, match="too deeply"):
        stringify(deep)
    while deep:  # Without recursion.
        deep = deep.pop()


def test_the_published_events_have_the_published_hashes() -> None:
    assert HASH_VERSION == 2
    assert compute_event_hash(CALL) == FIRST
    assert compute_event_hash(ANSWER) == SECOND
    assert compute_event_hash(AgentLensEvent.from_dict(ANSWER)) == SECOND
    assert verify_chain([CALL, ANSWER]) == VALID


def test_raw_json_is_hashed_as_it_stands() -> None:
    raw = {**ANSWER, "payloadRaw": json.dumps(ANSWER["payload"], separators=(",", ":"))}
    assert compute_event_hash_raw({**raw, "metadata_raw": "{}"}) == SECOND
    assert compute_event_hash_raw({**raw, "metadataRaw": "{ }"}) != SECOND
    with pytest.raises(InvalidValueError, match="metadata_raw"):
        compute_event_hash_raw(raw)


def test_each_field_is_hashed() -> None:
    event = AgentLensEvent.from_dict(CALL)
    others: dict[str, Any] = {
        **dict.fromkeys(("id", "timestamp", "session_id", "agent_id", "event_type"), "other"),
        "severity": "warn",
        "payload": [],
        "metadata": None,
        "prev_hash": FIRST,
    }
    hashes = {compute_event_hash(replace(event, **{name: other})) for name, other in others.items()}
    assert len({*hashes, FIRST}) == len(others) + 1


def test_an_empty_chain_is_valid() -> None:
    assert verify_chain([]) == verify_chain_batch([], "abc") == verify_records([]) == VALID


def _changed(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an event with other fields and the hash of these."""
    changed = {**event, **changes}
    return {**changed, "hash": compute_event_hash(changed)}


def test_what_is_wrong_with_a_chain_is_named() -> None:
    first = verify_chain([ANSWER])
    assert first == ChainVerificationResult(
        valid=False, failed_at_index=0, reason="First event must have prevHash = null"
    )
    edited = verify_chain([CALL, {**ANSWER, "agentId": "other"}])
    assert (edited.valid, edited.failed_at_index) == (False, 1)
    expected = compute_event_hash({**ANSWER, "agentId": "other"})
    assert edited.reason == f"Event 1 hash mismatch: expected {expected}, got {SECOND}"
    moved = verify_chain([CALL, _changed(ANSWER, prevHash="0" * 64)])
    assert moved.reason == "Event 1 prevHash does not match previous event's hash"
    assert moved.failed_at_index == 1
    both = verify_chain([CALL, {**ANSWER, "prevHash": None}])
    assert "hash mismatch" in str(both.reason)


def test_a_batch_follows_the_hash_before_it() -> None:
    assert verify_chain_batch([ANSWER], FIRST) == VALID
    assert verify_chain_batch([CALL, ANSWER], None) == VALID
    broken = verify_chain_batch([ANSWER], "abc")
    assert broken.reason == f"Batch linkage broken: expected prevHash=abc, got {FIRST}"
    assert broken.failed_at_index == 0
    assert verify_chain_batch([CALL], FIRST).reason == (
        f"Batch linkage broken: expected prevHash={FIRST}, got null"
    )


def test_records_are_verified_without_their_order() -> None:
    assert verify_records([ANSWER, CALL]) == VALID
    assert verify_records([ANSWER, {**CALL, "severity": "warn"}]).failed_at_index == 1


def test_a_created_event_has_an_id_a_time_and_its_hash() -> None:
    event = create_event(
        session_id="s", agent_id="a", event_type="custom", payload={"data": [1]}, prev_hash=FIRST
    )
    assert re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", event.id)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.timestamp)
    assert (event.severity, event.metadata, event.prev_hash) == ("info", {}, FIRST)
    assert event.hash == compute_event_hash(event)
    given_time = create_event(
        session_id="s", agent_id="a", event_type="custom", payload={}, timestamp=CALL["timestamp"]
    )
    assert given_time.timestamp == CALL["timestamp"]
    assert given_time.id != event.id


def test_an_id_begins_with_the_time() -> None:
    first = create_event(session_id="s", agent_id="a", event_type="custom", payload={})
    second = create_event(session_id="s", agent_id="a", event_type="custom", payload={})
    assert first.id[:6] <= second.id[:6]


def test_a_payload_that_is_too_large_is_truncated() -> None:
    exact = {"text": "x" * (MAX_PAYLOAD_SIZE - len('{"text":""}'))}
    assert truncate_payload(exact) is exact
    larger = {"text": exact["text"] + "x"}
    written = json.dumps(larger, separators=(",", ":"))
    assert truncate_payload(larger) == {
        "type": "_truncated",
        "data": {
            "_truncated": True,
            "originalSize": 10_241,
            "maxSize": 10_240,
            "preview": written[:200] + "...",
        },
    }
    assert truncate_payload({"text": "é" * 6_000})["data"]["originalSize"] == 12_011


def test_values_are_made_of_mappings_in_both_spellings() -> None:
    event = AgentLensEvent.from_dict(CALL)
    snake = {re.sub("([A-Z])", lambda m: f"_{m[1].lower()}", key): v for key, v in CALL.items()}
    assert AgentLensEvent.from_dict({**snake, "tenantId": "unknown"}) == event
    assert event.to_dict() == CALL
    assert event.payload["toolName"] == "web_search"
    with pytest.raises(FrozenInstanceError):
        event.id = "other"  # type: ignore[misc]


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidValueError, match=r"session_id \(sessionId\) is required"):
        AgentLensEvent.from_dict({"id": "1", "timestamp": "now"})
    with pytest.raises(InvalidValueError, match="mapping"):
        AgentLensEvent.from_dict("event")  # type: ignore[arg-type]


def test_unset_fields_are_left_out_and_names_inside_are_kept() -> None:
    rule = AlertRule("r", "Rule", True, "cost_exceeds", 1.5, 60, {"agentId": "a", "snake_case": 1})
    assert rule.to_dict() == {
        "id": "r",
        "name": "Rule",
        "enabled": True,
        "condition": "cost_exceeds",
        "threshold": 1.5,
        "windowMinutes": 60,
        "scope": {"agentId": "a", "snake_case": 1},
        "notifyChannels": [],
        "createdAt": "",
        "updatedAt": "",
    }
    result = EventQueryResult([AgentLensEvent.from_dict(CALL)], 1, has_more=False)
    assert result.to_dict() == {"events": [CALL], "total": 1, "hasMore": False}
    assert EventQueryResult.from_dict(result.to_dict()) == result
