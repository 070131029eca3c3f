"""Bodies of OTLP: both formats say the same, and what is wrong costs only itself."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.otel.decoding import (
    Decoded,
    decode_logs,
    decode_metrics,
    decode_traces,
)
from curio_persistence.interop.otel.encoding import encode_traces, encode_traces_as_json
from curio_persistence.interop.otel.spans import OtelSpan
from tests.support.otlp_corpus import CAPTURES, FOLDER, JSON, PROTOBUF, bodies, spans

TRACE, SPAN, OTHER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
GOOD = {
    "traceId": TRACE,
    "spanId": SPAN,
    "name": "chat",
    "startTimeUnixNano": "1795946321427000000",
    "endTimeUnixNano": "1795946321828895692",
}


def body_of(*records: Any, **resource: Any) -> bytes:
    scope = {"scope": {"name": "tests"}, "spans": list(records)}
    return json.dumps({"resourceSpans": [{"scopeSpans": [scope]} | resource]}).encode()


def decoded(*changes: dict[str, Any] | None) -> Decoded:
    """Return what is read of a body with a span for each of these changes of a good one."""
    return decode_traces(body_of(*(GOOD | (change or {}) for change in changes)), JSON)


def only(**change: Any) -> OtelSpan:
    found = decoded(change)
    assert (found.rejected, found.message) == (0, "")
    [span] = found.spans
    return span


def as_json(body: bytes, request_type: Any = ExportTraceServiceRequest) -> bytes:
    """Return a body as protobuf's own writer of JSON has it, with the ids as OTLP wants them."""

    def hexed(value: Any) -> Any:
        if isinstance(value, list):
            return [hexed(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: base64.b64decode(each).hex()
            if name in {"traceId", "spanId", "parentSpanId"}
            else hexed(each)
            for name, each in value.items()
        }

    request = request_type.FromString(body)
    return json.dumps(
        hexed(json_format.MessageToDict(request, use_integers_for_enums=True))
    ).encode()


@pytest.mark.parametrize("capture", CAPTURES)
def test_protobuf_and_json_say_the_same(capture: str) -> None:
    for body in bodies(capture):
        assert decode_traces(as_json(body), JSON) == decode_traces(body, PROTOBUF)


@pytest.mark.parametrize("capture", CAPTURES)
def test_logs_and_metrics_are_the_same_in_both_formats(capture: str) -> None:
    for body in bodies(capture, "logs"):
        logs = decode_logs(body, PROTOBUF)
        assert logs.logs
        assert decode_logs(as_json(body, ExportLogsServiceRequest), JSON) == logs
    for body in bodies(capture, "metrics"):
        points = decode_metrics(body, PROTOBUF)
        assert points.points
        assert decode_metrics(as_json(body, ExportMetricsServiceRequest), JSON) == points


@pytest.mark.parametrize("name", ["vercel-ai5-steps", "vercel-ai7-steps"])
def test_what_node_sends_as_json_says_the_same(name: str) -> None:
    sent = decode_traces((FOLDER / f"{name}.json").read_bytes(), "Application/JSON; charset=utf-8")
    assert sent.spans
    assert tuple(sent.spans) == spans(name)


@pytest.mark.parametrize("capture", CAPTURES)
def test_spans_are_sent_on_as_they_came(capture: str) -> None:
    came = spans(capture)
    assert sorted_by_id(decode_traces(encode_traces(came), PROTOBUF)) == sorted_by_id(came)
    assert sorted_by_id(decode_traces(encode_traces_as_json(came), JSON)) == sorted_by_id(came)


def sorted_by_id(found: Decoded | tuple[OtelSpan, ...]) -> list[OtelSpan]:
    them = found.spans if isinstance(found, Decoded) else found
    return sorted(them, key=lambda span: (span.trace_id, span.span_id))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"traceId": "0" * 32}, "trace_id is missing or all 0"),
        ({"traceId": None}, "trace_id is missing or all 0"),
        ({"traceId": TRACE[:-2]}, "trace_id has 30 hex digits instead of 32"),
        ({"traceId": base64.b64encode(bytes.fromhex(TRACE)).decode()}, "trace_id must be"),
        ({"traceId": 7}, "trace_id must be text of hex digits"),
        ({"spanId": "0" * 16}, "span_id is missing or all 0"),
        ({"spanId": SPAN * 2}, "span_id has 32 hex digits instead of 16"),
        ({"parentSpanId": "abc"}, "parent_span_id has 3 hex digits instead of 16"),
        ({"name": ["chat"]}, "name is not text"),
        ({"startTimeUnixNano": -1}, "startTimeUnixNano is not an integer from 0"),
        ({"startTimeUnixNano": True}, "startTimeUnixNano is not an integer from 0"),
        ({"endTimeUnixNano": str(2**64)}, "endTimeUnixNano is not an integer from 0"),
        ({"endTimeUnixNano": "9" * 5000}, "endTimeUnixNano is not an integer from 0"),
        ({"kind": 2**31}, "an enum is not an integer"),
        ({"status": "error"}, "status is not an object"),
        ({"attributes": "many"}, "another type"),
        ({"attributes": [{"key": 1, "value": {}}]}, "a key of an attribute is not text"),
        ({"attributes": [{"key": "a", "value": {"stringValue": 1}}]}, "stringValue is not text"),
        ({"attributes": [{"key": "a", "value": {"intValue": "1.5"}}]}, "intValue is not"),
        ({"attributes": [{"key": "a", "value": {"intValue": 2**63}}]}, "intValue is not"),
        ({"attributes": [{"key": "a", "value": {"doubleValue": "much"}}]}, "doubleValue is not"),
        ({"attributes": [{"key": "a", "value": {"boolValue": "true"}}]}, "boolValue is neither"),
        ({"attributes": [{"key": "a", "value": {"bytesValue": "*"}}]}, "bytesValue is not base64"),
        ({"attributes": [{"key": "a", "value": {"arrayValue": {"values": 1}}}]}, "not a list"),
        ({"links": [{"traceId": "xyz"}]}, "trace_id of a link"),
        ({"events": [7]}, "another type"),
    ],
)
def test_a_wrong_span_is_rejected_and_the_others_are_kept(
    change: dict[str, Any], reason: str
) -> None:
    found = decoded({"spanId": OTHER}, change, None)
    assert [span.span_id for span in found.spans] == [OTHER, SPAN]
    assert found.rejected == 1
    assert found.message.startswith("1 span rejected: ")
    assert reason in found.message


