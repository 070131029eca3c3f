"""Options of the named patterns: optional names, own shapes, safe names, a callback."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import pytest

from curio_persistence import ConfigurationError
from curio_persistence.redaction.patterns import KNOWN, SecretPatterns
from curio_persistence.redaction.shapes import LETTERS, Shape
from tests.support.made_numbers import card, iban

FIELD = "AgentRunEvent.data"


def redact(text: str, *names: str, **options: Any) -> str:
    return SecretPatterns(*names, **options)(FIELD, text)


# --- optional names -------------------------------------------------------------------------------

SPACED = " ".join(re.findall(".{1,4}", iban(Random(1))))
FOUND = {
    "ibans": [iban(Random(2)), SPACED, "GB82 WEST 1234 5698 7654 32", "NO9386011117947"],
    "phones": ["+49 30 1234567", "+1 (415) 555-2671", "(415) 555-2671", "415-555-2671"],
    "ssns": ["536-90-4399", "536 90 4399"],
    "ips": ["10.1.2.3", "203.0.113.255", "2001:db8::8a2e:370:7334", "::ffff:192.0.2.1"],
}
NOT_FOUND = {
    "ibans": ["DE00123456781234567890", "GB82 WEST 1234 5698 7654 33", "AB12CDEFG", "DE89"],
    "phones": ["2026-11-29", "123-45-6789", "1763720073008", "+1", "1.415.555.2671.3", "+0.123456"],
    "ssns": ["000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000", "1-2-3"],
    "ips": ["1.2.3", "1.2.3.4.5", "256.1.1.1", "12:30:45", "std::vector", "a::b", "10:20"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(n, text) for n, each in FOUND.items() for text in each]
)
@pytest.mark.parametrize("around", ["{}", "it is {}.", "({})", "a\n{}\nb", '["{}"]'])
def test_numbers_are_found_by_the_optional_names(name: str, text: str, around: str) -> None:
    assert redact(around.format(text), name) == around.format(f"[redacted:{name[:-1]}]")


@pytest.mark.parametrize(
    ("name", "text"), [(n, text) for n, each in NOT_FOUND.items() for text in each]
)
def test_similar_numbers_stay(name: str, text: str) -> None:
    assert redact(f"it is {text}, say", name) == f"it is {text}, say"


@pytest.mark.parametrize("gap", ["", " "])
def test_no_part_of_an_account_is_taken_for_a_card(gap: str) -> None:
    for seed in range(300):
        number = gap.join(re.findall(".{1,4}", iban(Random(seed))))
        assert redact(f"to {number}, now", *KNOWN) == "to [redacted:iban], now"


def test_words_in_capitals_after_an_account_stay() -> None:
    assert redact(f"{SPACED} BIC COBADEFF", "ibans") == "[redacted:iban] BIC COBADEFF"


@pytest.mark.parametrize("name", FOUND)
def test_all_does_not_include_them(name: str) -> None:
    text = ", ".join(FOUND[name])
    assert redact(text, "all") == text
    assert redact(text, "all", name).count(f"[redacted:{name[:-1]}]") == len(FOUND[name])


# --- patterns of a program's own ------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        r"acme_[a-z0-9]{8}",
        re.compile("ACME_[A-Z0-9]{8}", re.IGNORECASE),
        Shape("Acme", "acme_", LETTERS, 8),
    ],
    ids=str,
)
def test_an_own_shape_is_found_and_labeled_by_its_name(shape: Any) -> None:
    key = "acme_" + "a1b2c3d4"
    for text in (f"use {key} now", json.dumps({"a": [key, {"b": f"{key}\n"}]})):
        assert redact(text, "all", extra={"acme-key": shape}) == text.replace(
            key, "[redacted:acme-key]"
        )
        assert redact(text, extra={"acme-key": shape}) != text, "no other name is needed"


def test_own_patterns_come_first_and_their_labels_stay() -> None:
    text = 'mail alice@example.com, {"password": "hunter2"}'
    own = {"person": r"alice@example\.com", "secret": "hunter2"}
    assert redact(text, "all", extra=own) == (
        'mail [redacted:person], {"password": "[redacted:secret]"}'
    )


@pytest.mark.parametrize(
    "extra",
    [{"a": "("}, {"a": "x*"}, {"a": 5}, {"a b": "x"}, {"": "x"}, {"keys": "x"}, {"all": "x"}],
    ids=str,
)
def test_a_wrong_shape_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="extra="):
        SecretPatterns("all", extra=extra)


# --- names that are safe --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["access_token", "accessToken", "ACCESS-TOKEN"])
def test_a_safe_name_is_safe_in_any_spelling(name: str) -> None:
    for text in (json.dumps({name: "abc-def", "n": 1}), f"{name}=abc", f"--{name} a1b2c3d4"):
        assert redact(text, "keys") != text
        assert redact(text, "keys", safe={"access_token"}) == text


def test_values_of_a_safe_name_are_searched_by_other_patterns() -> None:
    text = json.dumps({"cookie": "alice@example.com", "password": "x"})
    assert json.loads(redact(text, "all", safe=["cookie"])) == {
        "cookie": "[redacted:email]",
        "password": "[redacted:key]",
    }


def test_safe_must_be_a_collection() -> None:
    with pytest.raises(ConfigurationError, match="safe is a collection of names"):
        SecretPatterns("all", safe="cookie")


# --- on_match -------------------------------------------------------------------------------------


def test_each_match_is_reported_by_field_and_name_without_the_secret() -> None:
    told: list[tuple[str, str]] = []
    number = card(Random(3))
    payload = {"password": "hunter2", "pin": 482113, "n": int(number), "to": ["a@b.de, c@d.de"]}
    texts = [json.dumps(payload), f"pay {number}, password=x, password=y", "nothing", '{"n": 1}']
    patterns = SecretPatterns("all", on_match=lambda *said: told.append(said))
    for text in texts:
        patterns(FIELD, text)
    assert sorted(told) == sorted(
        (FIELD, name)
        for name in ("keys", "keys", "cards", "emails", "emails", "cards", "keys", "keys")
    )


def test_redacted_text_is_not_reported_again() -> None:
    told: list[str] = []
    patterns = SecretPatterns("all", on_match=lambda field, name: told.append(name))
    once = patterns(FIELD, '{"password": "hunter2", "text": "api_key=abc, to a@b.de"}')
    assert told == ["keys", "keys", "emails"]
    assert patterns(FIELD, once) == once
    assert len(told) == 3


def test_an_exception_of_the_callback_is_raised() -> None:
    def on_match(field: str, name: str) -> None:
        raise RuntimeError(name)

    with pytest.raises(RuntimeError, match="emails"):
        redact("a@b.de", "all", on_match=on_match)
    assert redact("nothing", "all", on_match=on_match) == "nothing"


@pytest.mark.parametrize("names", [(), ("emials",), ("all", "x"), (5,)], ids=str)
def test_an_unknown_name_is_refused_with_the_known_ones(names: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"keys, .*ips, .*or all for keys, api-keys, cards"
    ):
        SecretPatterns(*names)


def test_every_name_can_be_used_alone() -> None:
    for name in KNOWN:
        assert redact("nothing to find", name) == "nothing to find"
