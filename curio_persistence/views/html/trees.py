"""Values of JSON as a tree that unfolds: objects and lists as nested `<details>`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from curio_persistence.views.html.chips import binary_chip
from curio_persistence.views.html.text import Html, element, joined, linked
from curio_persistence.views.values import compact, parsed

_OPEN = 2
"""Levels that are unfolded at first."""
_DEEPEST = 100
"""Levels below which JSON is shown as text: JSON in JSON text may go deeper than JSON itself."""
_HINT = 60
"""Characters of a folded value that its line shows."""


def tree(value: Any, nodes: int) -> Html:
    """Return a value as a tree of at most so many nodes, and say where it was cut."""
    return _Tree(nodes).root(value)


def from_text(text: str) -> Any:
    """Return the object or list that a text holds as JSON; any other text as it is."""
    found = parsed(text) if text[:1] in "{[" and len(text) > 1 else text
    return found if isinstance(found, dict | list) else text


class _Tree:
    """One tree; `left` counts the nodes that may still be shown."""

    def __init__(self, nodes: int) -> None:
        self.nodes = self.left = nodes

    def root(self, value: Any) -> Html:
        shown = self._value(value, 0)
        if self.left > 0:
            return element("div", shown, class_="tree")
        cut = f"Only the first {self.nodes:,} values are shown."
        return element("div", shown, element("p", cut, class_="cut-note"), class_="tree")

    def _value(self, value: Any, depth: int) -> Html:
        inside = from_text(value) if isinstance(value, str) else value
        if not isinstance(inside, dict | list):
            return leaf(inside)
        if not inside or depth >= _DEEPEST:
            return element("code", compact(inside), dir="auto")
        return self._branch(inside, depth, "JSON text" if isinstance(value, str) else "")

    def _branch(self, value: dict[str, Any] | list[Any], depth: int, note: str) -> Html:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        head = element("summary", joined(_summary(value, note)))
        is_open = "" if depth < _OPEN else None
        return element("details", head, *self._members(pairs, depth), open=is_open)

    def _members(self, pairs: Iterable[tuple[str | int, Any]], depth: int) -> Iterator[Html]:
        for key, value in pairs:
            if self.left <= 0:
                return
            self.left -= 1
            name = element("b", str(key), dir="auto")
            yield element("div", name, " ", self._value(value, depth + 1))


def _summary(value: dict[str, Any] | list[Any], note: str) -> Iterator[str]:
    is_object = isinstance(value, dict)
    word = ("member" if is_object else "item") + "s" * (len(value) != 1)
    yield f"{'{' if is_object else '['} {len(value):,} {word} {'}' if is_object else ']'}"
    yield element("i", f" {note} {_hint(value)}", dir="auto")


def _hint(value: dict[str, Any] | list[Any]) -> str:
    """Return the beginning of what is folded."""
    keys = list(value)[:_HINT] if isinstance(value, dict) else value[:_HINT]
    leaves = (compact(each)[:_HINT] for each in keys if not isinstance(each, dict | list))
    text = ", ".join(leaves)
    return text if len(text) <= _HINT else f"{text[:_HINT]}…"


def leaf(value: Any) -> Html:
    """Return a value without members: text with its links, or a chip for what is not words."""
    if isinstance(value, str):
        return binary_chip(value) or element("span", linked(value), class_="string", dir="auto")
    return element("span", json.dumps(value), class_="atom")
