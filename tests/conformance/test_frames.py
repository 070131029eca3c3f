"""The same records as pandas frames, Arrow tables, dictionaries and notebook tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
    Records,
    Stream,
)
from tests.support.batches import Kind
from tests.support.listings import NOON, iterate, query, write
from tests.support.records import MODELS, Record
from tests.support.records import write as write_one

MANY = 2_001
"""More records than are read at a time."""
CHUNK = 10_000
"""Records that are converted into a data frame at a time."""

Result = Records[Any] | Stream[Any]
Read = Callable[[Persistence, Kind], Result]

of_each_kind = pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)


def _page(persistence: Persistence, kind: Kind) -> Result:
    return query(persistence, kind, limit=None, order="oldest")


def _stream(persistence: Persistence, kind: Kind) -> Result:
    return iterate(persistence, kind, order="oldest")


either_way = pytest.mark.parametrize("read", [_page, _stream], ids=["page", "stream"])

TIMES = {"started_at", "finished_at", "created_at", "updated_at", "timestamp"}
INTEGERS = {
    "id",
    "total_iterations",
    "prompt_length",
    "input_tokens",
    "output_tokens",
    "response_length",
    "latency_ms",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "chain_position",
    "seq",
}

TEXTS = [
    "",
    "it's",
    "''",
    "'",
    '"',
    "NULL",
    "\\N",
    "\\.",
    ",",
    "a,b\nc\r\nd\re",
    "\n",
    " ",
    "\t",
    "%s %Q ? {} $1",
    "é🙂漢",
    "\ufeff",
    "\ufdd0",
    "\ufdd00000",
    "a\0b",
    "\x01\x1f\x7f\x85\u2028",
    "1",
    "1e5",
    "true",
    "nan",
    "2026-11-20T12:00:00+00:00",
]


def full_records() -> list[Record]:
    """One record of each kind with every field set to values that are hard to store."""
    times = [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(2026, 11, 20, 10, 30, 0, 5, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    return [
        AgentRun(
            agent_id="agent",
            run_id="it's",
            agent_name="é, '",
            objective="a\0b",
            additional_context="NULL",
            started_at=times[0],
            finished_at=times[2],
            total_iterations=2**63 - 1,
            final_synthesis_output="",
            execution_history="[\n1]",
            status="'",
            error_message="\\",
            metadata='{"a": "b"}',
            created_at=times[1],
            updated_at=times[1],
            session_id="NULL",
            parent_run_id=",",
        ),
        AgentRunEvent(
            agent_id="'",
            run_id="it's",
            agent_name="NULL",
            timestamp=times[1],
            event_type="\n",
            data="'\0'",
            created_at=times[2],
            event_id="\r",
        ),
        AgentLLMUsage(
            agent_id='"',
            run_id=",",
            provider="\ufdd0",
            model="\ufdd00000",
            prompt="\0",
            prompt_length=0,
            input_params="{}",
            input_tokens=2**62,
            output_tokens=2**63 - 1,
            response_content="'\n'",
            response_length=1,
            usage_metrics="x",
            status="ok",
            error_message="",
            latency_ms=5,
            created_at=times[0],
            span_id="span",
            cache_read_tokens=1,
            cache_write_tokens=2,
            reasoning_tokens=3,
            cost_usd=Decimal("9223371.999999999999"),
            event_id="event",
            trace_id="trace",
            parent_span_id="parent",
            price_version="own 1",
        ),
    ]


# --- dictionaries ---------------------------------------------------------------------------------


@either_way
@of_each_kind
def test_the_dictionaries_are_those_of_the_records(
    persistence: Persistence, kind: Kind, read: Read
) -> None:
    for each in full_records():
        write_one(persistence, each)
    write(persistence, kind, range(2))
    result = read(persistence, kind)
    assert result.to_dicts() == [each.to_dict() for each in result]
    assert len(result.to_dicts()) == 3
    assert [kind.from_dict(each) for each in result.to_dicts()] == list(result)


# --- Arrow ----------------------------------------------------------------------------------------


@either_way
@of_each_kind
def test_an_arrow_table_has_the_values_of_the_records(
    persistence: Persistence, kind: Kind, read: Read
) -> None:
    for each in full_records():
        write_one(persistence, each)
    write(persistence, kind, range(2))
    result = read(persistence, kind)
    assert result.to_arrow().to_pylist() == [_values(each) for each in result]


def _values(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


@either_way
@of_each_kind
def test_an_arrow_table_has_the_same_types_with_rows_and_without(
    persistence: Persistence, kind: Kind, read: Read
) -> None:
    expected = pa.schema(
        (
            field.name,
            pa.timestamp("us", "UTC")
            if field.name in TIMES
            else pa.int64()
            if field.name in INTEGERS
            else pa.decimal128(20, 12)
            if field.name == "cost_usd"
            else pa.string(),
        )
        for field in fields(kind)
    )
    empty = read(persistence, kind).to_arrow()
    assert (empty.schema, empty.num_rows) == (expected, 0)
    write(persistence, kind, range(2))
    for each in full_records():
        write_one(persistence, each)
    full = read(persistence, kind).to_arrow()
    assert (full.schema, full.num_rows) == (expected, 3)


@either_way
def test_no_text_is_confused_with_another_or_with_none(
    persistence: Persistence, read: Read
) -> None:
    texts = [*TEXTS, *map("".join, pairwise(TEXTS))]
    for text in [*texts, None]:
        persistence.log_llm_usage(AgentLLMUsage("a", None, prompt="'", response_content=text))
    table = read(persistence, AgentLLMUsage).to_arrow()
    assert table["response_content"].to_pylist() == [*texts, None]
    assert table["prompt"].to_pylist() == ["'"] * (len(texts) + 1)
    assert table["run_id"].null_count == len(texts) + 1


@either_way
def test_no_name_is_confused_with_another_or_with_none(
    persistence: Persistence, read: Read
) -> None:
    """The escape for NUL in texts has no special meaning in names."""
    names = [text for text in TEXTS if "\0" not in text]
    for name in names:
        persistence.log_llm_usage(AgentLLMUsage(None, None, model=name, span_id=name))
    table = read(persistence, AgentLLMUsage).to_arrow()
    assert table["model"].to_pylist() == names
    assert table["span_id"].to_pylist() == [name or None for name in names]


@either_way
def test_costs_are_exact_in_arrow(persistence: Persistence, read: Read) -> None:
    costs = [Decimal(text) for text in ("0", "0.1", "0.000000000001", "9223371.999999999999")]
    for cost in [*costs, None]:
        persistence.log_llm_usage(AgentLLMUsage("a", None, cost_usd=cost))
    column = read(persistence, AgentLLMUsage).to_arrow()["cost_usd"]
    assert column.to_pylist() == [*costs, None]


@either_way
def test_a_lone_surrogate_is_a_replacement_character_in_tables(
    persistence: Persistence, read: Read
) -> None:
    persistence.log_llm_usage(AgentLLMUsage("a", None, prompt="a\ud83d\ude00\0é\udfff"))
    calls = read(persistence, AgentLLMUsage)
    replaced = "a\ufffd\ufffd\0é\ufffd"
    assert calls.to_arrow()["prompt"].to_pylist() == [replaced]
    assert calls.to_pandas()["prompt"].tolist() == [replaced]
    assert [call.prompt for call in calls] == ["a\ud83d\ude00\0é\udfff"]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_the_table_of_a_stream_is_that_of_its_page(persistence: Persistence, order: str) -> None:
    """Holds for any number of chunks and any column fixed by a filter."""
    write(persistence, AgentLLMUsage, range(MANY), moments=7)
    write(persistence, AgentLLMUsage, range(5), agent_id="other", cost_usd=0.1)
    for filters in {}, {"agent_id": "agent"}, {"agent_id": "agent", "run_id": "run"}:
        page = query(persistence, AgentLLMUsage, order=order, limit=None, **filters)
        stream = iterate(persistence, AgentLLMUsage, order=order, **filters)
        assert stream.to_arrow().equals(page.to_arrow())
        pd.testing.assert_frame_equal(stream.to_pandas(), page.to_pandas())
        assert stream.to_dicts() == page.to_dicts()


def test_a_table_sees_the_writes_of_its_transaction(persistence: Persistence) -> None:
    with persistence.transaction():
        write(persistence, AgentRunEvent, range(3))
        table = persistence.iter_agent_run_events(order="oldest").to_arrow()
    assert table["data"].to_pylist() == ["0", "1", "2"]


@pytest.mark.slow
def test_a_very_long_text_is_in_the_table_among_short_ones(persistence: Persistence) -> None:
    lengths = [1, 65 << 20, 2, 3]
    for number, length in enumerate(lengths):
        persistence.log_llm_usage(
            AgentLLMUsage(
                "a", None, prompt="'" * length, created_at=NOON + timedelta(seconds=number)
            )
        )
    table = persistence.iter_llm_usage(order="oldest").to_arrow()
    assert [len(text) for text in table["prompt"].to_pylist()] == lengths


@either_way
def test_libraries_that_read_arrow_read_results(persistence: Persistence, read: Read) -> None:
    write(persistence, AgentRun, range(3))
    runs = read(persistence, AgentRun)
    expected = runs.to_arrow()
    assert pa.table(runs).equals(expected)
    assert pa.RecordBatchReader.from_stream(runs).read_all().equals(expected)
    assert pl.DataFrame(runs).equals(pl.DataFrame(expected))


def test_a_stream_is_read_batch_by_batch(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))
    batches = pa.RecordBatchReader.from_stream(persistence.iter_agent_run_events())
    lengths = [batch.num_rows for batch in batches]
    assert len(lengths) > 1
    assert sum(lengths) == MANY
    assert 0 not in lengths


# --- pandas ---------------------------------------------------------------------------------------


@either_way
@of_each_kind
def test_a_frame_has_the_values_of_the_records(
    persistence: Persistence, kind: Kind, read: Read
) -> None:
    for each in full_records():
        write_one(persistence, each)
    write(persistence, kind, range(2))
    result = read(persistence, kind)
    frame = result.to_pandas()
    assert list(frame.index) == [0, 1, 2]
    for name in frame.columns:
        values = [getattr(each, name) for each in result]
        for found, value in zip(frame[name], values, strict=True):
            if value is None:
                assert pd.isna(found)
            else:
                assert found == (float(value) if name == "cost_usd" else value)


@either_way
@of_each_kind
def test_a_frame_has_the_same_types_with_rows_and_without(
    persistence: Persistence, kind: Kind, read: Read
) -> None:
    text = pd.Series(["a"]).dtype
    expected = [
        "datetime64[us, UTC]"
        if field.name in TIMES
        else "Int64"
        if field.name in INTEGERS
        else "float64"
        if field.name == "cost_usd"
        else object
        if field.name == "tags"
        else text
        for field in fields(kind)
    ]
    empty = read(persistence, kind).to_pandas()
    assert list(empty.columns) == [field.name for field in fields(kind)]
    assert (list(empty.dtypes), len(empty)) == (expected, 0)
    write(persistence, kind, range(3))
    full = read(persistence, kind).to_pandas()
    assert (list(full.dtypes), len(full)) == (expected, 3)


@either_way
def test_a_cost_is_the_nearest_float_in_a_frame(persistence: Persistence, read: Read) -> None:
    for cost in 0.1, 0.3, 1e-12, 123456.789012345678:
        persistence.log_llm_usage(AgentLLMUsage("a", None, cost_usd=cost))
    calls = read(persistence, AgentLLMUsage)
    assert calls.to_pandas()["cost_usd"].tolist() == [float(call.cost_usd) for call in calls]


@either_way
def test_tags_are_lists_in_a_frame_and_json_in_arrow(persistence: Persistence, read: Read) -> None:
    tagged = [["red", "é"], None, ["blue", "it's"]]
    for number, tags in enumerate(tagged):
        write(persistence, AgentRun, [number], tags=tags)
    runs = read(persistence, AgentRun)
    assert runs.to_pandas()["tags"].tolist() == tagged
    found = [tags and json.loads(tags) for tags in runs.to_arrow()["tags"].to_pylist()]
    assert found == tagged


# --- members of payloads --------------------------------------------------------------------------


def _expanded(persistence: Persistence, read: Read, payloads: list[Any]) -> pd.DataFrame:
    """Return the frame of events with these payloads, which has the text of each, too."""
    for payload in payloads:
        persistence.append_event("run", "agent", "log", timestamp=NOON, payload=payload)
    events = read(persistence, AgentRunEvent)
    frame, plain = events.to_pandas(expand="data"), events.to_pandas()
    pd.testing.assert_frame_equal(frame[list(plain.columns)], plain)
    assert list(frame.columns[: len(plain.columns)]) == list(plain.columns)
    return frame.iloc[:, len(plain.columns) :]


def _plain(column: Any) -> list[Any]:
    """Return a column's values, with None for all that are missing."""
    values = column.tolist()
    return [None if value is pd.NA or value != value else value for value in values]


