"""A recorded value as HTML: words, messages, a tree, or a chip."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from curio_persistence.views.html.chips import binary_chip
from curio_persistence.views.html.messages import one_message, shown_messages
from curio_persistence.views.html.text import Html, block, element, joined, verbatim
from curio_persistence.views.html.trees import from_text, leaf, tree
from curio_persistence.views.messages import conversation_in
from curio_persistence.views.values import compact
from curio_persistence.views.wording import size

_PROMPTS = frozenset(("prompt", "input", "context"))
_ANSWERS = frozenset(("response", "output"))
_VERBATIM = frozenset(("traceback",))


class Limits(NamedTuple):
    """A text of more than `whole` characters is cut to `shown`; a tree has so many `nodes`."""

    whole: int
    shown: int
    nodes: int


ON_A_PAGE = Limits(64_000, 4_000, 2_000)
IN_A_FILE = Limits(1_000_000, 1_000_000, 20_000)
"""A file has no server to ask for the rest."""


class Renderer(NamedTuple):
    """Shows recorded values, within limits; `markdown` shows the answers of models, if given."""

    limits: Limits = ON_A_PAGE
    markdown: Callable[[str], Html] | None = None

    def part(self, name: str, value: Any, *, raw: bool = False) -> Html:
        """Return a named part of a step, as its name suggests; `raw`, its text as it is."""
        text = compact(value)
        if len(text) > self.limits.whole:
            return self._beginning(text)
        if raw or name in _VERBATIM:
            return verbatim(raw_text(value))
        value = from_text(value) if isinstance(value, str) else value
        role = "user" if name in _PROMPTS else "assistant"
        if name in _PROMPTS | _ANSWERS and (said := conversation_in(value, role)) is not None:
            return shown_messages(said, self.value, self.answer)
        if name == "prompt" and isinstance(value, str):
            return one_message("user", self.value(value))
        return self.answer(value) if name in _ANSWERS else self.value(value)

    def value(self, value: Any) -> Html:
        """Return a value of any shape: text as text, anything else as a tree."""
        value = from_text(value) if isinstance(value, str) else value
        if isinstance(value, str):
            return binary_chip(value) or block(value)
        return tree(value, self.limits.nodes) if isinstance(value, dict | list) else leaf(value)

    def answer(self, value: Any) -> Html:
        """Return what a model said, its markdown as such."""
        is_text = isinstance(value, str) and from_text(value) is value and not binary_chip(value)
        if not is_text or self.markdown is None:
            return self.value(value)
        return element("div", self.markdown(value), class_="markdown", dir="auto")

    def _beginning(self, text: str) -> Html:
        chip = binary_chip(text)
        if chip is not None:
            return chip
        shown = self.limits.shown
        said = f"The first {shown:,} characters of {len(text):,} ({size_of(text)}) are shown."
        return joined((block(text[:shown]), element("p", said, class_="cut-note")))


def raw_text(value: Any) -> str:
    """Return a value as text: what it is, or its JSON on lines."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def size_of(text: str) -> str:
    """Return how large a text is as UTF-8: `411 bytes`."""
    return size(len(text.encode("utf-8", "surrogatepass")))
