"""A waterfall in a notebook stays readable, whatever its spans are called and however many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from curio_persistence import Trace
from curio_persistence.views.traces.trace import TraceSpan
from curio_persistence.views.values import length_of_time

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def span(span_id: str, begin: float, end: float | None, **fields: object) -> TraceSpan:
    values = {"name": span_id, "status": "ok", **fields}
    return TraceSpan(
        "t",
        span_id,
        started_at=NOON + timedelta(milliseconds=begin),
        ended_at=None if end is None else NOON + timedelta(milliseconds=end),
        **values,  # type: ignore[arg-type]
    )


def drawn(*spans: TraceSpan) -> ElementTree.Element:
    html = Trace("t", spans[0].span_id, spans)._repr_html_()
    return ElementTree.fromstring(html[html.index("<svg") : html.rindex("</svg>") + len("</svg>")])


def test_a_wide_label_ends_before_the_bars() -> None:
    image = drawn(span("W" * 255, 0, 9), span("b", 1, None, parent_span_id="W" * 255))
    bars = min(float(bar.attrib["x"]) for bar in image.iter(f"{SVG}rect"))
    labels = [*image.iter(f"{SVG}svg")][1:]
    assert len(labels) == 2
    assert all(float(label.attrib["width"]) < bars for label in labels)  # It cuts off the rest.
    [mark] = (text for text in image.iter(f"{SVG}text") if text.text == "⚠")
    assert float(labels[0].attrib["width"]) <= float(mark.attrib["x"]) < bars


def test_a_deep_span_tells_its_level_first() -> None:
    deep = [
        span(str(level), 0, 9, parent_span_id=str(level - 1) if level else None)
        for level in range(15)
    ]
    labels = [label[0].text for label in [*drawn(*deep).iter(f"{SVG}svg")][1:]]
    assert labels[12:] == ["span 12", "13: span 13", "14: span 14"]


@pytest.mark.slow
def test_a_bar_is_drawn_in_few_pieces() -> None:
    steps = [span(f"step {n}", n + 0.2, n + 0.8, parent_span_id="all") for n in range(20_000)]
    image = drawn(span("all", 0, 20_000), *steps)
    of_root = image.find(f"{SVG}g")
    assert of_root is not None
    assert len(of_root.findall(f"{SVG}rect")) == 2
    assert len([*image.iter(f"{SVG}g")]) == 200


def test_what_a_browser_tells_of_a_span_is_short() -> None:
    image = drawn(span("a", 0, 9, status="error", error_message="no\n" * 100_000))
    assert len(image.findtext(f"{SVG}g/{SVG}title") or "") < 600


def test_short_times_are_told_apart() -> None:
    times = (0, 0.04, 0.4, 9.94, 9.96, 999.6, 1000, 1_200_500)
    assert [length_of_time(ms) for ms in times] == [
        "0 ms",
        "0.0 ms",
        "0.4 ms",
        "9.9 ms",
        "10 ms",
        "1.0 s",
        "1.0 s",
        "1,200.5 s",
    ]