@either_way
def test_members_of_payloads_become_columns(persistence: Persistence, read: Read) -> None:
    members = _expanded(
        persistence,
        read,
        [
            {"tool_name": "search", "latency_ms": 350, "args": {"q": ["x", 1]}},
            {"tool_name": "sql", "latency_ms": 4.5, "rows": [1, 2], "": None},
            {"data": "a", "tool_name": None, "a.b": True},
        ],
    )
    assert {name: _plain(members[name]) for name in members} == {
        "data.tool_name": ["search", "sql", None],
        "data.latency_ms": [350.0, 4.5, None],
        "data.args": [{"q": ["x", 1]}, None, None],
        "data.rows": [None, [1, 2], None],
        "data.": [None, None, None],
        "data.data": [None, None, "a"],
        "data.a.b": [None, None, True],
    }


@either_way
def test_the_type_of_a_member_holds_all_its_values(persistence: Persistence, read: Read) -> None:
    text = pd.Series(["a"]).dtype
    expected: dict[str, tuple[Any, list[Any]]] = {
        "integer": ("Int64", [1, None, 2**63 - 1]),
        "negative": ("Int64", [-(2**63), 0, 2**53 + 1]),
        "float": ("float64", [0.5, None, 1.0]),
        "number": ("float64", [1, 0.5, None]),
        "boolean": ("boolean", [True, None, False]),
        "text": (text, ["1", None, ""]),
        "large": (object, [2**63, -1, None]),
        "larger": (object, [2**64, 1, 2]),
        "largest": (object, [10**400, 0.5, None]),
        "either": (object, [1, True, None]),
        "word": (object, [1, "1", None]),
        "lists": (object, [[1], [2], [3]]),
        "objects": (object, [{"a": 1}, {}, None]),
        "nothing": (object, [None, None, None]),
    }
    rows = zip(*(values for _, values in expected.values()), strict=True)
    payloads = [dict(zip(expected, row, strict=True)) for row in rows]
    members = _expanded(persistence, read, payloads)
    assert list(members) == [f"data.{name}" for name in expected]
    for name, (dtype, values) in expected.items():
        column = members[f"data.{name}"]
        assert column.dtype == dtype, name
        assert _plain(column) == values
        assert [type(value) is bool for value in _plain(column)] == [
            type(value) is bool for value in values
        ]


