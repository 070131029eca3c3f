"""Payload filters find the same events on every backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from curio_persistence import AgentRunEvent, InvalidValueError, Persistence

SEARCHES = [
    {"tool": "search", "result": {"status": "ok", "rows": 3}, "cached": False},
    {"tool": "search", "result": {"status": "error", "rows": 0}, "cached": True},
    {"tool": "fetch", "result": {"status": "error", "rows": None}, "the.url": "https://a/b"},
    {"tool": ["search"], "result": "error"},
]


def log(persistence: Persistence, *payloads: Any) -> None:
    """Log one event for each payload, with the payload's number as its type."""
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type=str(number), data=payload)
        for number, payload in enumerate(payloads)
    )


def found(persistence: Persistence, payload: Mapping[Any, Any]) -> str:
    """Return the numbers of the matching events; all kinds of query must agree."""
    page = persistence.query_events(payload=payload)
    numbers = sorted(event.event_type for event in page)
    streamed = persistence.iter_agent_run_events(payload=payload)
    assert sorted(event.event_type for event in streamed) == numbers
    assert persistence.count_events(payload=payload) == len(numbers)
    return "".join(numbers)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, "0123"),
        ({"tool": "search"}, "01"),
        ({"tool": "fetch"}, "2"),
        ({"tool": "sear"}, ""),
        ({"result.status": "error"}, "12"),
        ({"tool": "search", "result.status": "error"}, "1"),
        ({("tool",): "search", ("result", "rows"): 0}, "1"),
        ({"result.rows": 3}, "0"),
        ({"result.rows": None}, "2"),
        ({"cached": True}, "1"),
        ({"cached": False}, "0"),
        ({"cached": None}, ""),
        ({"result": "error"}, "3"),
        ({"result.status.code": "error"}, ""),
        ({"tool.0": "search"}, ""),
        ({"the.url": "https://a/b"}, ""),
        ({("the.url",): "https://a/b"}, "2"),
        ({"tool": "search", ("tool",): "fetch"}, ""),
        ({"tool": "search", ("tool",): "search"}, "01"),
        ({"result.status": "error", "result.rows": 0}, "1"),
        ({"result.rows": 0, ("result", "rows"): 0.0}, "1"),
        ({"result.rows": 0, ("result", "rows"): False}, ""),
        ({"result": "error", "result.status": "error"}, ""),
        ({"result.status": "error", "result": "error"}, ""),
    ],
    ids=repr,
)
def test_each_path_leads_to_its_value(
    persistence: Persistence, payload: dict[Any, Any], expected: str
) -> None:
    log(persistence, *SEARCHES)
    assert found(persistence, payload) == expected


def test_payload_filters_work_with_other_filters_and_pages(persistence: Persistence) -> None:
    log(persistence, *SEARCHES)
    assert persistence.count_events(payload={"tool": "search"}, event_type=["1", "2"]) == 1
    page = persistence.query_events(payload={"tool": "search"}, limit=1)
    rest = persistence.query_events(payload={"tool": "search"}, cursor=page.next_cursor)
    assert [event.event_type for event in (*page, *rest)] == ["1", "0"]
    with pytest.raises(InvalidValueError, match="cursor"):
        persistence.query_events(payload={"tool": "fetch"}, cursor=page.next_cursor)


def test_a_stream_becomes_columns(persistence: Persistence) -> None:
    log(persistence, *SEARCHES)
    table = persistence.iter_agent_run_events(payload={"cached": True}).to_arrow()
    assert table.column("event_type").to_pylist() == ["1"]


def test_a_transaction_finds_its_own_events(persistence: Persistence) -> None:
    with persistence.transaction():
        log(persistence, *SEARCHES)
        assert found(persistence, {"tool": "search"}) == "01"


