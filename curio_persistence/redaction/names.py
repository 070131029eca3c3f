"""Decide which names indicate a secret, and what a value under them must look like."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from curio_persistence.redaction.placeholders import says_nothing

_LONGEST_NAME = 64

SECRET_WORDS = frozenset(
    {
        *("password", "passwd", "passphrase", "passcode", "pwd", "secret", "secrets"),
        *("credential", "credentials", "authorization", "cookie", "cookies"),
        *("apikey", "secretkey", "privatekey", "accesskey", "accesstoken", "authtoken"),
    }
)
"""Words that indicate a secret anywhere in a name."""

KINDS_OF_KEYS = frozenset(
    {
        *("api", "private", "secret", "access", "signing", "encryption", "account", "shared"),
        *("master", "deploy", "license", "ssh", "app", "service"),
        *("openai", "anthropic", "claude", "gemini", "google", "mistral", "groq", "cohere"),
        *("azure", "aws", "gcp", "stripe", "sendgrid", "twilio", "github", "huggingface", "hf"),
    }
)
"""Words that indicate a secret before `key`."""

KINDS_OF_TOKENS = frozenset(
    {
        *("access", "auth", "id", "refresh", "bearer", "api", "bot", "session", "csrf", "xsrf"),
        *("oauth", "personal", "client", "deploy", "security", "user", "admin", "service"),
        *("github", "gitlab", "slack", "npm", "pypi", "hf", "huggingface", "vault", "jwt"),
    }
)
"""Words that indicate a secret before `token`, whatever the value looks like."""

HARMLESS_TOKENS = frozenset(
    {
        *("next", "page", "previous", "prev", "continuation", "continue", "sync", "cursor"),
        *("resume", "progress", "start", "end", "pagination", "cancellation"),
        *("pad", "eos", "bos", "stop", "mask", "unk", "sep", "cls", "special", "image", "begin"),
        *("max", "min", "input", "output", "total", "prompt", "completion", "cached", "reasoning"),
    }
)
"""Words before `token` that indicate a page or a tokenizer."""

ABOUT_SECRETS = frozenset(
    {
        *("count", "length", "limit", "type", "name", "names", "policy", "id", "ids", "url", "uri"),
        *("urls", "endpoint", "hint", "field", "label", "path", "file", "version", "expiry", "at"),
        *("in", "on", "age", "ttl", "min", "max", "required", "enabled", "exists", "valid"),
        *("reset", "rules", "strength", "format", "title", "description", "status", "scope"),
        *("scopes", "provider", "kind", "mode", "manager", "domain", "error", "errors", "help"),
        *("fields", "words", "headers", "params", "files", "paths", "pattern", "patterns", "regex"),
        *("validator", "validators", "check", "checks", "helper", "utils", "class", "schema"),
    }
)
"""Last words of names that describe a secret and do not contain it."""

_ITSELF = frozenset({"value", "values", "val", "str", "string", "text", "plain", "raw"})
"""Last words that do not change the meaning: `refreshTokenValue`."""

NUMBERS = frozenset({"password", "passwd", "passphrase", "passcode", "pwd", "pin"})
"""Names under which a number is a secret. Under other names it is an id or a count."""

ANYTHING = re.compile(r"(?s).+")
RANDOM = re.compile(r"(?!\w{2,10}://)(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[!-~]{16,}")
_COMPACT = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[\w.%+/=]{24,}", re.ASCII)
UNLIKE_A_WORD = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])\S{6,}")
_FEW_DIGITS = re.compile(r"[0-9]{4,12}")

DOUBTFUL = {
    **dict.fromkeys(("token", "tokens", "auth", "jwt", "bearer", "sig"), RANDOM),
    **dict.fromkeys(("sessionid", "sessid", "phpsessid", "jsessionid"), RANDOM),
    # The name or UUID of a conversation is not a secret.
    "session": _COMPACT,
    "pass": UNLIKE_A_WORD,
    "pw": UNLIKE_A_WORD,
    "pin": _FEW_DIGITS,
}
"""Last words of names with several meanings, and an expression for values that are secrets."""

_REFERENCE = re.compile(r"(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|[A-Za-z_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_LETTERS = re.compile(r"[\W_]+")


class Names:
    """Decides by its name whether a value is a secret; under `safe` names no value is one."""

    def __init__(self, safe: Collection[str] = ()) -> None:
        self._safe = frozenset(map(_plain, safe))
        self._secret = lru_cache(1024)(self._judge)

    def secret(self, name: str) -> re.Pattern[str] | None:
        """Return the expression that matches secrets under this name; None for other names.

        `apiKey` and `DB_PASSWORD` are secret names, `input_tokens` is not.
        """
        return self._secret(name) if len(name) <= _LONGEST_NAME else None

    def _judge(self, name: str) -> re.Pattern[str] | None:
        return None if self._safe and _plain(name) in self._safe else _judge(_words(name))

    def is_secret(self, name: str, value: str) -> bool:
        """Return whether a text under this name is a secret."""
        wanted = self.secret(name)
        return wanted is not None and bool(wanted.fullmatch(value)) and not says_nothing(value)


def is_number_of(name: str, number: float) -> bool:
    """Return whether a number under this name is a secret: a numeric password or PIN."""
    return abs(number) >= 1000 and not NUMBERS.isdisjoint(_words(name)[-1:])


def names_the_same(name: str, value: str) -> bool:
    """Return whether a value is a variable of the same kind: `password=new_password`."""
    if len(value) > _LONGEST_NAME or not _REFERENCE.fullmatch(value):
        return False
    words = _words(value)
    return words[-1:] == _words(name)[-1:] or (len(words) > 1 and _judge(words) is ANYTHING)


def _plain(name: str) -> str:
    return _NO_LETTERS.sub("", name).lower()


def _words(name: str) -> list[str]:
    """Return the words of a name, without trailing digits and words that add no meaning."""
    parts = _NO_LETTERS.sub("_", _HUMP.sub("_", name)).lower().split("_")
    words = [word for part in parts if (word := part.rstrip("0123456789"))]
    while len(words) > 1 and words[-1] in _ITSELF:
        words.pop()
    return words


def _judge(words: list[str]) -> re.Pattern[str] | None:
    *_, before, last = ("", "", *words)
    if last in ABOUT_SECRETS:
        return None
    if not SECRET_WORDS.isdisjoint(words):
        return ANYTHING
    if last in ("key", "keys"):
        return ANYTHING if before in KINDS_OF_KEYS else None
    if last in ("token", "tokens"):
        if before in KINDS_OF_TOKENS:
            return ANYTHING
        if before in HARMLESS_TOKENS:
            return None
    return DOUBTFUL.get(last)
