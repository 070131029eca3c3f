"""The promises of `Store` for inserts, updates, deletes and upserts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from curio_persistence.errors import ConflictError, MissingRunError
from curio_persistence.models import AgentLLMUsage, AgentRunEvent
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money
from curio_persistence.store.filters import Filter, Order
from curio_persistence.tables import CONSUMERS, EVENTS, RUN_LOGS, RUNS, USAGE
from curio_persistence.tables.run_logs import RunLogNumbers
from curio_persistence.testing.rows import (
    DELIMITERS,
    NOON,
    OLDEST,
    consumer_row,
    event_row,
    records,
    run_ids_of,
    run_row,
    undone,
    usage_row,
)


class WritingPromises:
    """Rows are stored, changed and removed, all or none."""

    # --- insert -------------------------------------------------------------------------------

    def test_what_is_inserted_is_selected(self, store: Store) -> None:
        call = AgentLLMUsage(
            "agent", "run", prompt="why\0\ud800?", cost_usd=Decimal("0.000000000001")
        )
        call.created_at = NOON + timedelta(microseconds=1)
        call.id = store.insert(USAGE, USAGE.encode(call))
        assert records(store, USAGE) == [call]

    def test_each_row_has_an_id_of_its_own_and_later_rows_a_higher_one(self, store: Store) -> None:
        ids = [store.insert(RUNS, run_row(name)) for name in ("a", "b", "c")]
        assert ids == sorted(set(ids))

    def test_columns_that_are_left_out_are_none(self, store: Store) -> None:
        store.insert(RUNS, run_row("run"))
        [run] = records(store, RUNS)
        assert (run.session_id, run.parent_run_id) == (None, None)

    def test_a_unique_value_is_taken_once(self, store: Store) -> None:
        store.insert(RUNS, run_row("run", objective="the first"))
        with pytest.raises(ConflictError):
            store.insert(RUNS, run_row("run", objective="the second"))
        assert [run.objective for run in records(store, RUNS)] == ["the first"]

    def test_a_reference_must_lead_somewhere(self, store: Store) -> None:
        with pytest.raises(MissingRunError):
            store.insert(EVENTS, event_row("unknown"))
        assert records(store, EVENTS) == []

    def test_changing_a_row_after_it_was_handed_in_changes_nothing_stored(
        self, store: Store
    ) -> None:
        row = run_row("run")
        store.insert(RUNS, row)
        row["objective"] = "changed"
        assert [run.objective for run in records(store, RUNS)] == [""]

    # --- insert_many --------------------------------------------------------------------------

    def test_many_rows_are_inserted_with_ids_in_their_order(self, store: Store) -> None:
        first = store.insert(RUNS, run_row("first"))
        ids = store.insert_many(RUNS, [run_row(f"run {number}") for number in range(700)])
        last = store.insert(RUNS, run_row("last"))
        assert [first, *ids, last] == sorted({first, *ids, last})
        named = {run.run_id: run.id for run in records(store, RUNS)}
        assert named == {
            "first": first,
            **{f"run {number}": ident for number, ident in enumerate(ids)},
            "last": last,
        }

    def test_no_rows_are_many_too(self, store: Store) -> None:
        assert list(store.insert_many(RUNS, [])) == []

    def test_each_of_many_rows_binds_columns_of_its_own(self, store: Store) -> None:
        """None, of an optional column, is one that is not bound at all."""
        calls = [
            AgentLLMUsage("agent", run_id, created_at=NOON, input_tokens=tokens, **optional)
            for run_id, tokens, optional in (
                ("run", 1, {"span_id": "span"}),
                (None, None, {}),
                ("run", 2**63 - 1, {"reasoning_tokens": 3, "cost_usd": Decimal("1.5e-12")}),
                ("run", 0, {"event_id": "event", "cost_usd": Decimal(0)}),
            )
        ]
        rows = [USAGE.encode(call) for call in calls]
        ids = store.insert_many(USAGE, rows)
        for call, ident, row in zip(calls, ids, rows, strict=True):
            call.id, call.cost_usd = ident, decode_money(row.get("cost_usd"))  # type: ignore[arg-type]
        assert records(store, USAGE, order=OLDEST) == calls

    def test_any_text_comes_back_from_many_rows(self, store: Store) -> None:
        texts = [*DELIMITERS, "".join(DELIMITERS), "\0 \ud800 \udfff"]
        names = [*DELIMITERS, "".join(DELIMITERS), "last"]
        rows = [usage_row(prompt=text, model=name) for text, name in zip(texts, names, strict=True)]
        store.insert_many(USAGE, rows)
        stored = records(store, USAGE, order=OLDEST)
        assert [call.prompt for call in stored] == texts
        assert [call.model for call in stored] == names

    @pytest.mark.parametrize("taken", ["stored before", "in the same call"])
    def test_of_many_rows_none_is_inserted_where_a_unique_value_is_taken(
        self, store: Store, taken: str
    ) -> None:
        store.insert(RUNS, run_row("stored before"))
        names = ["a", "in the same call", "b", taken, "c"]
        with pytest.raises(ConflictError):
            store.insert_many(RUNS, [run_row(name) for name in names])
        assert run_ids_of(store) == "stored before"

    def test_of_many_rows_none_is_inserted_where_a_reference_leads_nowhere(
        self, store: Store
    ) -> None:
        store.insert(RUNS, run_row("run"))
        with pytest.raises(MissingRunError):
            store.insert_many(EVENTS, [event_row(name) for name in ("run", "unknown", "run")])
        assert records(store, EVENTS) == []

    def test_many_rows_that_fail_spoil_nothing_but_themselves(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, run_row("a"))
            with pytest.raises(ConflictError):
                store.insert_many(RUNS, [run_row("b"), run_row("a")])
            store.insert_many(RUNS, [run_row("c"), run_row("d")])
            assert run_ids_of(store) == "dca"
        assert run_ids_of(store) == "dca"

    def test_many_rows_are_undone_with_their_transaction(self, store: Store) -> None:
        with undone(store):
            store.insert_many(RUNS, [run_row("a"), run_row("b")])
        assert run_ids_of(store) == ""

    def test_changing_many_rows_after_they_were_handed_in_changes_nothing_stored(
        self, store: Store
    ) -> None:
        rows = [run_row("a"), run_row("b")]
        store.insert_many(RUNS, rows)
        for row in rows:
            row["objective"] = "changed"
        rows.clear()
        assert [run.objective for run in records(store, RUNS)] == ["", ""]

    def test_threads_that_insert_many_rows_each_learn_the_ids_of_their_own(
        self, store: Store
    ) -> None:
        def insert(thread: int) -> dict[int, str]:
            names = [f"{thread} {number}" for number in range(40)]
            ids = store.insert_many(RUNS, [run_row(name) for name in names])
            assert list(ids) == sorted(ids)
            return dict(zip(ids, names, strict=True))

        with ThreadPoolExecutor(4) as threads:
            told = [item for ids in threads.map(insert, range(8)) for item in ids.items()]
        assert sorted(told) == sorted((run.id, run.run_id) for run in records(store, RUNS))

    def test_rows_with_ids_are_stored_under_them(self, store: Store) -> None:
        calls = [
            AgentLLMUsage("agent", str(ident), id=ident, created_at=NOON, **optional)
            for ident, optional in (
                (7, {}),
                (8, {"span_id": "span"}),
                (11, {"cost_usd": Decimal("0.5"), "event_id": "event"}),
                (12, {"span_id": "other"}),
            )
        ]
        rows = [USAGE.encode(call) | {"id": call.id} for call in calls]
        assert list(store.insert_many(USAGE, rows)) == [7, 8, 11, 12]
        assert records(store, USAGE, order=(Order("id"),)) == calls

    def test_of_rows_with_ids_nothing_is_stored_where_one_is_refused(self, store: Store) -> None:
        store.insert(RUNS, run_row("taken"))
        with pytest.raises(ConflictError):
            store.insert_many(RUNS, [run_row("a") | {"id": 8}, run_row("taken") | {"id": 9}])
        unknown = event_row("unknown") | {"id": 9}
        with pytest.raises(MissingRunError):
            store.insert_many(EVENTS, [event_row("taken") | {"id": 8}, unknown])
        assert run_ids_of(store) == "taken"
        assert records(store, EVENTS) == []

    # --- update and delete --------------------------------------------------------------------

    def test_an_update_changes_the_rows_that_match_and_returns_what_is_asked_for(
        self, store: Store
    ) -> None:
        ids = [store.insert(RUNS, run_row(name, status="running")) for name in "ab"]
        store.insert(RUNS, run_row("c", status="error"))
        running = RUNS.where(status="running")
        changed = store.update(RUNS, running, {"status": "x"}, returning=("run_id", "id"))
        assert sorted(changed) == [("a", ids[0]), ("b", ids[1])]
        assert run_ids_of(store, *RUNS.where(status="x")) == "ba"
        assert store.update(RUNS, running, {"status": "y"}) == []

    def test_an_update_returns_kept_values(self, store: Store) -> None:
        store.insert(RUNS, run_row("run"))
        [(at,)] = store.update(RUNS, (), {"objective": ""}, returning=("created_at",))
        assert datetime.fromisoformat(at) == NOON

    def test_a_value_can_be_changed_to_null(self, store: Store) -> None:
        store.insert(RUNS, run_row("run", session_id="session"))
        store.update(RUNS, RUNS.where(run_id="run"), {"session_id": None})
        assert run_ids_of(store, RUNS.filter("session_id", "is not null")) == ""

    def test_deleting_removes_and_counts_the_rows_that_match(self, store: Store) -> None:
        for run_id, agent in ("a", "x"), ("b", "y"), ("c", "x"):
            store.insert(RUNS, run_row(run_id, agent_id=agent))
        assert store.delete(RUNS, RUNS.where(agent_id="x")) == 2
        assert store.delete(RUNS, RUNS.where(agent_id="x")) == 0
        assert run_ids_of(store) == "b"

    def test_deleting_removes_what_refers_to_the_rows_and_does_not_count_it(
        self, store: Store
    ) -> None:
        for run_id in "ab":
            store.insert(RUNS, run_row(run_id))
            store.insert(EVENTS, event_row(run_id))
        assert store.delete(RUNS, RUNS.where(run_id="a")) == 1
        assert [event.run_id for event in records(store, EVENTS)] == ["b"]

    def test_a_deletion_can_be_limited(self, store: Store) -> None:
        for run_id in "abcde":
            store.insert(RUNS, run_row(run_id, agent_id="x" if run_id < "d" else "y"))
        assert store.delete(RUNS, RUNS.where(agent_id="x"), limit=2) == 2
        assert store.delete(RUNS, RUNS.where(agent_id="x"), limit=2) == 1
        assert store.delete(RUNS, RUNS.where(agent_id="x"), limit=2) == 0
        assert store.delete(RUNS, (), limit=0) == 0
        assert set(run_ids_of(store)) == set("de")

    def test_rows_can_be_deleted_by_their_ids(self, store: Store) -> None:
        a, b, _ = (store.insert(RUNS, run_row(run_id)) for run_id in "abc")
        assert store.delete(RUNS, (Filter("id", "in", (a, b, 99)),)) == 2
        assert store.delete(RUNS, (Filter("id", "in", ()),)) == 0
        assert run_ids_of(store) == "c"

    def test_a_counter_is_advanced_and_its_new_value_returned(self, store: Store) -> None:
        for name in "ab":
            store.insert(RUN_LOGS, RUN_LOGS.encode(RunLogNumbers(name, 7, NOON)))
        assert store.advance(RUN_LOGS, "a", "last_seq", 2) == 9
        assert store.advance(RUN_LOGS, "a", "last_seq", 0) == 9
        assert store.advance(RUN_LOGS, "a", "last_seq", 3, above=20) == 23
        assert store.advance(RUN_LOGS, "a", "last_seq", 1, above=20) == 24
        assert store.advance(RUN_LOGS, "c", "last_seq", 1) is None
        assert sorted(log.last_seq for log in records(store, RUN_LOGS)) == [7, 24]

    def test_a_counter_is_advanced_by_one_transaction_after_the_other(self, store: Store) -> None:
        store.insert(RUN_LOGS, RUN_LOGS.encode(RunLogNumbers("a", 0, NOON)))

        def advance(_: int) -> int | None:
            with store.transaction():
                return store.advance(RUN_LOGS, "a", "last_seq", 1)

        with ThreadPoolExecutor(4) as threads:
            assert sorted(n or 0 for n in threads.map(advance, range(40))) == [*range(1, 41)]

    def test_optional_columns_are_read_whether_or_not_they_were_empty_before(
        self, store: Store
    ) -> None:
        store.insert(RUNS, run_row("run"))
        for name in "metadata", "level", "message", "metadata", "session_id":
            event = AgentRunEvent("agent", "run", timestamp=NOON, created_at=NOON)
            setattr(event, name, None if name == "metadata" else "value")
            event.id = store.insert(EVENTS, EVENTS.encode(event))
            assert EVENTS.decode(store.select(EVENTS))[-1] == event
            assert records(store, EVENTS, where=(Filter("id", "=", event.id),)) == [event]

    # --- upserts ------------------------------------------------------------------------------

    def test_an_upsert_inserts_what_is_new_and_updates_what_is_not(self, store: Store) -> None:
        stored = store.insert(RUNS, run_row("b", objective="old", status="running"))
        rows = [run_row(name, objective="new", status="completed") for name in "abc"]
        done = store.upsert(RUNS, rows, key=("run_id",), update=("objective",))
        assert done.new == [True, False, True]
        assert done.ids[1] == stored
        found = {run.run_id: run for run in records(store, RUNS)}
        assert {name: run.id for name, run in found.items()} == dict(
            zip("abc", done.ids, strict=True)
        )
        assert {run.objective for run in found.values()} == {"new"}
        assert found["b"].status == "running"

    def test_an_upsert_without_columns_to_update_leaves_stored_rows_alone(
        self, store: Store
    ) -> None:
        stored = store.insert(RUNS, run_row("b", objective="old"))
        rows = [run_row(name, objective="new") for name in "bab"]
        done = store.upsert(RUNS, rows, key=("run_id",))
        assert done.new == [False, True, False]
        assert done.ids[0] == done.ids[2] == stored
        assert {run.objective for run in records(store, RUNS)} == {"old", "new"}

    def test_rows_of_one_key_are_upserted_in_order(self, store: Store) -> None:
        rows = [run_row("a", objective=text, status=text) for text in ("first", "second")]
        done = store.upsert(RUNS, rows, key=("run_id",), update=("objective",))
        assert done.new == [True, False]
        [run] = records(store, RUNS)
        assert (run.objective, run.status) == ("second", "first")

    def test_rows_without_a_key_are_always_new(self, store: Store) -> None:
        rows = [usage_row(event_id=name, model=str(at)) for at, name in enumerate((None, "x"))]
        for new in ([True, True], [True, False]):
            assert store.upsert(USAGE, rows, key=("event_id",), update=("model",)).new == new
        assert len(records(store, USAGE)) == 3

    def test_keys_of_several_columns_are_told_apart_by_all(self, store: Store) -> None:
        key = ("name", "table_name")
        rows = [consumer_row(name, table) for name in "ab" for table in "xy"]
        assert store.upsert(CONSUMERS, rows, key=key).new == [True] * 4
        assert store.upsert(CONSUMERS, rows[:1], key=key, update=("watermark",)).new == [False]
        with pytest.raises(ConflictError, match="name 'a', table_name 'x'"):
            store.insert(CONSUMERS, rows[0])

    def test_many_rows_are_upserted_all_or_none(self, store: Store) -> None:
        rows = [run_row(f"run {number}") for number in range(1_200)]
        assert store.upsert(RUNS, rows[::3], key=("run_id",)).new == [True] * 400
        done = store.upsert(RUNS, rows, key=("run_id",), update=("status",))
        assert done.new == [number % 3 > 0 for number in range(1_200)]
        assert store.upsert(RUNS, rows, key=("run_id",)) == (done.ids, [False] * 1_200)
        assert store.upsert(RUNS, [], key=("run_id",)) == ([], [])
        events = [event_row("run 0"), event_row("unknown")]
        for event, name in zip(events, "ab", strict=True):
            event["event_id"] = name
        with pytest.raises(MissingRunError):
            store.upsert(EVENTS, events, key=("event_id",))
        assert records(store, EVENTS) == []
