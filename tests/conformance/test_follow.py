"""A follower gets every committed event exactly once, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    ClosedError,
    InvalidValueError,
    Persistence,
    UnsupportedError,
)
from curio_persistence.capabilities import event_feed
from curio_persistence.store.change_feed import Changes, read_changes

Open = Callable[[], Persistence]


def append(persistence: Persistence, *data: int, run_id: str = "run", **fields: Any) -> None:
    for number in data:
        persistence.append_event(run_id, "agent", "log", payload=number, **fields)


def follow(persistence: Persistence, **options: Any) -> Callable[[], list[int]]:
    """Return the events since the last call."""
    events = persistence.events.follow(interval=0, **options)
    return lambda: [int(event.data) for event in next(events)]


def test_events_are_returned_as_they_are_committed(persistence: Persistence) -> None:
    look = follow(persistence)
    assert look() == []
    append(persistence, 1, 2)
    assert look() == [1, 2]
    assert look() == []
    append(persistence, 3)
    assert look() == [3]


def test_the_last_events_are_returned_first(persistence: Persistence) -> None:
    append(persistence, 1, 2, 3)
    look = follow(persistence, last=2)
    assert look() == [2, 3]
    append(persistence, 4)
    assert look() == [4]


def test_filters_are_those_of_a_query(persistence: Persistence) -> None:
    append(persistence, 1, level="error")
    append(persistence, 2)
    look = follow(persistence, last=5, min_level="warning")
    assert look() == [1]
    append(persistence, 3, level="debug")
    append(persistence, 4, level="critical")
    assert look() == [4]


def test_events_of_a_user_are_those_of_the_user_s_runs(persistence: Persistence) -> None:
    for user in ("ann", "bob"):
        persistence.create_agent_run(AgentRun("agent", user, user_id=user))
    append(persistence, 1, run_id="ann")
    append(persistence, 2, run_id="bob")
    look = follow(persistence, last=5, user_id="ann", event_type="log")
    assert look() == [1]
    append(persistence, 3, run_id="bob")
    append(persistence, 4, run_id="of nobody")
    assert look() == []
    append(persistence, 5, 6, run_id="ann")
    append(persistence, 7, run_id="bob")
    assert look() == [5, 6]


def test_an_old_event_is_returned_when_it_is_stored(persistence: Persistence) -> None:
    append(persistence, 1)
    look = follow(persistence, last=1)
    assert look() == [1]
    append(persistence, 2, timestamp=persistence.clock.now().replace(year=1999))
    assert look() == [2]


def test_a_rolled_back_event_is_never_returned(persistence: Persistence) -> None:
    look = follow(persistence)
    look()
    with suppress(ZeroDivisionError), persistence.transaction():
        append(persistence, 1)
        raise ZeroDivisionError
    assert look() == []
    append(persistence, 2)
    assert look() == [2]


def test_batches_are_returned_whole(persistence: Persistence) -> None:
    look = follow(persistence)
    look()
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type="log", data=number) for number in range(2_500)
    )
    assert look() + look() + look() == list(range(2_500))
    assert look() == []


def test_ids_of_deleted_events_are_not_reused(persistence: Persistence) -> None:
    append(persistence, 1, run_id="first")
    look = follow(persistence)
    look()
    append(persistence, 2, 3, run_id="second")
    assert look() == [2, 3]
    persistence.delete_agent_run("second")
    append(persistence, 4, 5, 6, run_id="third")
    assert look() == [4, 5, 6]
    persistence.delete_agent_run("third")
    append(persistence, 7, run_id="fourth")
    assert look() == [7]


def test_following_inside_a_transaction_is_refused(persistence: Persistence) -> None:
    """The listeners that share the reader would get rows that may be rolled back."""
    look = follow(persistence)
    assert look() == []
    with persistence.transaction():
        append(persistence, 1)
        with pytest.raises(UnsupportedError):
            look()
    assert look() == [1]


def test_listeners_share_one_reader(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is read once for all of them."""
    looks = [follow(persistence) for _ in range(20)]
    assert all(look() == [] for look in looks)
    append(persistence, 1, 2, 3)
    reads = _count_rows_read(monkeypatch)
    assert all(look() == [1, 2, 3] for look in looks)
    append(persistence, 4)
    late = follow(persistence)
    assert late() == []
    assert all(look() == [4] for look in looks)
    assert sum(reads) == 4
    append(persistence, 5)
    assert late() == [5]


def _count_rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads: list[int] = []

    def counted(*given: Any, **options: Any) -> Changes:
        found = read_changes(*given, **options)
        reads.append(len(found))
        return found

    monkeypatch.setattr(event_feed, "read_changes", counted)
    return reads


def test_a_listener_far_behind_the_others_reads_by_itself(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "_REMEMBERED", 2)
    slow, quick = follow(persistence), follow(persistence)
    assert slow() == quick() == []
    for number in range(5):
        append(persistence, number)
        assert quick() == [number]
    assert slow() == [0, 1, 2, 3, 4]
    assert slow() == quick() == []


def test_two_followers_do_not_disturb_each_other(open_again: Open, lasting: None) -> None:
    persistence = open_again()
    one, other = follow(persistence), follow(open_again())
    assert one() == other() == []
    append(persistence, 1)
    assert one() == [1]
    append(persistence, 2)
    assert one() == [2]
    assert other() == [1, 2]


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("options", "field"),
    [({"last": -1}, "last"), ({"interval": -1}, "interval"), ({"interval": "1 s"}, "interval")],
)
def test_invalid_arguments_are_refused(
    persistence: Persistence, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        persistence.events.follow(**options)
    assert refused.value.field == field


def test_following_a_closed_persistence_is_an_error(persistence: Persistence) -> None:
    look = follow(persistence)
    look()
    persistence.close()
    with pytest.raises(ClosedError):
        look()
