"""Count on two corpora how many secrets the named patterns find, and what they leave alone.

The figures are printed, and must equal those in docs/redaction.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curio_persistence.redaction.patterns import ALL, KNOWN, SecretPatterns
from tests.support.clean_payloads import clean
from tests.support.made_secrets import Made, secrets

SECRETS = secrets()
CLEAN = clean()
DOCUMENT = Path(__file__).parents[2] / "docs" / "redaction.md"

_PIECE = 6
"""This many characters of a secret beside its label are a remainder, not chance."""


def rest(made: Made, redacted: str) -> set[str]:
    """Return the pieces of a secret that remain."""
    last = max(len(made.secret) - _PIECE, 0)
    pieces = {made.secret[at : at + _PIECE] for at in range(last + 1)}
    return {piece for piece in pieces if piece in redacted}


def is_caught(made: Made, redact: SecretPatterns) -> bool:
    return not rest(made, redact("AgentRunEvent.data", made.text))


def test_most_secrets_are_found(
    capsys: pytest.CaptureFixture[str], record_property: pytest.RecordProperty
) -> None:
    redact, everything = SecretPatterns("all"), SecretPatterns(*KNOWN)
    missed = [made.what for made in SECRETS if not is_caught(made, redact)]
    still_missed = [made.what for made in SECRETS if not is_caught(made, everything)]
    found = len(SECRETS) - len(missed)
    found_by_everything = len(SECRETS) - len(still_missed)
    record_property("recall", f"{found} of {len(SECRETS)}")
    with capsys.disabled():
        print(f"\nrecall {found} of {len(SECRETS)}, by every name {found_by_everything}")
        print(f"missed: {', '.join(missed)}")
    assert len(SECRETS) == 124
    assert found >= 105
    assert f"{found} of {len(SECRETS)}" in DOCUMENT.read_text(encoding="utf-8")
    assert found_by_everything == found + len({"IBAN", "phone", "SSN"})


def test_clean_text_is_not_changed(
    capsys: pytest.CaptureFixture[str], record_property: pytest.RecordProperty
) -> None:
    redact = SecretPatterns("all")
    touched = [what for what, text in CLEAN.items() if redact("AgentRunEvent.data", text) != text]
    kept = len(CLEAN) - len(touched)
    record_property("precision", f"{kept} of {len(CLEAN)}")
    with capsys.disabled():
        print(f"\nprecision {kept} of {len(CLEAN)}")
    assert touched == []
    assert f"{kept} of {len(CLEAN)}" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("made", SECRETS, ids=lambda made: made.what)
def test_no_part_of_a_secret_remains_beside_its_label(made: Made) -> None:
    for text in (made.text, json.dumps({"text": made.text}), f"See below.\n{made.text}\nThanks."):
        redacted = SecretPatterns(*KNOWN)("AgentRunEvent.data", text)
        assert redacted == text or not rest(made, redacted)


@pytest.mark.parametrize("made", SECRETS, ids=lambda made: made.what)
def test_redacted_text_is_not_changed_again(made: Made) -> None:
    redact = SecretPatterns(*KNOWN)
    once = redact("AgentRunEvent.data", made.text)
    assert redact("AgentRunEvent.data", once) == once


def test_the_secrets_are_the_same_each_time() -> None:
    assert secrets() == SECRETS
    assert len({made.what for made in SECRETS}) == len(SECRETS)


def test_all_means_four_names() -> None:
    assert ALL == ("keys", "api-keys", "cards", "emails")
    assert {*KNOWN} - {*ALL} == {"ibans", "phones", "ssns", "ips"}
