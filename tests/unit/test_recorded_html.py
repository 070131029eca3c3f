"""Recorded values as HTML: nothing vanishes, nothing is executed, nothing is endless."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from typing import Any

import pytest

from curio_persistence.views.html.text import Html, element, harmless, linked
from curio_persistence.views.html.values import ON_A_PAGE, Renderer
from tests.support.hostile_text import HOSTILE

PAGE = Renderer()
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256))).decode()
TAGS = {
    *("a", "b", "code", "details", "div", "i", "p", "pre", "span", "summary"),
}
ATTRIBUTES = {"class", "dir", "open", "href", "rel", "target"}


class Seen(HTMLParser):
    """The tags, attributes, links and text of a piece of markup."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(name: str, value: Any, renderer: Renderer = PAGE) -> Seen:
    return Seen(renderer.part(name, value))


@pytest.mark.parametrize("name", ["prompt", "response", "args", "result", "traceback", "metadata"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_recorded_text_becomes_markup(name: str, text: str) -> None:
    for value in (text, {text: [text]}, [{"role": text, "content": text}], json.dumps({"a": text})):
        seen = shown(name, value)
        assert set(seen.tags) <= TAGS
        assert seen.attributes <= ATTRIBUTES
        assert all(link.lower().startswith(("http://", "https://")) for link in seen.links)


def test_controls_and_marks_that_turn_writing_round_are_spelt_out() -> None:
    assert harmless("a\x00b\x1b[0m\u202ec\ud800") == "a\\x00b\\x1b[0m\\u202ec\\ud800"
    kept = "ab\tc\n日本語 עברית हिन्दी 👩\u200d🚀 a\xa0b"
    assert harmless(kept) == kept


def test_urls_are_links_and_other_schemes_are_not() -> None:
    markup = linked(
        "see (https://a.example/x?y=1&z=%22), http://b.example/w_(x) javascript:alert(1)"
    )
    assert Seen(markup).links == ["https://a.example/x?y=1&z=%22", "http://b.example/w_(x)"]
    assert Seen(linked("data:text/html,x file:///etc/passwd //c.example")).links == []


def test_markup_of_ours_is_not_escaped_twice_and_recorded_text_always_is() -> None:
    assert element("p", element("b", "<i>"), " & ") == "<p><b>&lt;i&gt;</b> &amp; </p>"
    assert isinstance(element("p"), Html)
    assert (
        element("p", title='"x"', class_="c", hidden=None)
        == '<p title="&quot;x&quot;" class="c"></p>'
    )


def test_json_unfolds_as_a_tree_json_in_text_too() -> None:
    seen = shown("result", {"a": {"b": json.dumps({"c": [1, None, True, "x"]})}})
    assert seen.tags.count("details") == 4
    assert "JSON text" in seen.text
    assert "null" in seen.text


def test_a_tree_says_where_it_was_cut() -> None:
    seen = shown("result", [[number] for number in range(3000)])
    assert "Only the first 2,000 values are shown." in seen.text
    assert seen.tags.count("b") == 2000
    assert "Only" not in shown("result", list(range(1000))).text


def test_deep_json_ends() -> None:
    deep = "[" * 10_000 + "]" * 10_000
    assert shown("result", deep).text.count("[") > 0
    nested: Any = 1
    for _ in range(90):
        nested = json.dumps([nested]) if nested == 1 else [nested]
    assert shown("result", nested).tags.count("details") >= 90


def test_base64_is_told_by_type_and_size() -> None:
    assert shown("result", PIXEL).text == "image/png · 264 bytes"
    assert shown("result", f"data:image/webp;base64,{PIXEL}").text == "image/webp · 264 bytes"
    assert "image/png · 264 bytes" in shown("args", {"shot": PIXEL}).text
    assert shown("result", "0a1b" * 100).text == "0a1b" * 100
    prose = "It was 3 o'clock and nobody came. " * 40
    assert shown("result", prose).text == prose


def test_a_long_text_is_cut_and_told() -> None:
    seen = shown("response", "x" * 70_000)
    assert seen.text.count("x") == ON_A_PAGE.shown
    assert "The first 4,000 characters of 70,000 (70 kB) are shown." in seen.text
    assert shown("response", "é" * 64_000).text.count("é") == 64_000


def test_a_prompt_is_a_message_of_the_user_and_raw_is_the_text_itself() -> None:
    assert shown("prompt", "Hi").text == "userHi"
    assert PAGE.part("prompt", [{"role": "user", "content": "Hi"}], raw=True) == (
        '<pre dir="auto">[\n  {\n    &quot;role&quot;: &quot;user&quot;,\n'
        "    &quot;content&quot;: &quot;Hi&quot;\n  }\n]</pre>"
    )


def test_a_message_shows_its_words_calls_results_and_images() -> None:
    seen = shown(
        "prompt",
        {
            "system": "Be brief.",
            "model": "m",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Look"}, image()]},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "name": "find", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "content": "no", "is_error": True}],
                },
            ],
        },
    )
    for told in (
        "system",
        "Be brief.",
        "Look",
        "image/png · 264 bytes",
        "calls find",
        "failed in",
        "m",
    ):
        assert told in seen.text


def image() -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


def test_only_answers_are_markdown() -> None:
    renderer = Renderer(markdown=lambda text: element("em", text))
    assert "em" in shown("response", "*x*", renderer).tags
    assert "em" in shown("response", {"role": "assistant", "content": "*x*"}, renderer).tags
    assert "em" not in shown("prompt", "*x*", renderer).tags
    assert "em" not in shown("result", "*x*", renderer).tags
    assert "em" not in shown("response", '{"a": 1}', renderer).tags
