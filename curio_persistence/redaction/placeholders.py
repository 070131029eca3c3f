"""Recognise values under secret names that are not secrets: placeholders, types and code."""

from __future__ import annotations

import re

from curio_persistence.redaction.pattern import LABELED

_WORDS = frozenset(
    {
        *("required", "optional", "missing", "invalid", "incorrect", "wrong", "expired", "set"),
        *("hidden", "redacted", "masked", "omitted", "empty", "default", "disabled", "enabled"),
        *("none", "null", "nil", "undefined", "true", "false", "yes", "no", "unset", "unknown"),
        *("str", "string", "text", "bytes", "int", "float", "bool", "boolean", "number", "any"),
        *("value", "object", "array", "list", "dict", "char", "varchar", "type", "void"),
        *("secretstr", "secretbytes", "include", "same-origin", "omit", "inherit", "filtered"),
        *("await", "async", "new", "lambda", "return", "if", "else", "not", "self", "this"),
        *("basic", "bearer", "digest", "negotiate", "token", "password", "secret", "api_key"),
    }
)
"""Types, states and keywords."""

_PLACEHOLDER = re.compile(
    r"""
    (?: (?:basic | bearer | token | bot) \s+ )?  # As in a header.
    (?: \$ (?: [A-Z_][A-Z0-9_]* | [a-z_]+ | \( [^()\n]{0,80} \) )
      | \$? \{{1,2} [^{}\n]{0,80} \}{1,2}
      | < [^<>\n\d]{1,60} > | % \( \w+ \) s | %[sdrv] | [*]{3,} | [xX]{3,} | [.]{3} | …
      | your[_\ -][a-z_\ -]{1,40} )
    """,
    re.VERBOSE | re.IGNORECASE,
)
# A call, a subscript, or an attribute of a well-known object.
_CODE = re.compile(
    r"[A-Za-z_][\w.]*[(\[].* | (?:os|self|this|cls|process|settings|config|env|args|request|secrets"
    r"|ctx|options|params|event|data|form|user) (?:\.[A-Za-z_]+)+",
    re.VERBOSE | re.DOTALL,
)
_LABEL = re.compile(LABELED)
_LONGEST_PLACEHOLDER = 200


def says_nothing(value: str) -> bool:
    """Return whether a text is a placeholder, a type or a label."""
    if len(value) > _LONGEST_PLACEHOLDER:
        return False
    if _LABEL.fullmatch(value):
        return True
    word = value.strip("()[]{}<>:.,;!?*`\"' ").lower()
    return not word or word in _WORDS or bool(_PLACEHOLDER.fullmatch(value.strip()))


def is_code(value: str) -> bool:
    """Return whether an unquoted value is code: `settings.password`."""
    value = value.lstrip("([").rstrip(")]},;:")
    return len(value) <= _LONGEST_PLACEHOLDER and _CODE.fullmatch(value) is not None
