"""Redact text by named patterns: `SecretPatterns`.

Patterns miss some secrets. Each checks for cheap hints first, and takes time linear in the length
of any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial

from curio_persistence.errors import ConfigurationError
from curio_persistence.redaction.cards import CARDS
from curio_persistence.redaction.emails import EMAILS
from curio_persistence.redaction.keys import keys
from curio_persistence.redaction.names import Names
from curio_persistence.redaction.pattern import Pattern, label
from curio_persistence.redaction.personal import IBANS, IPS, PHONES, SSNS
from curio_persistence.redaction.shapes import API_KEYS, Shape
from curio_persistence.redaction.walk import redact, redact_words

OnMatch = Callable[[str, str], object]
"""Receives the names of a field and of the pattern that matched in it, never the secret."""

ALL = ("keys", "api-keys", "cards", "emails")
"""Names of the patterns that `all` selects."""

KNOWN = {
    pattern.name: pattern
    for pattern in (keys(Names()), API_KEYS, IBANS, PHONES, SSNS, IPS, CARDS, EMAILS)
}
"""All patterns by name, in the order in which they run.

Account and telephone numbers precede cards, because a part of one may look like a card. The
patterns that `all` does not select often match something else.
"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class SecretPatterns:
    """A redactor made of named patterns, which any thread may call.

    `names` are those of `KNOWN`, or `all`. `extra` adds patterns: matches of the regular expression
    or `Shape` under a name become `[redacted:name]`. Values under a `safe` name, in any spelling,
    are not secrets to the pattern `keys`. `on_match` is called with the field and the name of the
    pattern for each new label; an exception from it counts as a failure of the redactor, so the
    record keeps no text. ConfigurationError: a name is unknown or taken, or an expression does not
    compile or matches an empty text.

    JSON stays valid JSON. Its escapes are decoded before matching, and JSON inside a JSON string is
    searched too. Text without a match is returned unchanged.
    """

    def __init__(
        self,
        *names: str,
        extra: Mapping[str, str | re.Pattern[str] | Shape] | None = None,
        safe: Collection[str] = (),
        on_match: OnMatch | None = None,
    ) -> None:
        wanted = {*names, *(ALL if "all" in names else ())} - {"all"}
        if not wanted <= KNOWN.keys() or not (wanted or extra):
            said = ", ".join(map(repr, names)) or "none"
            raise ConfigurationError(
                f"The named patterns are {', '.join(KNOWN)}, or all for {', '.join(ALL)}, not "
                f"{said} (redactor=, CURIO_REDACT)."
            )
        if isinstance(safe, str):
            raise ConfigurationError("safe is a collection of names, not one text.")
        known = KNOWN | {"keys": keys(Names(safe))} if safe else KNOWN
        # Patterns of the program run first; the others see labels in place of its secrets.
        self._patterns = (
            *(_own(name, shape) for name, shape in (extra or {}).items()),
            *(pattern for name, pattern in known.items() if name in wanted),
        )
        self._on_match = on_match or _ignore

    def __call__(self, field: str, text: str) -> str:
        """Return the text with a label in place of each secret."""
        if "\\u" in text:  # An escape may hide what is looked for.
            return redact(text, self._patterns, partial(self._on_match, field))
        is_plain = "\\" not in text
        for pattern in self._patterns:
            if not pattern.may_have(text):
                continue
            tell = partial(self._on_match, field)
            if is_plain and pattern.within_words:  # Then JSON need not be read for it.
                text = redact_words(text, pattern, tell)
            else:
                text = redact(text, (pattern,), tell)
        return text


def _ignore(field: str, name: str) -> None:
    pass


def _own(name: str, shape: str | re.Pattern[str] | Shape) -> Pattern:
    """Return the pattern for an entry of `extra`."""
    if not _NAME.fullmatch(name) or name in KNOWN or name == "all":
        raise ConfigurationError(
            f"extra= needs names of letters, digits, - and _ that are not taken, not {name!r}."
        )
    try:
        compiled = re.compile(shape.expression if isinstance(shape, Shape) else shape)
        finds_nothing = compiled.search("") is None
    except (re.error, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"extra={{{name!r}: …}} is not a regular expression: {error}."
        ) from error
    if not finds_nothing:
        raise ConfigurationError(f"extra={{{name!r}: …}} finds something even in an empty text.")
    return Pattern(
        name,
        label(name),
        may_have=lambda text: compiled.search(text) is not None,
        spans=lambda text: (match.span() for match in compiled.finditer(text) if match[0]),
        within_words=False,
    )