@either_way
def test_a_payload_that_is_no_object_has_no_members(persistence: Persistence, read: Read) -> None:
    payloads = ["a text", "{", [1], 5, None, "", "null", "[" * 100_000, {"a": 1}, {}]
    members = _expanded(persistence, read, payloads)
    assert {name: _plain(members[name]) for name in members} == {
        "data.a": [1 if payload == {"a": 1} else None for payload in payloads]
    }


@either_way
def test_members_have_valid_text(persistence: Persistence, read: Read) -> None:
    [(name, column)] = _expanded(
        persistence, read, [r'{"\ud800": "a\ud83d"}', {"\ud800": "\0\ufdd00000é"}]
    ).items()
    assert name == "data.\ufffd"
    assert column.tolist() == ["a\ufffd", "\0\ufdd00000é"]


@either_way
def test_several_columns_are_expanded(persistence: Persistence, read: Read) -> None:
    write(persistence, AgentRun, [0], metadata={"a": 1, "b": 2}, metrics={"a": 0.5})
    frame = read(persistence, AgentRun).to_pandas(expand=["metrics", "metadata", "metrics"])
    assert list(frame.columns[-4:]) == ["user_id", "metrics.a", "metadata.a", "metadata.b"]
    assert frame.iloc[0, -3:].tolist() == [0.5, 1, 2]