VALUES = [
    *("1", "1.0", "1e0", "10e-1", "0.1e1", "1.00000000000000000001", "true", '"1"', "null"),
    *("0", "-0.0", "false", '"true"', '""', "[1]", '{"a": 1}', "[]", "0.1", "1e-1", "0.10"),
    *("9007199254740993", "9007199254740992", "9007199254740993.0", "1e400", "-1", "12", "21"),
    *(
        "1030",
        "103e1",
        "10.3E+2",
        "0.00103e6",
        "10300e-1",
        "1030.00",
        "1031",
        "1030.3",
        "103",
        "-1030",
    ),
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, ["1", "1.0", "1e0", "10e-1", "0.1e1"]),
        (1.0, ["1", "1.0", "1e0", "10e-1", "0.1e1"]),
        (np.int32(1), ["1", "1.0", "1e0", "10e-1", "0.1e1"]),
        (Decimal("1.00000000000000000001"), ["1.00000000000000000001"]),
        (True, ["true"]),
        (False, ["false"]),
        (None, ["null"]),
        ("1", ['"1"']),
        ("true", ['"true"']),
        ("", ['""']),
        ("[1]", []),
        (0, ["0", "-0.0"]),
        (0.1, ["0.1", "1e-1", "0.10"]),
        (np.float32(0.1), ["0.1", "1e-1", "0.10"]),
        (Decimal("0.1"), ["0.1", "1e-1", "0.10"]),
        (Decimal("0.1000000000000000055511151231257827021181583404541015625"), []),
        (2**53 + 1, ["9007199254740993", "9007199254740993.0"]),
        (10**400, ["1e400"]),
        (-1, ["-1"]),
        (1030, ["1030", "103e1", "10.3E+2", "0.00103e6", "10300e-1", "1030.00"]),
    ],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize("path", ["v", "deep.v", "quite.deep.v"])
def test_values_are_equal_if_json_says_so(
    persistence: Persistence, path: str, value: Any, expected: list[str]
) -> None:
    *before, last = path.split(".")
    opening = "".join(f'{{"{key}":' for key in before)
    log(persistence, *(f'{opening}{{"{last}":{v}{"}" * (len(before) + 1)}' for v in VALUES))
    numbers = {str(VALUES.index(v)) for v in expected}
    assert {e.event_type for e in persistence.query_events(payload={path: value})} == numbers


NESTED = '{"a": ' + "[" * 255 + "]" * 255 + ', "v": 1}'
WHOLE = [
    '{"v": 1}',
    ' \t\r\n{"v" \n :\t 1 } ',
    '{"v": 0, "v": 1}',
    '{"o": {"v": 2}, "v": 1}',
    r'{"\u0076": 1, "w": "\ud83d\ude00 \\u0000 \\ud800"}',
    '{"v": 1, "long": "' + "[{" * 500 + '"}',
    NESTED,
    '{"v": 1, "n": 1e131071, "m": 1e-16383}',
    '{"v": 1, "n": ' + "9" * 5_000 + "}",
    '{"v": 1, "x": "\ufdd0 東京 \x7f \\" \\/"}',
]
NONE_OF_IT = [
    "",
    "v",
    "1",
    '["v", 1]',
    '[{"v": 1}]',
    '{"v": 1, "v": 0}',
    '{"v": 1',
    '{"v": 1}}',
    '{"v": 01}',
    "{'v': 1}",
    '{"v": 1,}',
    '{"v": 1, "n": NaN}',
    '{"v": 1, "n": -Infinity}',
    r'{"v": 1, "n": "\u0000"}',
    r'{"v": 1, "\ud800": 0}',
    r'{"v": 1, "n": "\ude00\ud83d"}',
    r'{"v": 1, "n": "\x"}',
    '{"v": 1, "n": "\n"}',
    '{"v": 1, "n": "a\tb"}',
    "\ufeff" + '{"v": 1}',
    '\xa0{"v": 1}',
    NESTED.replace("[]", "[[]]"),
    '{"v": 1, "n": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"v": 1, "n": ' + '{"a": ' * 20_000 + "1" + "}" * 20_000 + "}",
    '{"v": 1, "n": 1e131072}',
    '{"v": 1, "n": 1e-16384}',
    '{"v": 1, "n": 0e-16384}',
    '{"v": 1, "n": 1e99999999999999999999}',
    '{"v": 1, "n": ' + "9" * 131_073 + "}",
    '{"v": 1, "x": "' + "x" * 16_000_000 + '"}',
]


@pytest.mark.parametrize("payload", WHOLE, ids=lambda text: text[:40])
def test_a_payload_that_every_database_can_read_is_searched(
    persistence: Persistence, payload: str
) -> None:
    log(persistence, payload)
    assert found(persistence, {"v": 1}) == "0"


