"""The promises of `Store` for aggregates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import inf

import pytest

from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import (
    COUNT,
    Bucket,
    Filter,
    Measure,
    MeasureKind,
    Select,
    Spans,
    total,
)
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.testing.rows import NOON, event_row, run_row, usage_row


class AggregatePromises:
    """Aggregates are exact, and equal on every backend."""

    # --- aggregate ----------------------------------------------------------------------------

    def test_groups_are_counted_and_summed(self, store: Store) -> None:
        for model, tokens in ("m", 1), ("m", 2), ("n", None):
            store.insert(USAGE, usage_row(model=model, input_tokens=tokens))
        measures = (COUNT, Measure("count", "input_tokens"), total("input_tokens"))
        groups = store.aggregate(USAGE, measures, group_by=("model",))
        assert sorted(groups) == [("m", 2, 2, 3), ("n", 1, 0, None)]

    def test_null_is_a_group_of_its_own(self, store: Store) -> None:
        for run_id in "run", None, None:
            store.insert(USAGE, usage_row(run_id=run_id))
        groups = store.aggregate(USAGE, (COUNT,), group_by=("run_id",))
        assert set(groups) == {("run", 1), (None, 2)}

    def test_all_values_of_a_group_are_gathered(self, store: Store) -> None:
        for model, latency in [("a", 3), ("a", 1), ("a", None), ("b", None), ("a", 3)]:
            store.insert(USAGE, usage_row(model=model, latency_ms=latency, input_tokens=2**62))
        measures = (Measure("values", "latency_ms"), COUNT)
        groups = store.aggregate(USAGE, measures, group_by=("model",))
        assert {model: sorted(values) for model, values, _ in groups} == {"a": [1, 3, 3], "b": []}
        [(values, tokens)] = store.aggregate(USAGE, (measures[0], total("input_tokens")))
        assert (sorted(values), tokens) == ([1, 3, 3], 5 * 2**62)

    def test_only_rows_that_match_are_aggregated(self, store: Store) -> None:
        for agent, tokens in ("x", 1), ("y", 10):
            store.insert(USAGE, usage_row(agent_id=agent, input_tokens=tokens))
        where = USAGE.where(agent_id="y")
        assert store.aggregate(USAGE, (total("input_tokens"),), where) == [(10,)]

    def test_without_groups_there_is_one_answer_even_of_nothing(self, store: Store) -> None:
        measures = (COUNT, total("input_tokens"))
        assert store.aggregate(USAGE, measures) == [(0, None)]
        assert store.aggregate(USAGE, measures, group_by=("model",)) == []

    @pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
    def test_sums_are_exact_beyond_64_bits(self, store: Store, number: int) -> None:
        for tokens in number, number, number, 1:
            row = usage_row(cost_usd=Decimal("1e-12"))
            store.insert(USAGE, row | {"input_tokens": tokens})
        measures = (COUNT, total("input_tokens"), total("cost_usd"))
        assert store.aggregate(USAGE, measures) == [(4, 3 * number + 1, 4)]
        assert store.aggregate(USAGE, measures, group_by=("model",)) == [("", 4, 3 * number + 1, 4)]

    def test_means_and_extremes_are_computed(self, store: Store) -> None:
        for model, tokens in ("m", 1), ("m", 4), ("m", None), ("n", None):
            store.insert(USAGE, usage_row(model=model, input_tokens=tokens))
        kinds: tuple[MeasureKind, ...] = ("avg", "min", "max")
        measures = tuple(Measure(kind, "input_tokens") for kind in kinds)
        groups = store.aggregate(USAGE, measures, group_by=("model",))
        assert sorted(groups) == [("m", 2.5, 1, 4), ("n", None, None, None)]

    def test_the_mean_of_integers_is_rounded_once(self, store: Store) -> None:
        for tokens in 2**62, 2**62, 2**62 + 1, -(2**62), -(2**62), -(2**62):
            store.insert(USAGE, usage_row() | {"input_tokens": tokens})
        assert store.aggregate(USAGE, (Measure("avg", "input_tokens"),)) == [(1 / 6,)]

    def test_the_extremes_of_times_and_costs_are_in_stored_form(self, store: Store) -> None:
        for hour in 3, 1, 2:
            at = NOON.replace(hour=hour)
            store.insert(USAGE, usage_row(created_at=at, cost_usd=Decimal(hour)))
        kinds: tuple[MeasureKind, ...] = ("min", "max")
        measures = [Measure(k, c) for c in ("created_at", "cost_usd") for k in kinds]
        first, last = (encode_time(NOON.replace(hour=hour)) for hour in (1, 3))
        found = store.aggregate(USAGE, tuple(measures))
        assert found == [(first, last, 10**12, 3 * 10**12)]

    @pytest.mark.parametrize(
        "values",
        [
            [0.1] * 10,
            [0.1, 1e-9, 4e12, -4e12],
            [0.1, 2e-10],
            [-0.0, 0.0],
            [1e16, 1.0, -1e16],
            [1.7e308, -1.7e308, 5e-324],
            [1.6e308, 1.6e308],
            [3.0, None, 4.0],
        ],
        ids=str,
    )
    def test_sums_and_means_of_reals_are_exact(
        self, store: Store, values: list[float | None]
    ) -> None:
        store.insert(RUNS, run_row("run"))
        for value in values:
            store.insert(EVENTS, {**event_row("run"), "metric_value": value})
        kinds: tuple[MeasureKind, ...] = ("count", "sum", "avg", "min", "max")
        measures = tuple(Measure(kind, "metric_value") for kind in kinds)
        given = [value for value in values if value is not None]
        exact = sum(map(Fraction, given))
        [numbers] = store.aggregate(EVENTS, measures)
        assert numbers[0] == len(given)
        assert numbers[1] == (inf if exact > Fraction(1.79e308) else float(exact))
        assert numbers[2] == float(exact / len(given))
        assert numbers[3:] == (min(given), max(given))
        assert "-0.0" not in map(str, numbers)
        [(none, mean)] = store.aggregate(EVENTS, measures[1:3], EVENTS.where(run_id="unknown"))
        assert none is mean is None

    def test_rows_are_grouped_by_spans_of_time(self, store: Store) -> None:
        for minute in 0, 14, 15, 59:
            store.insert(USAGE, usage_row(created_at=NOON + timedelta(minutes=minute)))
        groups = store.aggregate(USAGE, (COUNT,), group_by=(Bucket("created_at", 900), "model"))
        assert sorted(groups) == [
            (encode_time(NOON), "", 2),
            (encode_time(NOON + timedelta(minutes=15)), "", 1),
            (encode_time(NOON + timedelta(minutes=45)), "", 1),
        ]
        buckets = store.select_columns(USAGE, (Bucket("created_at", 3_600), "model"))
        assert buckets == [(encode_time(NOON), "")] * 4

    @pytest.mark.parametrize(
        "bucket", [(60, 0), (7, 3), (3_600, 0), (86_400, 0), (604_800, 0), (86_400, -3_600)]
    )
    def test_spans_of_time_begin_where_they_are_said_to(
        self, store: Store, bucket: tuple[int, int]
    ) -> None:
        last = datetime.max.replace(tzinfo=UTC)
        times = [
            datetime.min.replace(tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1),
            datetime(2026, 12, 27, 23, 59, 59, 999_999, UTC),
            datetime(2026, 12, 28, tzinfo=UTC),
            last,
        ]
        for time in times:
            store.insert(USAGE, usage_row(created_at=time))
        seconds, offset = (timedelta(seconds=each) for each in bucket)
        a_monday = datetime(2026, 12, 28, tzinfo=UTC)
        begins = sorted({max(t - (t - a_monday - offset) % seconds, times[0]) for t in times[1:]})
        group = Bucket("created_at", *bucket)
        where = (USAGE.filter("created_at", ">=", times[1]),)
        found = sorted(store.aggregate(USAGE, (COUNT,), where, group_by=(group,)))
        assert [begin for begin, _ in found] == [encode_time(begin) for begin in begins]
        [(first, _)] = store.aggregate(
            USAGE, (COUNT,), (USAGE.filter("created_at", "<", times[1]),), group_by=(group,)
        )
        assert first == encode_time(times[0])

    def test_rows_are_grouped_between_edges(self, store: Store) -> None:
        for minute, model in (0, "m"), (9, "m"), (9, "n"), (10, "m"), (30, "m"), (59, "m"):
            at = NOON + timedelta(minutes=minute)
            store.insert(USAGE, {**usage_row(created_at=at, model=model), "latency_ms": minute})
        edges = tuple(encode_time(NOON + timedelta(minutes=m)) for m in (1, 10, 11, 20, 59))
        spans = Spans("created_at", edges)
        measures = (COUNT, Measure("distinct", "latency_ms"), Measure("sum", "latency_ms"))
        for where in (), (Filter("model", "in", ("m", "n")),):
            groups = store.aggregate(USAGE, measures, where, group_by=(spans, "model"))
            assert sorted(groups) == [
                (edges[0], "m", 1, 1, 9),
                (edges[0], "n", 1, 1, 9),
                (edges[1], "m", 1, 1, 10),
                (edges[3], "m", 1, 1, 30),
            ]
            groups = store.aggregate(USAGE, measures, where, group_by=(spans,))
            assert sorted(groups) == [
                (edges[0], 2, 1, 18),
                (edges[1], 1, 1, 10),
                (edges[3], 1, 1, 30),
            ]
        assert store.aggregate(USAGE, measures, group_by=(Spans("created_at", edges[:1]),)) == []

    def test_groups_between_edges_may_depend_on_another_table(self, store: Store) -> None:
        store.insert(RUNS, {**run_row("run"), "user_id": "ann"})
        for run_id in "run", "run", "other":
            store.insert(USAGE, usage_row(created_at=NOON, run_id=run_id))
        of_ann = Filter("run_id", "in", Select(RUNS, "run_id", RUNS.where(user_id="ann")))
        edges = encode_time(NOON), encode_time(NOON + timedelta(hours=1))
        groups = store.aggregate(USAGE, (COUNT,), (of_ann,), group_by=(Spans("created_at", edges),))
        assert groups == [(edges[0], 2)]

    def test_different_values_are_counted(self, store: Store) -> None:
        distinct = Measure("distinct", "user_id")
        assert store.aggregate(RUNS, (distinct,)) == [(0,)]
        for number, user in enumerate(("a", "b", None, "a", "")):
            store.insert(RUNS, {**run_row(f"run-{number}"), "user_id": user})
        assert store.aggregate(RUNS, (COUNT, distinct)) == [(5, 3)]

    def test_rows_without_a_time_are_in_no_span(self, store: Store) -> None:
        store.insert(RUNS, run_row("run"))
        assert store.aggregate(RUNS, (COUNT,), group_by=(Bucket("finished_at", 60),)) == [(None, 1)]
