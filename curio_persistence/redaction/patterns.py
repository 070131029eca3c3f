"""What secrets look like in text, by name: `keys`, `emails`, `cards`, `api-keys`.

A net with holes. Each pattern looks for cheap hints first, and none of them goes over a text more
often than a fixed number of times, whatever the text is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from curio_persistence.errors import ConfigurationError
from curio_persistence.store.json_text import json_text


class Pattern(NamedTuple):
    """`may_have` is a quick look at a text; `redact` puts a label in the place of what it finds.

    What is found `within_words` never reaches over a quotation mark.
    """

    name: str
    may_have: Callable[[str], bool]
    redact: Callable[[str], str]
    within_words: bool


class SecretPatterns:
    """A redactor made of named patterns.

    JSON stays JSON, and is searched as what it says: escapes are read, and so is JSON in a string
    of JSON. Text in which nothing is found stays as it is, to the letter.
    """

    def __init__(self, *names: str) -> None:
        wanted = KNOWN if "all" in names else names
        if not wanted or not set(wanted) <= KNOWN.keys():
            said = ", ".join(map(repr, names)) or "none"
            raise ConfigurationError(
                f"The named patterns are {', '.join(KNOWN)} or all, not {said} "
                "(redactor=, CURIO_REDACT)."
            )
        self._patterns = tuple(pattern for name, pattern in KNOWN.items() if name in wanted)

    def __call__(self, field: str, text: str) -> str:
        """The text with labels in the place of secrets; `field` does not matter."""
        if "\\u" in text:  # An escape may hide what is looked for.
            return _redact(text, self._patterns, _ANY_JSON)
        is_plain = "\\" not in text
        for pattern in self._patterns:
            if not pattern.may_have(text):
                continue
            if is_plain and pattern.within_words:  # Then JSON need not be read for it.
                text = pattern.redact(text)
            else:
                text = _redact(text, (pattern,), _ANY_JSON)
        return text


_ANY_JSON = re.compile(r'\s*[\[{"\d-]')
_NESTED_JSON = re.compile(r"\s*[\[{]")


def _redact(text: str, patterns: tuple[Pattern, ...], opens: re.Pattern[str]) -> str:
    """JSON value by value, if it opens like it; other text as a whole.

    What JSON allows but nobody could read again (nesting without end) raises: it is not to be kept.
    """
    if opens.match(text):
        walk = _Walk(patterns)
        try:
            value = _DECODER.decode(text)
        except json.JSONDecodeError:
            pass
        else:
            redacted = walk.value(value)
            return json_text(redacted) if walk.found else text
    for pattern in patterns:
        text = pattern.redact(text)
    return text


class _Repeating(dict[str, Any]):
    """An object in which a name comes twice: what was read hides a value."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Repeating(members)


_DECODER = json.JSONDecoder(object_pairs_hook=_members)


class _Walk:
    """One way through a JSON value; `found` tells whether anything was redacted."""

    def __init__(self, patterns: tuple[Pattern, ...]) -> None:
        self.found = False
        self._patterns = patterns
        self._has_keys = _KEYS in patterns
        self._has_cards = _CARDS in patterns

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if isinstance(value, dict):
            self.found = self.found or kind is _Repeating
            return {self._text(name): self._member(name, item) for name, item in value.items()}
        if kind is list:
            return [self.value(item) for item in value]
        if kind is int and self._has_cards and value >= _SMALLEST_CARD:
            return self._number(value)
        return value

    def _member(self, name: str, value: Any) -> Any:
        # A flag says that there is a secret, and not which.
        says_something = value is not None and type(value) is not bool and value != ""
        if self._has_keys and says_something and is_secret_name(name):
            return self._changed(value, _KEY)
        return self.value(value)

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            if pattern.may_have(text):
                return self._changed(text, _redact(text, self._patterns, _NESTED_JSON))
        return text

    def _number(self, number: int) -> int | str:
        redacted = _redact_cards(str(number))
        return self._changed(number, redacted) if redacted == _CARD else number

    def _changed(self, before: Any, after: str) -> str:
        self.found = self.found or before != after
        return after


# --- keys: values under names that say "secret" ---------------------------------------------------

_KEY = "[redacted:key]"
_HINTS_OF_KEYS = (
    *("secret", "passw", "passp", "passc", "pwd", "authorization", "cookie", "credential"),
)
_KEY_OR_TOKEN = re.compile(r"""(?:keys?|token)["'\\ \t]{0,5}[:=]""")
_LONGEST_NAME = 64

