"""Encoders and decoders of single values; the same for every backend.

An encoder checks a caller's value and returns its stored form: `str`, `int`, `float` or None. It
raises ValueError or TypeError with a clause that continues a sentence beginning with the field's
name. Stored forms:

* times: ISO 8601 in UTC, fixed width (`2026-11-20T10:30:00.000000+00:00`), so text order is time
  order;
* money: whole picodollars (10⁻¹² US dollars), exact and summable;
* free text: unchanged, except that characters a database refuses are escaped (see `encode_text`).
"""

from __future__ import annotations

import json
import numbers
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from enum import Enum
from typing import Any

from curio_persistence.store.json_text import json_text

ID_LENGTH = 255
STATUS_LENGTH = 50

ESCAPE = "\ufdd0"
"""Opens an escape in stored text. It is a Unicode noncharacter, so that ordinary text never
contains it, and ASCII text, the common case, needs no scan."""

_REFUSED_IN_NAMES = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ufdd0\ud800-\udfff]")
_ESCAPED = re.compile(ESCAPE + "([0-9a-f]{4})")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64 = range(-(2**63), 2**63)
PICODOLLARS = 10**12
_PICODOLLAR = Decimal("1e-12")
_MICRODOLLAR = Decimal("1e-6")
_MOST_DOLLARS = 9_223_372
_EXACT = Context(prec=60)


def encode_text(value: Any) -> str:
    """Return any `str`, with NUL, lone surrogates and U+FDD0 escaped as U+FDD0 and four digits."""
    text: str = value if type(value) is str else _plain_str(value)
    if text.isascii():
        return text if "\0" not in text else _escape(text)
    return _escape(text) if _UNSTORABLE.search(text) else text


def decode_text(value: str | None) -> str | None:
    """Undo `encode_text`."""
    if value is None or value.isascii() or ESCAPE not in value:
        return value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)


def decode_texts(column: Sequence[str | None]) -> Iterable[str | None]:
    """Decode a column of free text."""
    if not any(column):  # As in most optional columns.
        return column
    return [text if text is None or text.isascii() else decode_text(text) for text in column]


def decode_texts_to_unicode(column: Sequence[str | None]) -> list[str | None]:
    """Decode a column for readers that need valid Unicode: a lone surrogate becomes U+FFFD."""
    return [
        text
        if text is None or text.isascii() or ESCAPE not in text
        else to_unicode(decode_text(text) or "")
        for text in column
    ]


