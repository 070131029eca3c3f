"""Which names say that what they name is a secret, and what is none even under such a name."""

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
"""Words that make a name secret wherever they stand in it."""

KINDS_OF_KEYS = frozenset(
    {
        *("api", "private", "secret", "access", "signing", "encryption", "account", "shared"),
        *("master", "deploy", "license", "ssh", "app", "service"),
        *("openai", "anthropic", "claude", "gemini", "google", "mistral", "groq", "cohere"),
        *("azure", "aws", "gcp", "stripe", "sendgrid", "twilio", "github", "huggingface", "hf"),
    }
)
"""What makes a `key` a secret, if it stands before it."""

KINDS_OF_TOKENS = frozenset(
    {
        *("access", "auth", "id", "refresh", "bearer", "api", "bot", "session", "csrf", "xsrf"),
        *("oauth", "personal", "client", "deploy", "security", "user", "admin", "service"),
        *("github", "gitlab", "slack", "npm", "pypi", "hf", "huggingface", "vault", "jwt"),
    }
)
"""What makes a `token` a secret, whatever it looks like, if it stands before it."""

HARMLESS_TOKENS = frozenset(
    {
        *("next", "page", "previous", "prev", "continuation", "continue", "sync", "cursor"),
        *("resume", "progress", "start", "end", "pagination", "cancellation"),
        *("pad", "eos", "bos", "stop", "mask", "unk", "sep", "cls", "special", "image", "begin"),
        *("max", "min", "input", "output", "total", "prompt", "completion", "cached", "reasoning"),
    }
)
"""Tokens of pages and of tokenizers."""

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
"""Last words of names that tell something of a secret, and not the secret."""

_ITSELF = frozenset({"value", "values", "val", "str", "string", "text", "plain", "raw"})
"""Last words that change nothing: `refreshTokenValue`."""

NUMBERS = frozenset({"password", "passwd", "passphrase", "passcode", "pwd", "pin"})
"""Names under which a number is a secret. Under others it is an id or a count."""

ANYTHING = re.compile(r"(?s).+")
RANDOM = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[!-~]{16,}")
_COMPACT = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[\w.%+/=]{24,}", re.ASCII)
UNLIKE_A_WORD = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])\S{6,}")
_FEW_DIGITS = re.compile(r"[0-9]{4,12}")

DOUBTFUL = {
    **dict.fromkeys(("token", "tokens", "auth", "jwt", "bearer", "sig"), RANDOM),
    **dict.fromkeys(("sessionid", "sessid", "phpsessid", "jsessionid"), RANDOM),
    # The name or UUID of a conversation is none.
    "session": _COMPACT,
    "pass": UNLIKE_A_WORD,
    "pin": _FEW_DIGITS,
}
"""Last words of names that mean other things too, and what then is taken for a secret."""

_REFERENCE = re.compile(r"(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|[A-Za-z_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_LETTERS = re.compile(r"[\W_]+")


class Names:
    """Judges what goes by a name; the `safe` names are never those of secrets."""

    def __init__(self, safe: Collection[str] = ()) -> None:
        self._safe = frozenset(map(_plain, safe))
        self._secret = lru_cache(1024)(self._judge)

    def secret(self, name: str) -> re.Pattern[str] | None:
        """Return what a value has to match to be taken for a secret; None for other names.

        `apiKey` and `DB_PASSWORD` are secret names, `input_tokens` is not.
        """
        return self._secret(name) if len(name) <= _LONGEST_NAME else None

    def _judge(self, name: str) -> re.Pattern[str] | None:
        return None if self._safe and _plain(name) in self._safe else _judge(_words(name))

    def is_secret(self, name: str, value: str) -> bool:
        """Return whether a text is a secret, given its name."""
        wanted = self.secret(name)
        return wanted is not None and bool(wanted.fullmatch(value)) and not says_nothing(value)


def is_number_of(name: str, number: float) -> bool:
    """Return whether a number is a secret, given its name: one that people remember."""
    return abs(number) >= 1000 and not NUMBERS.isdisjoint(_words(name)[-1:])


def names_the_same(name: str, value: str) -> bool:
    """Return whether a value is but another name of what its name says: `password=new_password`."""
    if len(value) > _LONGEST_NAME or not _REFERENCE.fullmatch(value):
        return False
    words = _words(value)
    return words[-1:] == _words(name)[-1:] or (len(words) > 1 and _judge(words) is ANYTHING)


def _plain(name: str) -> str:
    return _NO_LETTERS.sub("", name).lower()


def _words(name: str) -> list[str]:
    """Return the words of a name, without numbers at their ends and words that add nothing."""
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