_SECRET_WORDS = frozenset(
    {
        *("password", "passwd", "passphrase", "passcode", "pwd", "secret", "secrets"),
        *("credential", "credentials", "authorization", "cookie", "cookies"),
        *("apikey", "secretkey", "privatekey", "accesskey", "accesstoken", "authtoken"),
    }
)
_KINDS_OF_KEYS = frozenset({"api", "private", "secret", "access", "signing", "encryption"})
_ABOUT_SECRETS = frozenset({"count", "length", "limit", "type", "name", "policy"})
"""Last words of names that tell something of a secret, and not the secret."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_LETTERS = re.compile(r"[\W_]+")

# A name, what stands between, and the value: in quotes, or up to a space or a separator. In JSON
# that was cut off, quotes may have backslashes before them.
_PAIR = re.compile(
    r"""(?<![\w-])([\w.-]{2,64}+)(\\{0,3}["']?[ \t]{0,2}(?:=>|[:=])[ \t]{0,2})"""
    r"""("(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|\\{1,3}"[^"\n]*+"?|[^\s&,;"']+)"""
)
_HEADER = re.compile(
    r"(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie)([ \t]{0,2}[:=][ \t]{0,2})[^\r\n\"']+",
    re.IGNORECASE,
)
_PASSWORD_IN_URL = re.compile(r"""(://[^\s/:@"']{0,64}:)[^\s/"']{1,200}(?=@)""")


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret: `apiKey`, `DB_PASSWORD`, not `input_tokens`."""
    return len(name) <= _LONGEST_NAME and _is_secret_name(name)


@lru_cache(1024)
def _is_secret_name(name: str) -> bool:
    words = _NO_LETTERS.sub("_", _HUMP.sub("_", name)).lower().strip("_").split("_")
    *_, before, last = ("", *words)
    if last in _ABOUT_SECRETS:
        return False
    is_key = last in ("key", "keys") and before in _KINDS_OF_KEYS
    return last == "token" or is_key or not _SECRET_WORDS.isdisjoint(words)


def _may_have_keys(text: str) -> bool:
    if ":" not in text and "=" not in text:
        return False
    lowered = text.lower()
    for hint in _HINTS_OF_KEYS:
        if hint in lowered:
            return True
    if ("key" in lowered or "token" in lowered) and _KEY_OR_TOKEN.search(lowered):
        return True
    return "@" in text and _PASSWORD_IN_URL.search(text) is not None


def _redact_keys(text: str) -> str:
    lowered = text.lower()
    if "authorization" in lowered or "cookie" in lowered:
        text = _HEADER.sub(rf"\1\2{_KEY}", text)
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(rf"\1{_KEY}", text)
    return _PAIR.sub(_redact_pair, text)


def _redact_pair(match: re.Match[str]) -> str:
    name, between, value = match.groups()
    if not is_secret_name(name):
        return match[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{between}{quote}{_KEY}{quote}"


# --- emails ---------------------------------------------------------------------------------------

_LONGEST_LOCAL_PART = 64
_LOCAL_PART = re.compile(r"[\w.%+-]++")
# Its last part is letters: react@18.2.0 is a package.
_DOMAIN = re.compile(r"(?:[\w-]++\.)+[^\W\d_]{2,}+")


def _may_have_emails(text: str) -> bool:
    return "@" in text


def _redact_emails(text: str) -> str:
    """From one @ to the next: to look for where an address begins takes six times as long."""
    redacted: list[str] = []
    before, *following = text.split("@")
    for after in following:
        local = _LOCAL_PART.match(before[: -_LONGEST_LOCAL_PART - 1 : -1])  # Backwards.
        domain = _DOMAIN.match(after)
        if local and domain:
            redacted += before[: -local.end()], "[redacted:email]"
            before = after[domain.end() :]
        else:
            redacted += before, "@"
            before = after
    return "".join((*redacted, before))


# --- cards ----------------------------------------------------------------------------------------

_CARD = "[redacted:card]"
_SMALLEST_CARD = 10**12
# No card begins with 0 or 1, and times in milli- or nanoseconds since 1970 do.
_ENOUGH_DIGITS = re.compile(r"[2-9][0-9]{3}(?:[ -]?[0-9]){9}")
# Not in a word, and not the digits after a decimal point.
_DIGITS = re.compile(r"(?<!\w)(?<!\d\.)[0-9](?:[ -]?[0-9]){12,}+")
_SEPARATOR = re.compile("([ -])")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _may_have_cards(text: str) -> bool:
    return _ENOUGH_DIGITS.search(text) is not None


def _redact_cards(text: str) -> str:
    return _DIGITS.sub(_redact_digits, text)


def _redact_digits(match: re.Match[str]) -> str:
    """Of digits in groups, find those groups that make a card together."""
    parts = _SEPARATOR.split(match[0])
    redacted = []
    at = 0
    while at < len(parts):
        end = _end_of_card(parts, at)
        redacted.append(parts[at] if end is None else _CARD)
        at = at + 1 if end is None else end
    return "".join(redacted)


def _end_of_card(parts: list[str], begin: int) -> int | None:
    """Where the longest card that begins with this part ends; separators have odd places."""
    if begin % 2 or len(parts[begin]) < 4 or parts[begin][0] < "2":
        return None
    digits, longest = "", None
    for at in range(begin, len(parts), 2):
        digits += parts[at]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and _has_check_digit(digits):
            longest = at + 1
    return longest


def _has_check_digit(digits: str) -> bool:
    """As Luhn has it: every second digit from the right is doubled."""
    doubled = (_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


# --- api-keys: by the shapes that their makers gave them ------------------------------------------

_API_KEY = "[redacted:api-key]"


def _shape(begin: str, rest: str, *, not_after: str = "[A-Za-z0-9]") -> re.Pattern[str]:
    """What begins like this. With the literal first, it is found four times as fast."""
    return re.compile(rf"{begin}(?<!{not_after}{begin}){rest}")


_SHAPES = {
    "sk-": _shape("sk-", r"[\w-]{16,}+"),
    **{begin: _shape(begin, r"[A-Z0-9]{16}(?![A-Za-z0-9])") for begin in ("AKIA", "ASIA")},
    **{f"gh{kind}_": _shape(f"gh{kind}_", r"\w{20,}+") for kind in "oprsu"},
    "github_pat_": _shape("github_pat_", r"\w{20,}+"),
    "glpat-": _shape("glpat-", r"[\w-]{20,}+"),
    "xox": _shape("xox", r"[abcdeprs]-[\w-]{10,}+"),
    "AIza": _shape("AIza", r"[\w-]{35}"),
    # Not after a hyphen either: else each of "-eyJ-eyJ-eyJ…" would be looked through to the end.
    "eyJ": _shape("eyJ", r"[\w-]++\.[\w-]++\.[\w-]*+", not_after=r"[\w-]"),
    "-----BEGIN ": _shape(
        "-----BEGIN ", r'[A-Z ]{0,40}PRIVATE KEY-----[^-"]*+(?:-----END [A-Z ]{0,40}-----)?'
    ),
}
_BEARER = re.compile(r"(earer )(?<=[Bb]earer )[\w.~+/=-]{16,}+")


def _hint(begin: str) -> str:
    """What finds the begin of a shape by its first character that is rare in prose.

    The group at its end tells which it was; around it, it would be ten times as slow.
    """
    rare = next((at for at, letter in enumerate(begin) if not letter.islower()), 0)
    return rf"{begin[rare]}(?<={begin[: rare + 1]})(?={begin[rare + 1 :]})()"


# One search for all of them takes a quarter of the time of one for each.
_HINTS_OF_API_KEYS = re.compile("|".join(map(_hint, _SHAPES)))
_BY_HINT = dict(enumerate(_SHAPES.values(), 1))


def _may_have_api_keys(text: str) -> bool:
    return _HINTS_OF_API_KEYS.search(text) is not None or "earer " in text


def _redact_api_keys(text: str) -> str:
    for number in sorted({hint.lastindex or 0 for hint in _HINTS_OF_API_KEYS.finditer(text)}):
        text = _BY_HINT[number].sub(_API_KEY, text)
    return _BEARER.sub(rf"\1{_API_KEY}", text) if "earer " in text else text


_KEYS = Pattern("keys", _may_have_keys, _redact_keys, within_words=False)
_CARDS = Pattern("cards", _may_have_cards, _redact_cards, within_words=False)
_PATTERNS = (
    _KEYS,
    Pattern("api-keys", _may_have_api_keys, _redact_api_keys, within_words=True),
    _CARDS,
    Pattern("emails", _may_have_emails, _redact_emails, within_words=True),
)
KNOWN = {pattern.name: pattern for pattern in _PATTERNS}