@either_way
def test_a_frame_without_rows_has_no_members(persistence: Persistence, read: Read) -> None:
    events = read(persistence, AgentRunEvent)
    pd.testing.assert_frame_equal(events.to_pandas(expand="data"), events.to_pandas())


@pytest.mark.slow
def test_a_stream_has_the_members_of_all_its_rows(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(CHUNK), metadata={"a": 1})
    write(persistence, AgentRunEvent, [0], metadata={"b": "last"})
    frame = _stream(persistence, AgentRunEvent).to_pandas(expand="metadata")
    page = _page(persistence, AgentRunEvent).to_pandas(expand="metadata")
    pd.testing.assert_frame_equal(frame, page)
    assert (frame["metadata.a"].count(), frame["metadata.b"].count()) == (CHUNK, 1)


@either_way
@pytest.mark.parametrize("expand", ["tags", "prompt", "nothing", "", 5, None, ["metadata", "id"]])
def test_only_columns_with_json_are_expanded(
    persistence: Persistence, read: Read, expand: Any
) -> None:
    with pytest.raises(
        InvalidValueError, match=r"expand takes .*metadata, metrics\), not "
    ) as said:
        read(persistence, AgentRun).to_pandas(expand=expand)
    assert said.value.field == "expand"
    with pytest.raises(InvalidValueError, match="here are none"):
        persistence.usage.totals(group_by="model").to_pandas(expand="model")