def to_unicode(text: str) -> str:
    """Return text as valid Unicode: a lone surrogate becomes U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _escape(value: str) -> str:
    return _UNSTORABLE.sub(lambda match: f"{ESCAPE}{ord(match[0]):04x}", value)


def _plain_str(value: Any) -> str:
    if isinstance(value, Enum) and isinstance(value.value, str):
        return str(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"must be text, not {type(value).__name__}")


def encode_name(value: Any) -> str:
    """Check a name or type: at most 255 characters, no NUL, no lone surrogates; may be empty."""
    text: str = value if type(value) is str else _plain_str(value)
    if len(text) > ID_LENGTH:
        raise ValueError(f"may have {ID_LENGTH} characters, not {len(text)}")
    if text.isascii() and "\0" not in text:  # The common case, in a third of the time.
        return text
    if _REFUSED_IN_NAMES.search(text):
        raise ValueError("may not contain NUL or lone surrogates")
    return text


def encode_label(value: Any) -> str:
    """Return free text to group by, cut to the length of a name."""
    return encode_text(value)[:ID_LENGTH]


def encode_id(value: Any) -> str:
    """Check an identifier: a name that is not empty."""
    name = encode_name(value)
    if not name:
        raise ValueError("may not be empty")
    return name


def encode_optional_id(value: Any) -> str | None:
    """Check an optional identifier; `""` becomes None."""
    return encode_name(value) or None


def encode_status(value: Any) -> str:
    """Check a status: 1 to 50 characters."""
    name = encode_id(value)
    if len(name) > STATUS_LENGTH:
        raise ValueError(f"may have {STATUS_LENGTH} characters, not {len(name)}")
    return name


_SAME_LEVEL = {
    "trace": "debug",
    "notice": "info",
    "warn": "warning",
    "err": "error",
    "exception": "error",
    "fatal": "critical",
}
_LEVELS_BY_TENS = ("debug", "debug", "info", "warning", "error", "critical")


def encode_level(value: Any) -> str:
    """Return a level in lower case, known ones by one name: `warn` is `warning`.

    A number is one of Python's `logging`: 40 is `error`, and so are 41 to 49.
    """
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        return _LEVELS_BY_TENS[min(max(int(value) // 10, 0), 5)]
    level = encode_status(value).lower()
    return _SAME_LEVEL.get(level, level)


def encode_tags(value: Any) -> str | None:
    """Return tags as a JSON array without duplicates, in the order given; no tags are None."""
    if value == "":
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"must be some texts, not one {type(value).__name__}")
    tags = dict.fromkeys(encode_id(tag) for tag in value)
    return json.dumps(list(tags), ensure_ascii=False) if tags else None


def decode_tags(column: Sequence[str | None]) -> Iterable[list[str] | None]:
    """Decode a column of tags."""
    return [None if tags is None else json.loads(tags) for tags in column]


def encode_integer(value: Any) -> int:
    """Check a 64-bit integer, numpy's included; booleans and fractions are refused."""
    if type(value) is int and value in _INT64:  # The common case.
        return value
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        raise TypeError("must be a whole number, not bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"must be a whole number, not {type(value).__name__}") from None
    if number not in _INT64:
        raise ValueError("must fit into 64 bits")
    return number


def encode_real(value: Any) -> float:
    """Check a finite number and return it as a double; booleans are refused."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        raise TypeError(f"must be a number, not {type(value).__name__}")
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("must be a finite number")
    return number


def encode_mark(value: Any) -> int | None:
    """Return 1 for a set flag, None for an unset one."""
    number = encode_integer(value)
    if number not in (0, 1):
        raise ValueError("must be 1 or 0")
    return number or None


def encode_count(value: Any) -> int:
    """Check a 64-bit integer that is not negative."""
    number = encode_integer(value)
    if number < 0:
        raise ValueError("may not be negative")
    return number


HIGHEST_POSITION = 2**53 - 1
"""Every program that reads JSON understands it, and there is room above it."""


def encode_nanos(value: Any) -> int | None:
    """Check the nanoseconds beyond a microsecond; 0 becomes None."""
    nanos = encode_integer(value)
    if not 0 <= nanos < 1000:
        raise ValueError(f"must be from 0 to 999, not {nanos}")
    return nanos or None


def encode_position(value: Any) -> int:
    """Check an integer from 1 that every program understands."""
    number = encode_integer(value)
    if number < 1:
        raise ValueError("begins with 1")
    if number > HIGHEST_POSITION:
        raise ValueError(f"is at most {HIGHEST_POSITION:,}, but is {number}")
    return number


def encode_latency(value: Any) -> int:
    """Return whole milliseconds, not negative; a fraction is rounded."""
    if isinstance(value, numbers.Real | Decimal) and not isinstance(value, numbers.Integral):
        try:
            value = round(value)
        except (ValueError, OverflowError):
            raise ValueError("must be a finite number of milliseconds") from None
    return encode_count(value)


def encode_money(value: Any) -> int:
    """Return US dollars, not negative, as picodollars; a float is read as it prints.

    Picodollars are rounded half to even.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        raise TypeError(f"must be a number of US dollars, not {type(value).__name__}")
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise ValueError("must be a finite number of US dollars") from None
    if not amount.is_finite():
        raise ValueError("must be a finite number of US dollars")
    if amount < 0:
        raise ValueError("may not be negative")
    if amount >= _MOST_DOLLARS:
        raise ValueError("must be below 9,223,372 US dollars")
    # The context is explicit: the caller's context may round to fewer digits.
    return int(amount.quantize(_PICODOLLAR, ROUND_HALF_EVEN, _EXACT).scaleb(12, _EXACT))


def decode_moneys(column: Sequence[int | None]) -> Iterable[Decimal | None]:
    """Decode a column of costs. Whole microdollars, the common case, take a third of the time."""
    multiply, microdollar = _EXACT.multiply, _MICRODOLLAR
    return [
        decode_money(cost) if cost is None or cost % 10**6 else multiply(cost // 10**6, microdollar)
        for cost in column
    ]


def decode_money(picodollars: int | None) -> Decimal | None:
    """Return exact US dollars, with six decimals or more where needed."""
    if picodollars is None:
        return None
    microdollars, rest = divmod(picodollars, 10**6)
    if not rest:
        return _EXACT.multiply(microdollars, _MICRODOLLAR)
    digits, exponent = picodollars, -12
    while not digits % 10:
        digits, exponent = digits // 10, exponent + 1
    return Decimal(digits).scaleb(exponent, _EXACT)


def encode_time(value: Any) -> str:
    """Return a moment in UTC; a naive datetime is local time, as `datetime.now()` returns it."""
    if type(value) is not datetime or value.tzinfo is not UTC:
        value = _in_utc(value)
    first, last, text = _second
    if first <= value <= last:
        return f"{text}{value.microsecond:06d}+00:00"
    return _remember_second(value)


_second = (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), "")
"""The second encoded last: its first and last known moments, and its text up to the fraction.

Records are written when they happen, so most times share their second with the previous one;
`isoformat` takes three times as long as this comparison.
"""


def _remember_second(moment: datetime) -> str:
    global _second
    text = moment.isoformat(timespec="microseconds")
    last = moment + timedelta(microseconds=999_999 - moment.microsecond)
    _second = (moment, last, text[: -len("000000+00:00")])
    return text


def _in_utc(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"must be a datetime, not {type(value).__name__}")
    try:
        return _plain_datetime(value).astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        raise ValueError(f"is outside the years 1 to 9999 in UTC: {value}") from None


def _plain_datetime(value: datetime) -> datetime:
    """Drop the additions of a subclass such as pandas' Timestamp; nanoseconds are cut off."""
    fields = value.timetuple()[:6]
    return datetime(*fields, value.microsecond, value.tzinfo, fold=value.fold)


def decode_time(value: str | None) -> datetime | None:
    """Return an aware datetime in UTC."""
    return None if value is None else datetime.fromisoformat(value)


def decode_times(column: Sequence[str | None]) -> Iterable[datetime | None]:
    """Decode a column of times."""
    return [None if value is None else datetime.fromisoformat(value) for value in column]


def decode_stored_times(column: Sequence[str]) -> Iterable[datetime]:
    """Decode a column of times without NULLs."""
    return map(datetime.fromisoformat, column)


def encode_json(value: Any) -> str:
    """Return text unchanged, and any other value as JSON; values JSON lacks become text."""
    if type(value) is str and value.isascii() and "\0" not in value:  # The common case.
        return value
    return encode_text(value if isinstance(value, str) else json_text(value))


def encode_bytes(value: Any) -> Any:
    """Check a value of bytes, which only one table of the library has."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"must be bytes, not {type(value).__name__}")
    return bytes(value)


def decode_bytes(column: Sequence[bytes | memoryview]) -> Iterable[bytes]:
    """Decode a column of bytes, of which a driver may return views."""
    return map(bytes, column)


Encoder = Callable[[Any], str | int | float | None]
Decoder = Callable[[Sequence[Any]], Iterable[Any]]
