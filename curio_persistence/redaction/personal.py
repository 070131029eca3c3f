"""Find numbers of people and machines: the patterns `ibans`, `phones`, `ssns` and `ips`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from curio_persistence.redaction.pattern import Pattern, Span, compiled, label


def _pattern(name: str, expression: str, length: Callable[[str], int]) -> Pattern:
    """Return a pattern of the matches of an expression, cut to `length`; 0 rejects a match."""
    expression = f"(?a){expression}"

    def may_have(text: str) -> bool:
        return compiled(expression).search(text) is not None

    def spans(text: str) -> Iterator[Span]:
        for found in compiled(expression).finditer(text):
            if end := length(found[0]):
                yield found.start(), found.start() + end

    return Pattern(name, label(name.rstrip("s")), may_have, spans, within_words=True)


def _iban(text: str) -> int:
    """Return the length of the account number at the start of groups of characters."""
    ends = [len(text), *(gap.start() for gap in reversed(list(re.finditer("[ -]", text))))]
    return next((end for end in ends if _is_iban(text[:end])), 0)


def _is_iban(text: str) -> bool:
    """Return whether the check digits are right: modulo 97 the number is 1 (ISO 13616)."""
    letters = re.sub("[ -]", "", text)
    turned = letters[4:] + letters[:4]
    if not 15 <= len(letters) <= 34:
        return False
    return int("".join(str(int(each, 36)) for each in turned)) % 97 == 1


def _ssn(text: str) -> int:
    """Return the length, if such an area, group and serial can be issued."""
    area, group, serial = text[:3], text[4:6], text[7:]
    is_one = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return len(text) if is_one else 0


def _phone(text: str) -> int:
    return len(text) if 8 <= sum(map(str.isdigit, text)) <= 15 else 0


def _address(text: str) -> int:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return 0
    return len(text)


IBANS = _pattern("ibans", r"(?<!\w)[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,40}+(?!\w)", _iban)
PHONES = _pattern(
    "phones",
    # With a country code, or in North American form.
    r"(?<![\w+])\+\d(?:[ .()/-]{0,2}\d){6,16}+(?!\w)"
    r"|(?<!\w)\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}(?!\w)"
    r"|(?<![\w.-])\d{3}([.-])\d{3}\1\d{4}(?![\w.-]?\w)",
    _phone,
)
SSNS = _pattern("ssns", r"(?<![\w-])\d{3}([ -])\d{2}\1\d{4}(?![\w-])", _ssn)
IPS = _pattern(
    "ips",
    r"(?<![\w.:-])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w.-]?\w)"
    r"|(?=[\dA-Fa-f]{0,4}:)(?=[A-Fa-f:]*\d)[\dA-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?![\w:]))",
    _address,
)