# --- notebooks ------------------------------------------------------------------------------------


class Cells(HTMLParser):
    """The tags of a page, and the texts of its table's cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.tags.add(tag)
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data


HARMLESS = {"p", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_notebook_shows_text_as_text(persistence: Persistence) -> None:
    hostile = [
        "<script>alert(1)</script>",
        "</td></table><img src=x onerror=alert(1)>",
        "&lt;b&gt;",
        "\" onmouseover='x'",
        "<!--",
        "<b>é🙂",
    ]
    for text in hostile:
        persistence.log_llm_usage(AgentLLMUsage(text, None, prompt=text, usage_metrics=text))
    shown = Cells(persistence.query_llm_usage()._repr_html_())
    assert shown.tags == HARMLESS
    for text in hostile:
        assert shown.texts.count(text) == 3


def test_a_notebook_shows_some_rows_and_says_how_many_there_are(
    persistence: Persistence,
) -> None:
    write(persistence, AgentRun, range(30))
    html = persistence.query_agent_runs(limit=25)._repr_html_()
    assert html.count("<tr>") == 1 + 20
    assert "25 runs and more" in html
    assert "first 20" in html
    html = persistence.query_agent_runs(limit=None)[:3]._repr_html_()
    assert html.count("<tr>") == 1 + 3
    assert "<p>3 runs</p>" in html


def test_a_notebook_shows_important_columns_first_and_no_empty_ones(
    persistence: Persistence,
) -> None:
    run = AgentRun("agent", "run", "", "why?", total_iterations=2, error_message="no <host>")
    persistence.create_agent_run(run)
    shown = Cells(persistence.query_agent_runs()._repr_html_()).texts
    columns = ["created_at", "run_id", "agent_id", "status", "error_message", "objective"]
    assert [text for text in shown if text in AgentRun.__dataclass_fields__] == [
        *columns,
        "total_iterations",
        "id",
        "updated_at",
    ]
    assert "no <host>" in shown


def test_a_notebook_shows_the_beginning_of_a_long_text(persistence: Persistence) -> None:
    for length in 120, 121, 1_000_000:
        persistence.log_llm_usage(AgentLLMUsage("a", None, prompt="<" * length))
    html = persistence.query_llm_usage()._repr_html_()
    shown = [text for text in Cells(html).texts if text.startswith("<")]
    assert [len(text) for text in shown] == [120, 120, 120]
    assert [text[-1] for text in shown] == ["…", "…", "<"]
    assert len(html) < 10_000


def test_a_notebook_escapes_characters_that_html_cannot_contain(persistence: Persistence) -> None:
    persistence.log_llm_usage(AgentLLMUsage("a", None, prompt="a\ud800\0b", cost_usd=0.5))
    html = persistence.query_llm_usage()._repr_html_()
    assert "a?" in html.encode().decode()
    assert re.search(r"<td>0\.50*</td>", html)


def test_a_notebook_shows_an_empty_page(persistence: Persistence) -> None:
    html = persistence.query_llm_usage()._repr_html_()
    assert "<p>0 llm usage</p>" in html
    assert html.count("<tr>") == 1


def test_real_numbers_of_a_stream_have_all_their_digits(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    numbers = [0.1 + 0.2, 1 / 3, -1e-300, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 0.0]
    for at, number in enumerate(numbers):
        persistence.scores.set("run", f"score {at}", number)
    persistence.scores.set("run", "label", label="good")
    rows = persistence.scores.iterate(order="oldest").to_arrow().to_pylist()
    assert [row["value"] for row in rows] == [*numbers, None]
