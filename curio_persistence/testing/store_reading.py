"""The promises of `Store` for selects and streams."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from curio_persistence.models import AgentRunEvent
from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, Order, Select, any_of
from curio_persistence.store.query import position_of_last, query_of
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.testing.rows import (
    DELIMITERS,
    MINUTE,
    NEWEST,
    NOON,
    OLDEST,
    event_row,
    records,
    run_ids_of,
    run_row,
    undone,
    usage_row,
)

_PARTS = {"%": "a", "É_X": "a", "é_": "", "OF": "a", "\\B o'n": "b", "0%x": "", "": "cba"}
"""Parts of texts, and the runs that have them in their objective."""


class ReadingPromises:
    """Rows are filtered, ordered, cut into pages and streamed."""

    # --- select -------------------------------------------------------------------------------

    def test_filters_are_joined_by_and(self, store: Store) -> None:
        for run_id, agent, status in (
            ("a", "x", "error"),
            ("b", "x", "running"),
            ("c", "y", "error"),
        ):
            store.insert(RUNS, run_row(run_id, agent_id=agent, status=status))
        assert run_ids_of(store, *RUNS.where(agent_id="x")) == "ba"
        assert run_ids_of(store, *RUNS.where(agent_id="x", status="error")) == "a"
        assert run_ids_of(store, *RUNS.where(agent_id="z")) == ""

    def test_a_range_includes_its_begin_and_excludes_its_end(self, store: Store) -> None:
        for minute, run_id in enumerate("abcd"):
            store.insert(RUNS, run_row(run_id, minute))
        since = RUNS.filter("created_at", ">=", NOON + MINUTE)
        until = RUNS.filter("created_at", "<", NOON + 3 * MINUTE)
        assert run_ids_of(store, since) == "dcb"
        assert run_ids_of(store, until) == "cba"
        assert run_ids_of(store, since, until) == "cb"

    def test_what_is_null_passes_no_filter_but_one(self, store: Store) -> None:
        for run_id, session in ("a", "s"), ("b", None):
            store.insert(RUNS, run_row(run_id, session_id=session))
        assert run_ids_of(store, RUNS.filter("session_id", "is not null")) == "a"
        assert run_ids_of(store, RUNS.filter("session_id", "is null")) == "b"
        assert run_ids_of(store, RUNS.filter("session_id", "<", "z")) == "a"
        assert run_ids_of(store, RUNS.filter("session_id", ">=", "a")) == "a"

    def test_a_part_of_a_text_is_found_whatever_the_case_of_ascii_letters(
        self, store: Store
    ) -> None:
        for run_id, objective in ("a", "100% of É_x"), ("b", "a\\b O'Neil"), ("c", ""):
            store.insert(RUNS, run_row(run_id, objective=objective))
        found = {part: run_ids_of(store, Filter("objective", "has text", part)) for part in _PARTS}
        assert found == _PARTS

    def test_of_a_part_of_a_table_a_beginning_may_be_enough(self, store: Store) -> None:
        texts = ("", "é", "é🙂東京x", "\ud800\0" * 4, "x" * 9_000)
        for number, text in enumerate(texts):
            store.insert(USAGE, usage_row(response_content=text, input_tokens=number))
        names = ("input_tokens", "response_content", "id")
        whole = store.select(USAGE.part(*names))
        part = store.select(USAGE.part(*names, beginnings={"response_content": 3}))
        assert [*part[0]] == [0, 1, 2, 3, 4]
        for beginning, text in zip(part[1], whole[1], strict=True):
            assert text.startswith(beginning)
            assert len(beginning) >= min(len(text), 3)

    def test_a_value_may_be_one_of_several(self, store: Store) -> None:
        for run_id, session, iterations in ("a", "s", 2**63 - 1), ("b", None, 0), ("c", "t", -5):
            store.insert(RUNS, run_row(run_id, session_id=session, total_iterations=iterations))
        assert run_ids_of(store, Filter("run_id", "in", ("c", "x", "a", "c"))) == "ca"
        assert run_ids_of(store, Filter("run_id", "in", ())) == ""
        assert run_ids_of(store, Filter("session_id", "in", ("s", "t", ""))) == "ca"
        assert run_ids_of(store, Filter("total_iterations", "in", (0, 2**63 - 1))) == "ba"
        both = Filter("run_id", "in", ("a", "b")), Filter("session_id", "in", ("t", "s"))
        assert run_ids_of(store, *both) == "a"

    def test_one_of_several_values_is_found_whatever_is_in_it(self, store: Store) -> None:
        names = [name for name in (*DELIMITERS, "".join(DELIMITERS)) if name]
        store.insert_many(RUNS, [run_row(name) for name in names])
        for some in names[::2], names[1::2]:
            found = records(store, RUNS, where=(Filter("run_id", "in", tuple(some)),))
            assert [run.run_id for run in found] == some[::-1]

    def test_one_of_several_values_may_be_a_time_or_a_cost(self, store: Store) -> None:
        for minute, run_id in enumerate("abc"):
            store.insert(RUNS, run_row(run_id, minute))
            store.insert(USAGE, usage_row(model=run_id, cost_usd=Decimal(minute) / 10**12))
        times = [RUNS.encode_value("created_at", NOON + minute * MINUTE) for minute in (0, 2, 9)]
        assert run_ids_of(store, Filter("created_at", "in", tuple(times))) == "ca"
        costs = Filter("cost_usd", "in", (0, 2, 9))
        assert {call.model for call in records(store, USAGE, where=(costs,))} == {"a", "c"}

    def test_one_of_several_values_decides_what_is_changed_counted_and_deleted(
        self, store: Store
    ) -> None:
        store.insert_many(RUNS, [run_row(name) for name in "abcd"])
        some = (Filter("run_id", "in", ("a", "c")),)
        assert len(store.update(RUNS, some, {"status": "x"})) == 2
        assert run_ids_of(store, *RUNS.where(status="x")) == "ca"
        assert store.aggregate(RUNS, (COUNT,), some) == [(2,)]
        assert store.delete(RUNS, some) == 2
        assert run_ids_of(store) == "db"

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            (None, "dbca"),
            ((Order("created_at"), Order("id")), "acbd"),
            ((Order("total_iterations"), Order("id", descending=True)), "dcba"),
        ],
    )
    def test_rows_come_in_the_tables_order_or_in_the_one_given(
        self, store: Store, order: tuple[Order, ...] | None, expected: str
    ) -> None:
        for run_id, minute, iterations in ("a", 0, 2), ("c", 1, 1), ("b", 1, 2), ("d", 3, -1):
            store.insert(RUNS, run_row(run_id, minute, total_iterations=iterations))
        assert "".join(run.run_id for run in records(store, RUNS, order=order)) == expected

    @pytest.mark.parametrize(
        ("limit", "offset", "expected"),
        [
            (0, 0, ""),
            (2, 0, "dc"),
            (2, 1, "cb"),
            (None, 3, "a"),
            (9, 4, ""),
            (2**63 - 1, 2**63 - 1, ""),
        ],
    )
    def test_limit_and_offset_cut_out_a_page(
        self, store: Store, limit: int | None, offset: int, expected: str
    ) -> None:
        for minute, run_id in enumerate("abcd"):
            store.insert(RUNS, run_row(run_id, minute))
        page = records(store, RUNS, limit=limit, offset=offset)
        assert "".join(run.run_id for run in page) == expected

    @pytest.mark.parametrize("order", [OLDEST, NEWEST, (Order("total_iterations"), Order("id"))])
    @pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
    def test_a_page_begins_after_the_position_where_the_last_one_ended(
        self, store: Store, order: tuple[Order, ...], size: int
    ) -> None:
        _insert_ties(store)
        pages, after = [""], None
        while len(pages) < 9:
            columns = store.select(RUNS, order=order, after=after, limit=size)
            if not columns[0]:
                break
            pages.append("".join(columns[RUNS.names.index("run_id")]))
            after = position_of_last(RUNS, order, columns)
        assert "".join(pages) == "".join(run.run_id for run in records(store, RUNS, order=order))
        assert {len(page) for page in pages[1:-1]} <= {size}

    def test_a_position_needs_no_row_to_stand_on(self, store: Store) -> None:
        """Not even one that was there when the position was taken."""
        _insert_ties(store)
        columns = store.select(RUNS, order=OLDEST, limit=3)
        rest = [run.run_id for run in records(store, RUNS, order=OLDEST)][3:]
        store.delete(RUNS, RUNS.where(run_id=columns[RUNS.names.index("run_id")][-1]))
        after = position_of_last(RUNS, OLDEST, columns)
        found = records(store, RUNS, order=OLDEST, after=after)
        assert [run.run_id for run in found] == rest

    def test_a_position_goes_together_with_filters_limit_and_offset(self, store: Store) -> None:
        _insert_ties(store)
        where = (RUNS.filter("status", "=", "x"),)
        rest = [run.run_id for run in records(store, RUNS, where=where)][1:]
        after = position_of_last(RUNS, RUNS.order, store.select(RUNS, where, limit=1))
        options: list[dict[str, Any]] = [{}, {"limit": 1}, {"offset": 1}, {"limit": 1, "offset": 1}]
        for option in options:
            found = records(store, RUNS, where=where, after=after, **option)
            begin = option.get("offset", 0)
            end = begin + option.get("limit", len(rest))
            assert [run.run_id for run in found] == rest[begin:end]

    # --- stream -------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 2_000])
    @pytest.mark.parametrize("order", [None, OLDEST])
    def test_a_stream_is_a_selection_in_chunks(
        self, store: Store, order: tuple[Order, ...] | None, size: int
    ) -> None:
        _insert_ties(store)
        chunks = [RUNS.decode(columns) for columns in store.stream(RUNS, order=order, size=size)]
        assert [run for chunk in chunks for run in chunk] == records(store, RUNS, order=order)
        assert all(0 < len(chunk) <= size for chunk in chunks)

    def test_a_stream_has_the_rows_that_match_after_a_position(self, store: Store) -> None:
        _insert_ties(store)
        where = (RUNS.filter("status", "=", "x"),)
        after = position_of_last(RUNS, RUNS.order, store.select(RUNS, where, limit=1))
        streamed = _streamed(store, where=where, after=after, size=1)
        assert streamed == records(store, RUNS, where=where)[1:]
        assert _streamed(store, where=RUNS.where(status="unknown")) == []

    def test_a_stream_sees_the_writes_of_its_transaction(self, store: Store) -> None:
        with undone(store):
            _insert_ties(store)
            assert _streamed(store, size=2) == records(store, RUNS)
        assert _streamed(store) == []

    def test_streams_do_not_disturb_each_other_nor_what_is_called_meanwhile(
        self, store: Store
    ) -> None:
        _insert_ties(store)
        expected = records(store, RUNS)
        one, other = store.stream(RUNS, size=1), store.stream(RUNS, size=2)
        seen: list[list[Any]] = [[], []]
        for number, columns in enumerate(one):
            seen[0] += RUNS.decode(columns)
            for more in islice(other, 1):
                seen[1] += RUNS.decode(more)
            store.insert(USAGE, usage_row(model=str(number)))
            with store.transaction():
                store.insert(EVENTS, event_row("a"))
            assert len(records(store, EVENTS)) == number + 1
        assert seen == [expected, expected]

    def test_a_stream_may_be_left_before_its_end(self, store: Store) -> None:
        """Such a stream does not block a writer."""
        _insert_ties(store)
        for _ in store.stream(RUNS, size=1):
            break
        assert store.delete(RUNS, ()) == 6
        store.close()

    # --- select_columns -----------------------------------------------------------------------

    def test_of_each_row_that_matches_some_values_are_picked(self, store: Store) -> None:
        for model, cost in ("m", 1), ("m", 1), ("n", None):
            store.insert(USAGE, usage_row(model=model, latency_ms=cost, cost_usd=cost))
        columns = ("model", "latency_ms", "cost_usd")
        picked = store.select_columns(USAGE, columns)
        assert sorted(picked, key=str) == [("m", 1, 10**12), ("m", 1, 10**12), ("n", None, None)]
        assert store.select_columns(USAGE, columns, USAGE.where(model="n")) == [("n", None, None)]
        [(at,)] = store.select_columns(USAGE, ("created_at",), USAGE.where(model="n"))
        assert datetime.fromisoformat(at) == NOON

    def test_columns_that_no_record_shows_can_be_picked(self, store: Store) -> None:
        store.insert(RUNS, run_row("run"))
        data = {"name": "score", "value": 0.1}
        event = AgentRunEvent("agent", "run", "", NOON, "metric", data, created_at=NOON)
        store.insert(EVENTS, EVENTS.encode(event))
        assert store.select_columns(EVENTS, ("metric_value", "metric_name")) == [(0.1, "score")]

    # --- sub-selects --------------------------------------------------------------------------

    def test_a_filter_compares_with_the_values_of_another_select(self, store: Store) -> None:
        for name, session in (("a", "s"), ("b", "s"), ("c", "t"), ("d", None)):
            store.insert(RUNS, run_row(name, session_id=session, status=f"status {session}"))
        for run_id in ("a", "b", "c", "d", None):
            store.insert(USAGE, usage_row(run_id=run_id, model=f"of {run_id}"))
        runs = Select(RUNS, "run_id", (Filter("session_id", "=", "s"), Filter("id", ">", 0)))
        where = (Filter("model", "<>", "of b"), Filter("run_id", "in", runs))
        assert [usage.run_id for usage in records(store, USAGE, where=where)] == ["a"]
        assert store.aggregate(USAGE, (COUNT,), where[1:]) == [(2,)]
        nested = Select(RUNS, "session_id", (Filter("run_id", "in", runs),))
        assert run_ids_of(store, Filter("session_id", "in", nested)) == "ba"
        assert len(store.update(USAGE, where[1:], {"model": "changed"})) == 2
        with store.snapshot() as read:
            assert sum(len(c[0]) for c in read(query_of(USAGE, where), 400)) == 2
        assert store.delete(USAGE, (Filter("run_id", "in", Select(RUNS, "run_id")),)) == 4

    def test_a_value_may_be_none_of_several(self, store: Store) -> None:
        for name, session in (("a", "s"), ("b", None), ("c", "t"), ("d", None)):
            store.insert(RUNS, run_row(name, session_id=session))
        assert run_ids_of(store, Filter("run_id", "not in", ("c", "x"))) == "dba"
        assert run_ids_of(store, Filter("run_id", "not in", ())) == "dcba"
        assert run_ids_of(store, Filter("session_id", "not in", ("s",))) == "c"
        sessions = Select(RUNS, "session_id", (Filter("run_id", "in", ("a", "b")),))
        assert run_ids_of(store, Filter("session_id", "not in", sessions)) == "c"

    def test_rows_may_pass_one_of_several_groups_of_filters(self, store: Store) -> None:
        for name, session in (("a", "s"), ("b", None), ("c", "t"), ("d", None)):
            store.insert(RUNS, run_row(name, session_id=session))
        of_s = (Filter("session_id", "=", "s"), Filter("run_id", "in", ("a", "c")))
        without = (Filter("session_id", "is null"), Filter("run_id", ">", "b"))
        assert run_ids_of(store, any_of(of_s, without)) == "da"
        assert run_ids_of(store, Filter("run_id", "<>", "d"), any_of(of_s, without)) == "a"
        assert store.aggregate(RUNS, (COUNT,), (any_of(of_s, without),)) == [(2,)]
        assert store.aggregate(RUNS, (COUNT,), (any_of((Filter("run_id", "in", ()),)),)) == [(0,)]

    def test_queries_of_a_snapshot_may_be_nested(self, store: Store) -> None:
        for name in "abc":
            store.insert(RUNS, run_row(name))
            store.insert(USAGE, usage_row(run_id=name))
        with store.snapshot() as read:
            found = []
            for columns in read(query_of(RUNS), 1):
                [run] = RUNS.decode(columns)
                calls = read(query_of(USAGE, (Filter("run_id", "=", run.run_id),)), 400)
                found.append([call.run_id for c in calls for call in USAGE.decode(c)])
        assert found == [["c"], ["b"], ["a"]]


def _insert_ties(store: Store) -> None:
    """Six runs, of which some are equal in what they may be ordered by."""
    for run_id, minute, iterations, status in (
        ("a", 1, 3, "x"),
        ("b", 0, 3, "y"),
        ("c", 1, -1, "x"),
        ("d", 1, 3, "x"),
        ("e", 2, 0, "y"),
        ("f", 2, 0, "x"),
    ):
        store.insert(RUNS, run_row(run_id, minute, total_iterations=iterations, status=status))


def _streamed(store: Store, **options: Any) -> list[Any]:
    return [run for columns in store.stream(RUNS, **options) for run in RUNS.decode(columns)]
