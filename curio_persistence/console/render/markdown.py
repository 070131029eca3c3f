"""Answers of models as markdown: no HTML of theirs, no images, links only to http and https."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt

from curio_persistence.views.html.text import Html, block, harmless, linked

_SCHEMES = ("http://", "https://")
_MOST = 16_000
"""Characters: the parser's time grows with the square of brackets that no bracket closes."""


def markdown(text: str) -> Html:
    """Return a text as HTML; a longer one as plain text."""
    if len(text) > _MOST:
        return block(text)
    return Html(_parser().render(harmless(text), {"links": 0}))


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "linkify": False}).disable("image")
    parser.validateLink = _is_link  # type: ignore[method-assign]  # As its documentation does.
    parser.add_render_rule("text", _text)
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("link_close", _link)
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    for side in ("th_open", "td_open"):
        parser.add_render_rule(side, _cell)
    return parser


def _is_link(url: str) -> bool:
    return url.lower().startswith(_SCHEMES)


def _text(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Write words, with their URLs as links where they stand in none."""
    words: str = tokens[index].content
    return escape(words) if env["links"] else linked(words)


def _link(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    env["links"] += token.nesting
    if token.nesting == 1:
        token.attrSet("rel", "noopener noreferrer nofollow")
        token.attrSet("target", "_blank")
    said: str = renderer.renderToken(tokens, index, options, env)
    return said


def _heading(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Write a heading of an answer as bold text: it is none of the page's."""
    is_begin = tokens[index].nesting == 1
    return '<p class="heading">' if is_begin else "</p>\n"


def _cell(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Write a cell without its alignment, which would be a `style`."""
    tokens[index].attrs.pop("style", None)
    said: str = renderer.renderToken(tokens, index, options, env)
    return said
