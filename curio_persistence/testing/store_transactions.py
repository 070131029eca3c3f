"""The promises of `Store` for transactions, and for its own life."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from curio_persistence.errors import ClosedError, ConflictError, MissingRunError, UnsupportedError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT
from curio_persistence.tables import EVENTS, RUNS
from curio_persistence.testing.rows import Stop, event_row, records, run_ids_of, run_row, undone


class TransactionPromises:
    """Transactions nest, and end whole; a closed store refuses calls."""

    # --- transactions -------------------------------------------------------------------------

    def test_a_transaction_keeps_all_of_it(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, run_row("a"))
            assert run_ids_of(store) == "a"
            store.insert(RUNS, run_row("b"))
        assert run_ids_of(store) == "ba"

    def test_a_transaction_that_raises_keeps_nothing_of_it(self, store: Store) -> None:
        store.insert(RUNS, run_row("a", objective="before"))
        store.insert(EVENTS, event_row("a"))
        with undone(store):
            store.insert(RUNS, run_row("b"))
            store.update(RUNS, RUNS.where(run_id="a"), {"objective": "after"})
            store.delete(RUNS, RUNS.where(run_id="a"))
            assert run_ids_of(store) == "b"
        assert [(run.run_id, run.objective) for run in records(store, RUNS)] == [("a", "before")]
        assert len(records(store, EVENTS)) == 1

    def test_an_exception_leaves_a_transaction_as_it_is(self, store: Store) -> None:
        stop = Stop()
        with pytest.raises(Stop) as caught, store.transaction():
            raise stop
        assert caught.value is stop

    def test_a_transaction_inside_another_is_undone_alone(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, run_row("a"))
            with undone(store):
                store.insert(RUNS, run_row("b"))
            with store.transaction():
                store.insert(RUNS, run_row("c"))
        assert run_ids_of(store) == "ca"

    def test_the_last_steps_of_a_transaction_are_part_of_it(self, store: Store) -> None:
        with store.transaction():
            store.before_commit(lambda: store.insert(RUNS, run_row("last")))
            with undone(store):
                store.before_commit(lambda: store.insert(RUNS, run_row("undone")))
            with store.transaction():
                store.before_commit(lambda: store.insert(RUNS, run_row("inside")))
            store.insert(RUNS, run_row("first"))
        assert sorted(run.run_id for run in records(store, RUNS)) == ["first", "inside", "last"]
        ids = {run.run_id: run.id or 0 for run in records(store, RUNS)}
        assert ids["last"] < ids["inside"]
        store.before_commit(lambda: store.insert(RUNS, run_row("at once")))
        assert "at once" in {run.run_id for run in records(store, RUNS)}

    def test_a_last_step_that_raises_undoes_the_transaction(self, store: Store) -> None:
        def raise_it() -> None:
            raise Stop

        def work() -> None:
            with store.transaction():
                store.insert(RUNS, run_row("a"))
                store.before_commit(raise_it)

        with pytest.raises(Stop):
            work()
        assert run_ids_of(store) == ""

    def test_a_transaction_inside_another_is_undone_with_it(self, store: Store) -> None:
        with undone(store), store.transaction():
            store.insert(RUNS, run_row("a"))
        assert run_ids_of(store) == ""

    def test_a_failed_call_spoils_nothing_but_itself(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, run_row("a"))
            with pytest.raises(ConflictError):
                store.insert(RUNS, run_row("a"))
            with pytest.raises(MissingRunError):
                store.insert(EVENTS, event_row("unknown"))
            store.insert(RUNS, run_row("b"))
        assert run_ids_of(store) == "ba"

    def test_other_threads_see_nothing_of_a_transaction_that_is_undone(self, store: Store) -> None:
        with ThreadPoolExecutor(1) as thread:
            with undone(store):
                store.insert(RUNS, run_row("a"))
                seen = thread.submit(run_ids_of, store)
            assert seen.result() == ""

    def test_threads_take_turns_with_their_transactions(self, store: Store) -> None:
        def write(name: str) -> None:
            with store.transaction():
                store.insert(RUNS, run_row(name))
                store.insert(EVENTS, event_row(name))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, "abcdefgh"))
        assert sorted(run_ids_of(store)) == list("abcdefgh")
        assert len(records(store, EVENTS)) == 8

    # --- the store itself ---------------------------------------------------------------------

    def test_initializing_again_changes_nothing(self, store: Store) -> None:
        store.insert(RUNS, run_row("a"))
        store.initialize()
        assert run_ids_of(store) == "a"

    def test_a_check_up_finds_it_well_and_changes_nothing(self, store: Store) -> None:
        store.insert(RUNS, run_row("a"))
        checks = store.diagnose()
        assert checks
        assert not [check for check in checks if check.level == "error"]
        assert run_ids_of(store) == "a"

    def test_it_cannot_be_closed_inside_a_transaction(self, store: Store) -> None:
        with store.transaction():
            store.insert(RUNS, run_row("a"))
            with pytest.raises(UnsupportedError):
                store.close()
        assert run_ids_of(store) == "a"

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.initialize(),
            lambda store: store.insert(RUNS, run_row("run")),
            lambda store: store.insert_many(RUNS, [run_row("a"), run_row("b")]),
            lambda store: store.select(RUNS),
            lambda store: next(iter(store.stream(RUNS))),
            lambda store: store.update(RUNS, (), {"status": "error"}),
            lambda store: store.delete(RUNS, ()),
            lambda store: store.aggregate(RUNS, (COUNT,)),
            lambda store: store.select_columns(RUNS, ("run_id",)),
            lambda store: store.transaction().__enter__(),
            lambda store: store.diagnose(),
        ],
    )
    def test_once_closed_it_serves_no_call(
        self, store: Store, call: Callable[[Store], object]
    ) -> None:
        store.close()
        store.close()
        with pytest.raises(ClosedError):
            call(store)
