"""The shapes of entries' fields that views can compute with.

These are required texts and whole numbers, lists and dictionaries, and what a user says. Other
values may be anything: they are only stored and returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from curio_persistence.runlog.values import ContentPart, UserMessage


class Shape(NamedTuple):
    """A shape in words, and a test of whether a value has it."""

    words: str
    fits: Callable[[Any], bool]


def shape_of(hint: Any) -> Shape | None:
    """Return what the values of a type must be; None if they may be anything."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    told = [each for each in members if each is not type(None)]
    shape: Shape | None = None
    if UserMessage in told:
        shape = _USER_INPUT
    elif len(told) == 1 and (len(told) == len(members) or get_origin(told[0]) in (list, dict)):
        shape = _of_one(told[0])
    return shape if shape is None or len(told) == len(members) else _or_none(shape)


def _or_none(shape: Shape) -> Shape:
    return Shape(shape.words, lambda value: value is None or shape.fits(value))


def _of_one(hint: Any) -> Shape | None:
    if get_origin(hint) is list:
        item = _of_one(get_args(hint)[0])
        return _LIST if item is None else _list_of(item)
    if get_origin(hint) is dict:
        return _OBJECT
    return _SCALARS.get(hint)


def _list_of(item: Shape) -> Shape:
    return Shape(
        f"a list, each of it {item.words}",
        lambda value: isinstance(value, list | tuple) and all(map(item.fits, value)),
    )


def _is_text(value: Any) -> bool:
    # None, too: the older of two versions of a program may lack what the newer one requires.
    return value is None or isinstance(value, str)


def _is_input(value: Any) -> bool:
    parts = value.content if isinstance(value, UserMessage) else value
    return isinstance(parts, str) or (isinstance(parts, list) and all(map(_is_part, parts)))


def _is_part(value: Any) -> bool:
    return isinstance(value, ContentPart) and _is_text(value.text)


_SCALARS = {
    str: Shape("a text", _is_text),
    int: Shape("a whole number", lambda value: isinstance(value, Integral)),
}
_LIST = Shape("a list", lambda value: isinstance(value, list | tuple))
_OBJECT = Shape("a dictionary", lambda value: isinstance(value, Mapping))
_USER_INPUT = Shape("a text, a list of ContentPart or a UserMessage", _is_input)
