"""Metrics: each number is computed by hand, and the same on every backend."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import inf
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from curio_persistence import AgentRunEvent, InvalidValueError, MetricPoint, Persistence
from curio_persistence.payloads import Metric
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)  # A Friday.
MIDNIGHT = NOON.replace(hour=0)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

Rows = list[tuple[datetime | None, str | None, float, int]]


def measure(
    persistence: Persistence,
    value: Any,
    at: datetime = NOON,
    *,
    name: str = "score",
    agent_id: str = "agent",
    run_id: str = "run",
    session_id: str | None = None,
    tags: Any = None,
) -> None:
    persistence.append_event(
        run_id,
        agent_id,
        "metric",
        timestamp=at,
        session_id=session_id,
        payload=Metric(name, value, tags=tags),
    )


def asked(persistence: Persistence, *question: Any, **options: Any) -> Rows:
    points = persistence.query_metrics(*question or ("score",), **options)
    return [(point.bucket, point.group, point.value, point.count) for point in points]


def value_of(persistence: Persistence, aggregation: str) -> float:
    [point] = persistence.query_metrics("score", aggregation)
    return point.value


@pytest.fixture
def history(persistence: Persistence) -> Persistence:
    """Four values of two agents, one every twelve hours; two of them tagged."""
    for number, (agent, tags) in enumerate(
        [("a", {"split": "test"}), ("b", None), ("a", {"split": "train"}), ("b", {"lang": "de"})]
    ):
        measure(
            persistence,
            number + 1,
            MIDNIGHT + number * 12 * HOUR,
            agent_id=agent,
            run_id=f"run {number // 2}",
            session_id="session" if number else None,
            tags=tags,
        )
    return persistence


# --- adding up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("avg", 3.0),
        ("sum", 12.0),
        ("min", 1.0),
        ("max", 6.5),
        ("count", 4.0),
        ("p0", 1.0),
        ("p25", 1.375),
        ("p50", 2.25),
        ("p95", 5.975),
        ("p99", 6.395),
        ("p100", 6.5),
    ],
)
def test_values_are_aggregated(persistence: Persistence, aggregation: str, expected: float) -> None:
    for value in (3, 1, 6.5, 1.5):
        measure(persistence, value)
    points = persistence.query_metrics("score", aggregation)
    assert list(points) == [MetricPoint(None, None, expected, 4)]


def test_the_average_is_the_default(persistence: Persistence) -> None:
    for value in 1, 2:
        measure(persistence, value)
    assert asked(persistence) == asked(persistence, "score", "avg") == [(None, None, 1.5, 2)]


@pytest.mark.parametrize("q", [0, 1, 33, 50, 75, 95, 99, 100])
def test_percentiles_are_those_of_numpy(persistence: Persistence, q: int) -> None:
    values = [0.3, 17.25, 4.5, 0.1, -2.0, 8.125, 1e-9]
    for value in values:
        measure(persistence, value)
    assert value_of(persistence, f"p{q}") == pytest.approx(np.percentile(values, q), rel=1e-14)


def test_a_single_value_is_its_own_aggregate(persistence: Persistence) -> None:
    measure(persistence, 0.1)
    for aggregation in ("avg", "sum", "min", "max", "p0", "p50", "p100"):
        assert value_of(persistence, aggregation) == 0.1


def test_sums_are_exact_before_they_are_rounded(persistence: Persistence) -> None:
    """A database that adds one value after the other gets 0."""
    for value in (1e100, 1.0, -1e100, *[0.1] * 10):
        measure(persistence, value)
    assert value_of(persistence, "sum") == 2.0


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("avg", 1.5e308), ("sum", inf), ("p50", 1.5e308)]
)
def test_values_may_be_as_large_as_floats_are(
    persistence: Persistence, aggregation: str, expected: float
) -> None:
    for value in (1.4e308, 1.6e308):
        measure(persistence, value)
    assert value_of(persistence, aggregation) == expected


def test_values_may_be_as_far_apart_as_floats_are(persistence: Persistence) -> None:
    for value in (-1.7e308, 1.7e308, 5e-324):
        measure(persistence, value)
    assert value_of(persistence, "sum") == 5e-324
    assert value_of(persistence, "p50") == 5e-324
    assert value_of(persistence, "p75") == 0.85e308


def test_there_is_one_zero(persistence: Persistence) -> None:
    measure(persistence, -0.0)
    for aggregation in ("avg", "sum", "min", "max", "p50"):
        assert str(value_of(persistence, aggregation)) == "0.0"


def test_no_values_give_no_points(persistence: Persistence) -> None:
    measure(persistence, 1, name="another")
    assert asked(persistence, "score", "count") == []
    assert asked(persistence, "score", bucket="1h", group_by="agent_id") == []


# --- buckets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "begin"),
    [
        ("1m", NOON + HOUR + 44 * MINUTE),
        ("15m", NOON + HOUR + 30 * MINUTE),
        ("90m", NOON + 90 * MINUTE),
        ("1h", NOON + HOUR),
        ("6h", NOON),
        ("8h", NOON - 4 * HOUR),
        ("24h", MIDNIGHT),
        ("1d", MIDNIGHT),
        ("7d", MONDAY),
        ("1w", MONDAY),
    ],
)
def test_a_value_is_in_the_bucket_that_began_last(
    persistence: Persistence, bucket: str, begin: datetime
) -> None:
    measure(persistence, 1, NOON + HOUR + 44 * MINUTE + timedelta(seconds=59, microseconds=999999))
    [(found, *_)] = asked(persistence, bucket=bucket)
    assert found == begin
    assert found is not None
    assert found.tzinfo is UTC


def test_a_bucket_ends_where_the_next_begins(persistence: Persistence) -> None:
    for at in (NOON - timedelta(microseconds=1), NOON, NOON + HOUR):
        measure(persistence, 1, at)
    begins = [begin for begin, *_ in asked(persistence, bucket="1h")]
    assert begins == [NOON - HOUR, NOON, NOON + HOUR]


def test_weeks_begin_on_monday_across_the_end_of_a_year(persistence: Persistence) -> None:
    for day in (27, 28, 31):  # Sunday, Monday, Thursday.
        measure(persistence, 1, datetime(2026, 12, day, tzinfo=UTC))
    measure(persistence, 1, datetime(2027, 1, 3, 23, 59, tzinfo=UTC))
    measure(persistence, 1, datetime(2027, 1, 4, tzinfo=UTC))
    assert [(begin, count) for begin, _, _, count in asked(persistence, bucket="1w")] == [
        (datetime(2026, 12, 21, tzinfo=UTC), 1),
        (datetime(2026, 12, 28, tzinfo=UTC), 3),
        (datetime(2027, 1, 4, tzinfo=UTC), 1),
    ]


def test_days_are_utc_days_in_any_time_zone(
    persistence: Persistence, time_zone: Callable[[str], None]
) -> None:
    measure(persistence, 1, MIDNIGHT - MINUTE)
    measure(persistence, 2, MIDNIGHT)
    for zone in ("America/New_York", "Pacific/Kiritimati"):
        time_zone(zone)
        assert asked(persistence, bucket="1d") == [
            (MIDNIGHT - DAY, None, 1.0, 1),
            (MIDNIGHT, None, 2.0, 1),
        ]


def test_the_first_and_the_last_date_have_buckets(persistence: Persistence) -> None:
    for at in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        measure(persistence, 1, at)
    assert [begin for begin, *_ in asked(persistence, bucket="1w")] == [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 27, tzinfo=UTC),
    ]


@pytest.mark.before_io
@pytest.mark.parametrize(
    "bucket", ["", "h", "0h", "7m", "5h", "48h", "2d", "2w", "1M", "1.5h", "-1h", "1 h", "1s", 1]
)
def test_a_bucket_that_does_not_divide_a_day_is_refused(
    persistence: Persistence, bucket: Any
) -> None:
    with pytest.raises(InvalidValueError, match="bucket is '1w', '1d' or what divides") as refused:
        persistence.query_metrics("score", bucket=bucket)
    assert refused.value.field == "bucket"


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        ("agent_id", [("a", 4.0), ("b", 6.0)]),
        ("run_id", [("run 0", 3.0), ("run 1", 7.0)]),
        ("session_id", [("session", 9.0), (None, 1.0)]),
        ("tags.split", [("test", 1.0), ("train", 3.0), (None, 6.0)]),
        ("tags.unheard of", [(None, 10.0)]),
    ],
)
def test_values_are_grouped_and_the_group_none_comes_last(
    history: Persistence, group_by: str, expected: list[tuple[str | None, float]]
) -> None:
    rows = asked(history, "score", "sum", group_by=group_by)
    assert [(group, value) for _, group, value, _ in rows] == expected


def test_each_bucket_has_groups_of_its_own(history: Persistence) -> None:
    assert asked(history, "score", "max", bucket="1d", group_by="agent_id") == [
        (MIDNIGHT, "a", 1.0, 1),
        (MIDNIGHT, "b", 2.0, 1),
        (MIDNIGHT + DAY, "a", 3.0, 1),
        (MIDNIGHT + DAY, "b", 4.0, 1),
    ]


@pytest.mark.parametrize(
    ("value", "group"),
    [
        ("", ""),
        ("1", "1"),
        (1, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (None, None),
        (["a"], '["a"]'),
        ("\0\ud800\ufdd0", "\0\ud800\ufdd0"),
    ],
)
def test_a_tag_that_is_not_text_is_grouped_by_its_json(
    persistence: Persistence, value: Any, group: str | None
) -> None:
    measure(persistence, 1, tags={"t": value})
    [(_, found, _, _)] = asked(persistence, group_by="tags.t")
    assert found == group


@pytest.mark.parametrize("key", ["a.b", "'; DROP TABLE agent_runs; --", "$[0]", '"', "\0", "é漢"])
def test_a_tag_may_have_any_name(persistence: Persistence, key: str) -> None:
    measure(persistence, 1, tags={key: "yes"})
    assert asked(persistence, group_by=f"tags.{key}") == [(None, "yes", 1.0, 1)]


@pytest.mark.parametrize("tags", [None, "text", ["t"], 5])
def test_invalid_tags_put_a_value_into_no_group(persistence: Persistence, tags: Any) -> None:
    measure(persistence, 1, tags=tags)
    assert asked(persistence, group_by="tags.t") == [(None, None, 1.0, 1)]


@pytest.mark.before_io
@pytest.mark.parametrize(
    "group_by", ["", "tags", "tags.", "timestamp", "agent_id; --", "id", 5, ["agent_id"]]
)
def test_an_unknown_group_is_refused(persistence: Persistence, group_by: Any) -> None:
    with pytest.raises(InvalidValueError, match="group_by is 'agent_id', ") as refused:
        persistence.query_metrics("score", group_by=group_by)
    assert refused.value.field == "group_by"


# --- which values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"agent_id": "a"}, 4.0),
        ({"run_id": "run 1"}, 7.0),
        ({"session_id": "session"}, 9.0),
        ({"agent_id": "b", "session_id": "session", "run_id": "run 0"}, 2.0),
        ({"since": NOON}, 9.0),
        ({"until": NOON}, 1.0),
        ({"since": NOON, "until": NOON + DAY, "agent_id": "b"}, 2.0),
        ({"since": "12h"}, 7.0),
        ({"since": "2026-11-20T12:00Z", "until": "2026-11-21"}, 2.0),
    ],
)
def test_filters_exclude_other_values(
    history: Persistence,
    clock: Hands,
    time_zone: Callable[[str], None],
    filters: dict[str, Any],
    expected: float,
) -> None:
    time_zone("UTC")
    clock.put(NOON + DAY)
    [(_, _, total, count)] = asked(history, "score", "sum", **filters)
    assert total == expected
    assert history.metrics.names(**filters) == {"score": count}


@pytest.mark.parametrize(
    "payload",
    [
        {"name": "score", "value": True},
        {"name": "score", "value": "high"},
        {"name": "score", "value": " 1"},
        {"name": "score", "value": "1e999"},
        {"name": "score", "value": Decimal("NaN")},
        {"name": "score", "value": Decimal("-Infinity")},
        {"name": "score", "value": None},
        {"name": "score", "value": float("nan")},
        {"name": "score", "value": float("inf")},
        {"name": "score", "value": 10**400},
        {"name": "score", "value": [1]},
        {"name": "score"},
        {"name": None, "value": 1},
        {"name": 5, "value": 1},
        {"value": 1},
        '{"name": "score", "value": NaN}',
        '{"name": "score", "value": 1e999}',
        '{"name": "score", "value": 1',
        "score",
        [1],
        None,
    ],
    ids=repr,
)
def test_an_event_without_a_name_or_a_finite_number_is_not_a_metric(
    persistence: Persistence, payload: Any
) -> None:
    persistence.append_event("run", "agent", "metric", payload=payload)
    assert persistence.metrics.names() == {}
    assert asked(persistence) == []
    assert persistence.count_events() == 1


def test_an_event_of_another_type_is_not_a_metric(persistence: Persistence) -> None:
    persistence.append_event("run", "agent", "metrics", payload=Metric("score", 1))
    assert persistence.metrics.names() == {}


@pytest.mark.parametrize("value", [2**53 + 1, 7, np.float64(0.5), np.int64(3)])
def test_a_value_is_the_nearest_float(persistence: Persistence, value: Any) -> None:
    measure(persistence, value)
    assert value_of(persistence, "max") == float(value)


@pytest.mark.parametrize("value", ["0.1", "-2", "1E+2", "1.00000000000000000001"])
def test_a_decimal_is_a_metric_however_its_event_is_stored(
    persistence: Persistence, value: str
) -> None:
    payload = {"name": "score", "value": Decimal(value)}
    event = AgentRunEvent("agent", "run", event_type="metric", data=payload)
    persistence.log_agent_run_event(event)
    persistence.append_event("run", "agent", "metric", payload=payload)
    with persistence.record_run(agent_id="agent") as run:
        run.log("metric", payload)
    assert asked(persistence, "score", "max") == [(None, None, float(value), 3)]
    stored = persistence.get_agent_run_events("run")[0]
    assert stored.get_data_dict()["value"] == value  # With all its digits.


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "it's",
        '"; DROP TABLE agent_run_events; --',
        "%s %(a)s ? :a $1 {}",
        "latency\0ms",
        "\ud800",
        "\ufdd00000",
        "東京🙂",
        "x" * 255,
        "x" * 300,
    ],
    ids=ascii,
)
def test_a_metric_may_have_any_name(persistence: Persistence, name: str) -> None:
    measure(persistence, 1, name=name)
    measure(persistence, 2, name="score")
    assert asked(persistence, name) == [(None, None, 1.0, 1)]
    assert persistence.metrics.names() == {name[:255]: 1, "score": 1}


@pytest.mark.before_io
@pytest.mark.parametrize("name", [None, 5, b"score", ["score"]])
def test_an_invalid_name_is_refused(persistence: Persistence, name: Any) -> None:
    with pytest.raises(InvalidValueError, match="name is that of a metric") as refused:
        persistence.query_metrics(name)
    assert refused.value.field == "name"


@pytest.mark.before_io
@pytest.mark.parametrize(
    "aggregation", ["", "AVG", "mean", "p", "p101", "p1000", "p-1", "p9.5", "p05", "p٣", None, 95]
)
def test_an_unknown_aggregation_is_refused(persistence: Persistence, aggregation: Any) -> None:
    with pytest.raises(
        InvalidValueError, match=r"aggregation is 'avg', 'sum', .*'p100'"
    ) as refused:
        persistence.query_metrics("score", aggregation)
    assert refused.value.field == "aggregation"


def test_names_are_sorted_and_counted(history: Persistence) -> None:
    measure(history, 1, name="Recall")
    assert list(history.metrics.names().items()) == [("Recall", 1), ("score", 4)]


# --- however they were written --------------------------------------------------------------------


def event(value: float) -> AgentRunEvent:
    data = {"name": "score", "value": value}
    return AgentRunEvent("agent", "run", event_type="metric", data=data)


def test_metrics_count_however_they_were_written(persistence: Persistence) -> None:
    persistence.log_agent_run_event(event(1))
    persistence.log_agent_run_events([event(2), event(3)])
    persistence.log_agent_run_events(event(4) for _ in range(2_500))
    with persistence.record_run(agent_id="agent") as run:
        run.log("metric", {"name": "score", "value": 5})
    assert asked(persistence, "score", "sum") == [(None, None, 6.0 + 10_000 + 5, 2_504)]


def test_queued_metrics_count(persistence: Persistence) -> None:
    with persistence.buffered(max_seconds=60) as buffered:
        buffered.log_agent_run_event(event(1))
        assert asked(buffered) == [(None, None, 1.0, 1)]
        buffered.log_agent_run_events([event(2)])
        assert buffered.metrics.names() == {"score": 2}


def test_metrics_count_with_content_metrics_only(open_again: Callable[..., Persistence]) -> None:
    persistence = open_again(capture_content="metrics-only")
    measure(persistence, 1, tags={"split": "test"})
    assert asked(persistence, group_by="tags.split") == [(None, None, 1.0, 1)]


def test_a_name_is_redacted_like_all_text(open_again: Callable[..., Persistence]) -> None:
    persistence = open_again(redactor=lambda field, text: text.replace("secret", "…"))
    measure(persistence, 1, name="secret score")
    assert persistence.metrics.names() == {"… score": 1}
    assert asked(persistence, "… score") == [(None, None, 1.0, 1)]


def test_a_transaction_sees_its_own_metrics(persistence: Persistence) -> None:
    with persistence.transaction():
        measure(persistence, 1)
        assert asked(persistence, bucket="1d") == [(MIDNIGHT, None, 1.0, 1)]


def test_metrics_are_deleted_with_their_run(persistence: Persistence) -> None:
    measure(persistence, 1)
    assert persistence.delete_agent_run("run")
    assert persistence.metrics.names() == {}


# --- as tables ------------------------------------------------------------------------------------


def test_a_result_converts_to_frames_and_tables(history: Persistence) -> None:
    points = history.query_metrics("score", "sum", bucket="1d", group_by="tags.split")
    assert points.to_dicts()[0] == {
        "bucket": "2026-11-20T00:00:00+00:00",
        "group": "test",
        "value": 1.0,
        "count": 1,
    }
    frame = points.to_pandas()
    assert list(frame["bucket"]) == [point.bucket for point in points]
    assert frame["group"].isna().sum() == 2
    assert list(frame["value"]) == [1.0, 2.0, 3.0, 4.0]
    assert points.to_arrow().to_pylist()[0] == {
        "bucket": MIDNIGHT,
        "group": "test",
        "value": 1.0,
        "count": 1,
    }
    assert pl.DataFrame(points)["count"].to_list() == [1, 1, 1, 1]


def test_the_types_do_not_depend_on_the_values(history: Persistence) -> None:
    some = history.query_metrics("score", bucket="1d", group_by="agent_id")
    plain = history.query_metrics("score")
    nothing = history.query_metrics("nothing")
    schema = pa.schema(
        {
            "bucket": pa.timestamp("us", "UTC"),
            "group": pa.string(),
            "value": pa.float64(),
            "count": pa.int64(),
        }
    )
    assert some.to_arrow().schema == plain.to_arrow().schema == nothing.to_arrow().schema == schema
    types = some.to_pandas().dtypes
    pd.testing.assert_series_equal(types, plain.to_pandas().dtypes)
    pd.testing.assert_series_equal(types, nothing.to_pandas().dtypes)


def test_a_result_displays_itself(history: Persistence) -> None:
    points = history.query_metrics("score", group_by="agent_id")
    assert repr(points) == "<Records: 2 metric points>"
    assert points[1] == MetricPoint(None, "b", 3.0, 2)
    assert "<td>3.0</td>" in points._repr_html_()
