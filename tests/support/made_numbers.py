"""Generated numbers with correct check digits."""

from __future__ import annotations

from random import Random


def card(random: Random) -> str:
    """Return a number in Visa's format."""
    digits = "4" + "".join(random.choices("0123456789", k=14))
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[::2])
    total = sum(doubled) + sum(map(int, digits[1::2]))
    return f"{digits}{-total % 10}"


def iban(random: Random) -> str:
    """Return a number in the German format."""
    account = "".join(random.choices("0123456789", k=18))
    check = 98 - int(f"{account}131400") % 97
    return f"DE{check:02}{account}"
