"""Keep passwords out of tracebacks that show local variables, as error trackers print them."""

from __future__ import annotations

from typing import overload


class Secret(str):
    """Text that may hold a password: everywhere a str, but its repr hides it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@overload
def hidden(text: str) -> str: ...
@overload
def hidden(text: str | None) -> str | None: ...
def hidden(text: str | None) -> str | None:
    """Return text as a secret; what is not text is returned as it is, for others to refuse."""
    return Secret(text) if isinstance(text, str) else text