def test_a_message_names_some_reasons_and_counts_all() -> None:
    wrong = [{"spanId": "ab" * (n % 7)} for n in range(100)]
    found = decoded(None, *wrong)
    assert found.rejected == 100
    assert found.message == (
        "100 spans rejected: span_id is missing or all 0; "
        "span_id has 2 hex digits instead of 16; span_id has 4 hex digits instead of 16"
    )


def test_what_is_no_span_counts_as_one() -> None:
    assert decode_traces(body_of(GOOD, 7, None, "x", []), JSON).rejected == 4
    for group in ({"scopeSpans": 5}, 5, {"scopeSpans": [{"spans": "x"}]}, {"resource": []}):
        body = json.dumps({"resourceSpans": [group, json.loads(body_of(GOOD))["resourceSpans"][0]]})
        found = decode_traces(body.encode(), JSON)
        assert len(found.spans) == 1
        assert found.rejected == (0 if group == {"resource": []} else 1)


def test_protobuf_is_checked_alike() -> None:
    request = ExportTraceServiceRequest.FromString(encode_traces([only()]))
    kept = request.resource_spans[0].scope_spans[0].spans
    for change in (
        {"trace_id": bytes(16)},
        {"trace_id": b""},
        {"span_id": b"\1" * 9},
        {"parent_span_id": b"\1"},
    ):
        wrong = copy.deepcopy(kept[0])
        for name, value in change.items():
            setattr(wrong, name, value)
        kept.append(wrong)
    found = decode_traces(request.SerializeToString(), PROTOBUF)
    assert found.spans == [only()]
    assert found.rejected == 4
    assert "trace_id is missing or all 0" in found.message


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"\xff\xfe\0", JSON),
        (b"[]", JSON),
        (b"7", JSON),
        (b'{"spans": []}', JSON),
        (b'{"resourceSpans": {}}', JSON),
        (b"[" * 100_000, JSON),
        (b"\xff\xff\xff\xff", PROTOBUF),
        (b"<html>", PROTOBUF),
        (b'{"resourceSpans": []}', PROTOBUF),
        (b"", "text/html"),
        (b"", ""),
    ],
)
def test_what_is_not_otlp_is_one_error(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        decode_traces(body, content_type)
    assert caught.value.field in {"body", "content_type"}


def test_a_body_without_spans_is_no_error() -> None:
    assert decode_traces(b"{}", JSON) == Decoded([])
    assert decode_traces(b"", PROTOBUF) == Decoded([])


def test_a_span_that_is_its_own_parent_has_none() -> None:
    assert only(parentSpanId=SPAN.upper()).parent_span_id is None
    assert only(parentSpanId="0" * 16).parent_span_id is None
    assert only(parentSpanId=OTHER).parent_span_id == OTHER


def test_an_end_is_not_before_its_beginning() -> None:
    span = only(startTimeUnixNano="20", endTimeUnixNano="10")
    assert (span.start_ns, span.end_ns) == (20, 20)
    assert only(endTimeUnixNano=0).end_ns == 0


def test_unknown_numbers_of_enums_are_kept() -> None:
    span = only(kind=99, status={"code": 7})
    assert (span.kind, span.status_code) == (99, 7)
    span = only(kind="SPAN_KIND_CLIENT", status={"code": "STATUS_CODE_ERROR"})
    assert (span.kind, span.status_code) == (3, 2)
    assert only(kind="SPAN_KIND_NEW").kind == 0
    assert decode_traces(encode_traces([only(kind=99)]), PROTOBUF).spans[0].kind == 99


def test_numbers_may_be_text_or_numbers() -> None:
    span = only(
        startTimeUnixNano=1795946321427000000,
        attributes=[
            {"key": "text", "value": {"intValue": "-7"}},
            {"key": "number", "value": {"intValue": 7}},
            {"key": "whole", "value": {"doubleValue": 7}},
            {"key": "none", "value": {"doubleValue": "NaN"}},
            {"key": "bytes", "value": {"bytesValue": "-_8"}},
            {"key": "null", "value": None},
            {"key": "empty", "value": {}},
            {"key": "later", "value": {"newValue": 1}},
        ],
        unknown={"members": "are ignored"},
    )
    assert span.start_ns == 1795946321427000000
    nan = span.attributes.pop("none")
    assert nan != nan
    assert span.attributes == {
        "text": -7,
        "number": 7,
        "whole": 7.0,
        "bytes": b"\xfb\xff",
        "null": None,
        "empty": None,
        "later": None,
    }
    assert type(span.attributes["whole"]) is float


def test_many_and_large_attributes_are_kept() -> None:
    many = {f"key {n}": n for n in range(10_000)}
    large = {"text": "x" * (4 << 20), "bytes": bytes(4 << 20)}
    for attributes in (many, large):
        span = OtelSpan(TRACE, SPAN, None, "large", 1, 2, attributes=attributes)
        for found in (
            decode_traces(encode_traces([span]), PROTOBUF),
            decode_traces(encode_traces_as_json([span]), JSON),
        ):
            assert found.spans == [span]


def test_a_value_that_nests_too_deep_costs_its_span() -> None:
    deep: dict[str, Any] = {"stringValue": "x"}
    for _ in range(65):
        deep = {"arrayValue": {"values": [deep]}}
    found = decoded({"attributes": [{"key": "deep", "value": deep}]}, None)
    assert (len(found.spans), found.rejected) == (1, 1)
    assert "nested deeper" in found.message


def log_body(*records: Any) -> bytes:
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [*records]}]}]}).encode()