@pytest.mark.slow
@pytest.mark.parametrize("payload", NONE_OF_IT, ids=lambda text: text[:40])
def test_a_payload_that_some_database_cannot_read_matches_nothing(
    persistence: Persistence, payload: str
) -> None:
    """It is not an error either: a stored payload must not break queries for others."""
    log(persistence, payload, {"v": 1})
    assert found(persistence, {"v": 1}) == "1"


def test_the_last_of_a_repeated_key_counts(persistence: Persistence) -> None:
    log(
        persistence,
        '{"o": {"v": 1}, "o": {}}',
        '{"o": {}, "o": {"v": 1}}',
        '{"o": {"v": 0, "v": 1}}',
        '{"o": {"v": 1, "v": 0}}',
        r'{"o": {"v": 1, "\u0076": 0}}',
        r'{"o": {"v": 0, "\u0076": 1}}',
    )
    assert found(persistence, {"o.v": 1}) == "125"


@pytest.mark.parametrize("value", [True, "yes", None])
def test_the_last_of_a_repeated_key_counts_whatever_its_value(
    persistence: Persistence, value: Any
) -> None:
    said = json.dumps(value)
    log(persistence, f'{{"v": 0, "v": {said}}}', f'{{"v": {said}, "v": 0}}', f'{{"v": {said}}}')
    assert found(persistence, {"v": value}) == "02"


TEXTS = ["", " ", "é", "東京", "a\ud800", "\ufdd0", "\ufdd00000", "%", "%s", "*", "?", "[a]", "a]"]
TEXTS += ["it's", '"', "\\", "\\u0041", "/", "a/b", "\n", "\x1f", "\x7f", "\u2028", "🙂", "$", "."]
TEXTS += ["$.a", "a b", "x" * 900, "'; DROP TABLE agent_runs; --", "{}", ":", '\\"', "-", "0"]


@pytest.mark.parametrize("ascii_only", [False, True], ids=["as letters", "as escapes"])
def test_any_text_is_found_as_a_key_and_as_a_value(
    persistence: Persistence, ascii_only: bool
) -> None:
    """Lone surrogates match as well, but not as an escape, which PostgreSQL cannot store."""
    texts = [text for text in TEXTS if not (ascii_only and ("\ud800" in text or "\ufdd0" in text))]
    written = [json.dumps({text: {"value": text}}, ensure_ascii=ascii_only) for text in texts]
    log(persistence, *written)
    for number, text in enumerate(texts):
        events = persistence.query_events(payload={(text, "value"): text})
        assert [event.event_type for event in events] == [str(number)], text
        assert persistence.count_events(payload={(text,): text}) == 0


def test_events_without_a_payload_do_not_match(persistence: Persistence) -> None:
    log(persistence, None, {"v": None})
    assert found(persistence, {"v": None}) == "1"


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("tool", "is a dict of paths and values, not str"),
        ([("tool", "search")], "is a dict"),
        ({"": 1}, "without a key"),
        ({"a..b": 1}, "without a key"),
        ({"a.": 1}, "without a key"),
        ({(): 1}, "without a key"),
        ({5: 1}, "by paths"),
        ({None: 1}, "by paths"),
        ({("a", 0): 1}, "by paths"),
        ({b"a": 1}, "by paths"),
        ({"a" * 1_001: 1}, "more than 64 keys or 1,000 characters"),
        ({".".join("a" * 65): 1}, "more than 64 keys"),
        ({"a": [1]}, "compared with text, numbers, booleans and None, not list"),
        ({"a": {"b": 1}}, "not dict"),
        ({"a": b"x"}, "not bytes"),
        ({"a": ...}, "not ellipsis"),
        ({"a": 1j}, "not complex"),
        ({"a": float("nan")}, "has no such number"),
        ({"a": float("-inf")}, "has no such number"),
        ({"a": Decimal("NaN")}, "has no such number"),
        ({"a": Decimal("1e131072")}, "has no such number"),
        ({"a": Decimal("1e-16384")}, "has no such number"),
        ({"a": Fraction(1, 3)}, "has no such number"),
        ({"a\0": 1}, "NUL"),
        ({"a": "\0"}, "NUL"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_no_payload_can_contain_is_refused(
    persistence: Persistence, payload: Any, says: str
) -> None:
    for ask in (
        persistence.query_events,
        persistence.iter_agent_run_events,
        persistence.count_events,
    ):
        with pytest.raises(InvalidValueError, match=f"^payload .*{says}") as refused:
            ask(payload=payload)
        assert refused.value.field == "payload"
