"""A redactor made of named patterns: `SecretPatterns`.

A net with holes. Each pattern looks for cheap hints first, and none of them goes over a text more
often than a fixed number of times, whatever the text is.
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
"""Gets the name of a field and of a pattern that found something in it, and never the secret."""

ALL = ("keys", "api-keys", "cards", "emails")
"""The patterns that `all` means."""

KNOWN = {
    pattern.name: pattern
    for pattern in (keys(Names()), API_KEYS, IBANS, PHONES, SSNS, IPS, CARDS, EMAILS)
}
"""All patterns by name, in their order: part of an account's number may look like a card's.

Those that `all` does not mean find what often is something else.
"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class SecretPatterns:
    """A redactor made of named patterns, which any thread may call.

    `names` are those of `KNOWN`, or `all`. `extra` adds patterns of your own: what the regular
    expression or `Shape` under a name finds becomes `[redacted:name]`. What goes by a `safe` name,
    in whatever spelling, is no secret to the pattern `keys`. `on_match` is called with the field
    and the pattern's name for each label put in; what it raises counts as a failure of the
    redactor, which keeps no words of that record. ConfigurationError for names that are not known,
    and for an expression that cannot be compiled or finds something in an empty text.

    JSON stays JSON, and is searched as what it says: escapes are read, and so is JSON in a string
    of JSON. Text in which nothing is found stays as it is, to the letter.
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
        # First those that are wanted most: what they find, the others see as a label.
        self._patterns = (
            *(_own(name, shape) for name, shape in (extra or {}).items()),
            *(pattern for name, pattern in known.items() if name in wanted),
        )
        self._on_match = on_match or _ignore

    def __call__(self, field: str, text: str) -> str:
        """Return the text with labels in the place of secrets."""
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
    """Return a pattern that a program added."""
    if not _NAME.fullmatch(name) or name in KNOWN or name == "all":
        raise ConfigurationError(
            f"extra= needs names of letters, digits, - and _ that are not taken, not {name!r}."
        )
    try:
        compiled = re.compile(shape.expression if isinstance(shape, Shape) else shape)
        finds_nothing = compiled.search("") is None
    except (re.error, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"extra={{{name!r}: …}} is no regular expression: {error}."
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