def test_a_log_record_need_not_belong_to_a_span() -> None:
    found = decode_logs(log_body({"body": {"stringValue": "x"}, "observedTimeUnixNano": 7}), JSON)
    [log] = found.logs
    assert (log.trace_id, log.span_id, log.body, log.time_ns) == (None, None, "x", 7)


def test_records_beyond_a_hundred_thousand_are_rejected() -> None:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(100_003):
        spans.add()
    for span in (spans[0], spans[-1]):
        span.trace_id, span.span_id = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
    for body, content_type in (
        (request.SerializeToString(), PROTOBUF),
        (body_of(GOOD, *[{}] * 100_001, GOOD), JSON),
    ):
        found = decode_traces(body, content_type)
        assert (len(found.spans), found.rejected) == (1, 100_002)
        assert "a body has 100,000 records at most" in found.message


@pytest.mark.parametrize("part", ["events", "links"])
def test_a_span_with_more_parts_than_are_read_is_rejected(part: str) -> None:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
    parts = getattr(span, part)
    for _ in range(100_001):
        parts.add()
    for body, content_type in (
        (request.SerializeToString(), PROTOBUF),
        (body_of(GOOD | {part: [{}] * 100_001}), JSON),
    ):
        found = decode_traces(body, content_type)
        assert (found.spans, found.rejected) == ([], 1)
        assert f"a span has 100,000 {part} at most" in found.message


def test_a_body_of_more_scopes_than_are_read_is_refused() -> None:
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{}] * 100_001}]}).encode()
    with pytest.raises(InvalidValueError, match="more than 100,000 scopes"):
        decode_traces(body, JSON)


def test_a_wrong_log_record_is_rejected_and_the_others_are_kept() -> None:
    good = {"traceId": TRACE, "spanId": SPAN, "timeUnixNano": "5"}
    wrong = ({"traceId": "abc"}, {"spanId": 7}, {"body": "text"}, {"severityNumber": 2**40})
    found = decode_logs(log_body(good, *(good | each for each in wrong)), JSON)
    assert (len(found.logs), found.rejected) == (1, 4)
    assert found.message.startswith("4 log records rejected: ")


def test_a_wrong_metric_is_rejected_and_the_others_are_kept() -> None:
    good = {"name": "m", "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": "3"}]}}
    wrong = (
        *({"name": 1}, {"sum": 7}, {"sum": {"dataPoints": [{"asInt": "x"}]}}),
        {"sum": {"dataPoints": 1}},
    )
    metrics = [good, {"name": "without data"}, *(good | each for each in wrong)]
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}
    found = decode_metrics(json.dumps(body).encode(), JSON)
    [point] = found.points
    assert (point.name, point.value, point.is_delta, found.rejected) == ("m", 3, True, 4)
