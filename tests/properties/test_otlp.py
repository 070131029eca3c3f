"""Any span is read as it was written, in both formats of OTLP."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.otel.decoding import decode_traces
from curio_persistence.interop.otel.encoding import encode_traces, encode_traces_as_json
from curio_persistence.interop.otel.spans import OtelEvent, OtelLink, OtelSpan, Source
from tests.properties.strategies import an_integer, any_text
from tests.support.otlp_corpus import JSON, PROTOBUF


def an_id(size: int) -> SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).filter(any).map(bytes.hex)


def spans_of(text: SearchStrategy[str]) -> SearchStrategy[list[OtelSpan]]:
    """Return spans of one or two sources, in which all text is this text."""
    scalar = (
        st.none() | st.booleans() | an_integer | st.floats(allow_nan=False) | st.binary() | text
    )
    value: SearchStrategy[Any] = st.recursive(
        scalar,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=5,
    )
    attributes = st.dictionaries(text, value, max_size=3)
    a_time, a_count = st.integers(0, 2**62), st.integers(0, 2**32 - 1)
    event = st.builds(OtelEvent, text, a_time, attributes, a_count)
    link = st.builds(OtelLink, an_id(16), an_id(8), text, attributes, a_count, a_count)
    source = st.builds(Source, attributes, text, a_count, text, text, attributes, text, a_count)

    def span(source: Source) -> SearchStrategy[OtelSpan]:
        return st.builds(
            OtelSpan,
            trace_id=an_id(16),
            span_id=an_id(8),
            parent_span_id=st.none() | an_id(8),
            name=text,
            start_ns=a_time,
            end_ns=st.just(0) | st.integers(2**62, 2**64 - 1),
            kind=st.integers(0, 5) | st.integers(-(2**31), 2**31 - 1),
            status_code=st.integers(0, 2) | st.integers(-(2**31), 2**31 - 1),
            status_message=text,
            attributes=attributes,
            events=st.lists(event, max_size=2).map(tuple),
            links=st.lists(link, max_size=2).map(tuple),
            trace_state=text,
            flags=a_count,
            dropped_attributes=a_count,
            dropped_events=a_count,
            dropped_links=a_count,
            source=st.just(source),
        ).filter(lambda span: span.span_id != span.parent_span_id)

    return source.flatmap(lambda source: st.lists(span(source), min_size=1, max_size=3))


utf_8 = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\0é🙂"\\'), max_size=9)

# To JSON, two surrogates that follow each other are one character.
unpaired = any_text.map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)


@given(spans_of(utf_8))
def test_protobuf_loses_nothing(spans: list[OtelSpan]) -> None:
    assert decode_traces(encode_traces(spans), PROTOBUF).spans == spans


@given(spans_of(unpaired))
def test_json_loses_nothing(spans: list[OtelSpan]) -> None:
    assert decode_traces(encode_traces_as_json(spans), JSON).spans == spans


@given(spans_of(any_text))
def test_text_that_utf_8_lacks_loses_no_span(spans: list[OtelSpan]) -> None:
    found = decode_traces(encode_traces(spans), PROTOBUF).spans
    assert [span.span_id for span in found] == [span.span_id for span in spans]


def read_or_refused(body: bytes, content_type: str) -> None:
    try:
        decode_traces(body, content_type)
    except InvalidValueError as error:
        refused = error
    else:
        return
    assert refused.field == "body"


@given(st.binary(), st.sampled_from([JSON, PROTOBUF]))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str) -> None:
    read_or_refused(body, content_type)


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
@given(spans=spans_of(utf_8), data=st.data())
def test_any_damage_is_survived(
    spans: list[OtelSpan], content_type: str, data: st.DataObject
) -> None:
    encode = encode_traces_as_json if content_type == JSON else encode_traces
    body = bytearray(encode(spans))
    for _ in range(3):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    read_or_refused(bytes(body), content_type)
