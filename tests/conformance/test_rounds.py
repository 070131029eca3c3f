"""Rounds of the lifecycle archive, expire, and tell when they did and when they will."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from curio_persistence import (
    ConfigurationError,
    Persistence,
    RetentionPolicy,
    UnavailableError,
    archive_runs,
    restore_runs,
)
from curio_persistence.capabilities.lifecycle.rounds import PLANNED, ROUND
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.capabilities.search.indexing import Indexing
from tests.conformance.test_retention import names, record
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


def one_round(persistence: Persistence, **arguments: Any) -> Any:
    """Return the outcome of one round."""
    stop, outcomes = Event(), []

    def on_round(outcome: Any) -> None:
        outcomes.append(outcome)
        stop.set()

    persistence.lifecycle.run_forever(pace=1, stop=stop, on_round=on_round, **arguments)
    [outcome] = outcomes
    return outcome


def told(persistence: Persistence) -> tuple[str, str]:
    check = persistence.lifecycle.check()
    return check.level, check.message


def test_runs_are_archived_before_any_expire(persistence: Persistence, tmp_path: Path) -> None:
    record(persistence, "very-old", days=100)
    record(persistence, "old", days=10)
    record(persistence, "new", days=1)
    archive = partial(archive_runs, persistence, tmp_path / "old", older_than="7d", pace=1)
    report = one_round(persistence, archive=archive, default=RetentionPolicy(keep="90d"))
    assert (report.runs, report.archived, report.events) == (2, 2, 4)
    assert report.to_dict()["archived"] == 2
    assert names(persistence) == ["new"]
    assert restore_runs(persistence, tmp_path / "old", ["old", "very-old"]).runs == 2
    assert told(persistence)[0] == "ok"


def test_what_is_archived_and_what_is_deleted_is_counted(
    persistence: Persistence, tmp_path: Path
) -> None:
    record(persistence, "old", days=10)
    record(persistence, "draft", days=3, tags=["draft"])
    record(persistence, "new", days=1)
    persistence.lifecycle.set_policy(RetentionPolicy("drafts", keep="2d", tags="draft"))
    archive = partial(archive_runs, persistence, tmp_path / "old", older_than="7d", pace=1)
    report = one_round(persistence, archive=archive)
    assert (report.runs, report.archived) == (2, 1)
    assert report.cutoff == NOON - 2 * DAY
    assert names(persistence) == ["new"]


def test_nothing_expires_while_the_archive_is_away(
    persistence: Persistence, tmp_path: Path, clock: Hands
) -> None:
    record(persistence, "old", days=100)
    record(persistence, "new", days=1)
    persistence.lifecycle.set_policy(RetentionPolicy(keep="90d"))
    (tmp_path / "old").write_text("a file, no folder")
    archive = partial(archive_runs, persistence, tmp_path / "old", older_than="7d", pace=1)
    outcome = one_round(persistence, archive=archive)
    assert isinstance(outcome, UnavailableError)
    assert names(persistence) == ["new", "old"]
    level, message = told(persistence)
    assert level == "warning"
    assert "the round of 2026-11-20 12:00 UTC failed: " in message
    (tmp_path / "old").unlink()
    assert one_round(persistence, archive=archive).archived == 1
    assert told(persistence) == (
        "ok",
        "1 policies; 0 runs expired on 2026-11-20 12:00 UTC",
    )


def test_a_round_that_would_delete_everything_is_refused(persistence: Persistence) -> None:
    assert one_round(persistence, default=RetentionPolicy(keep="7d")).runs == 0
    record(persistence, "older", days=10)
    record(persistence, "old", days=9)
    outcome = one_round(persistence, default=RetentionPolicy(keep="7d"))
    assert isinstance(outcome, ConfigurationError)
    assert "all 2 runs" in str(outcome)
    assert "--yes" in str(outcome)
    assert names(persistence) == ["old", "older"]
    with pytest.raises(ConfigurationError, match="all 2 runs"):
        persistence.lifecycle.expire("7d", pace=1, allow_all=False)
    persistence.lifecycle.hold("case", run_id="old")
    assert one_round(persistence, default=RetentionPolicy(keep="7d")).runs == 1
    persistence.lifecycle.release("case")
    assert one_round(persistence, default=RetentionPolicy(keep="7d"), allow_all=True).runs == 1


def test_a_running_run_is_enough_to_be_left(persistence: Persistence) -> None:
    record(persistence, "old", days=10)
    record(persistence, "running", days=10, status="running", finished_at=None)
    assert one_round(persistence, default=RetentionPolicy(max_runs=0)).runs == 1


def test_the_next_round_is_told_until_the_program_ends(
    persistence: Persistence, clock: Hands
) -> None:
    record(persistence, "old", days=100)
    record(persistence, "new", days=1)
    persistence.lifecycle.set_policy(RetentionPolicy(keep="90d"))
    stop, done = Event(), Event()
    program = Thread(
        target=persistence.lifecycle.run_forever,
        kwargs={"pace": 1, "stop": stop, "on_round": lambda _: done.set()},
    )
    program.start()
    try:
        assert done.wait(30)
        settings = Settings(persistence._store, persistence.clock)
        while not settings.of(ROUND):
            assert not stop.wait(0.01)
        level, message = told(persistence)
        assert level == "ok"
        assert "; the next round is on 2026-11-21 " in message
        clock.move(days=2)
        assert told(persistence)[0] == "warning"
    finally:
        stop.set()
        program.join(30)
    assert "next round" not in told(persistence)[1]


@pytest.mark.slow
def test_a_round_that_another_program_plans_is_left_to_it(
    persistence: Persistence, clock: Hands
) -> None:
    record(persistence, "new", days=1)
    settings = Settings(persistence._store, persistence.clock)
    rounds: list[Any] = []
    done_meanwhile: list[int] = []
    stop = Event()

    def on_round(outcome: Any) -> None:
        rounds.append(outcome)
        if len(rounds) == 2:
            stop.set()

    def plan_for_another() -> None:
        """Put another program's plan in the place of this one's, then let its time come."""
        while not settings.of(ROUND):
            stop.wait(0.005)
        at = NOON + timedelta(seconds=0.05)
        settings.put(ROUND, PLANNED, {"by": "another", "at": at.isoformat()})
        stop.wait(0.5)  # Five periods.
        done_meanwhile.append(len(rounds))
        clock.move(seconds=1)

    other = Thread(target=plan_for_another)
    other.start()
    period = timedelta(seconds=0.1)
    persistence.lifecycle.run_forever(period, pace=1, stop=stop, on_round=on_round)
    other.join(30)
    assert (done_meanwhile, len(rounds)) == ([1], 2)


def test_a_round_leaves_no_index_that_is_mostly_words_of_expired_records(
    persistence: Persistence,
) -> None:
    for number in range(6):
        record(persistence, f"old-{number}", days=100)
    record(persistence, "new", days=1)
    assert len(persistence.search_text("words")) == 14
    indexing = Indexing(persistence._store)
    generation = indexing.metadata().generation
    assert persistence.lifecycle.expire("90d", pace=1).runs == 6
    keeps_words = persistence._store.search_index.removal_needs_words
    assert indexing.is_mostly_forgotten() is keeps_words
    assert one_round(persistence, default=RetentionPolicy(keep="90d")).runs == 0
    assert not indexing.is_mostly_forgotten()
    assert indexing.metadata().generation == generation + keeps_words
    assert persistence.search.pending() == 0
    assert {hit.run_id for hit in persistence.search_text("words")} == {"new"}


def test_a_failure_that_nobody_is_told_of_is_logged(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    record(persistence, "old", days=100)
    stop = Event()

    def archive() -> Any:
        stop.set()
        raise UnavailableError("The bucket is away.")

    persistence.lifecycle.run_forever(archive=archive, pace=1, stop=stop)
    assert "A round of the lifecycle failed: The bucket is away." in caplog.text
    assert names(persistence) == ["old"]
