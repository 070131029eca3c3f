"""Archives in an object store, by the S3 protocol, and what other programs read in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from curio_persistence import (
    CorruptDatabaseError,
    NotFoundError,
    Persistence,
    RetentionPolicy,
    SQLitePersistence,
    archive_runs,
    connect,
    open_archive,
    restore_runs,
)
from curio_persistence.places import Place
from tests.support.object_store import ENVIRONMENT, module, object_store
from tests.support.old_runs import fill_with_old_runs

pytestmark = [pytest.mark.thorough, pytest.mark.slow]


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    return "s3://agents/archive"


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Persistence]:
    with SQLitePersistence(tmp_path / "runs.db") as persistence:
        fill_with_old_runs(persistence, old=30, new=3, events=10)
        yield persistence


def test_runs_go_to_an_object_store_and_come_back(filled: Persistence, s3: str) -> None:
    hashes = sorted(filled.runs.hashes(["old-1", "old-7"]))
    assert archive_runs(filled, s3, older_than="90d", pace=1).runs == 30
    assert filled.count_agent_runs() == 3
    assert restore_runs(filled, s3, ["old-1", "old-7"]).events == 20
    assert sorted(filled.runs.hashes(["old-1", "old-7"])) == hashes


def test_other_programs_read_the_archive(filled: Persistence, tmp_path: Path) -> None:
    deltalake = module("deltalake")
    polars = module("polars")
    place = tmp_path / "archive"
    total = sum(float(call.cost_usd or 0) for call in filled.iter_llm_usage(until="50d"))
    data = sorted(event.data or "" for event in filled.iter_agent_run_events(until="50d"))
    archive_runs(filled, place, older_than="90d", pace=1)
    [folder] = place.iterdir()
    events = polars.read_delta(str(folder / "events"))
    assert sorted(events["data"].to_list()) == data
    assert events["dt"].n_unique() == 30
    usage = deltalake.DeltaTable(str(folder / "usage"))
    assert usage.version() == 0
    rows = polars.read_delta(str(folder / "usage"))
    assert float(rows["cost_usd"].sum()) == pytest.approx(total)
    assert deltalake.DeltaTable(str(folder / "runs")).metadata().partition_columns == ["dt"]


def test_a_round_whose_bucket_is_away_deletes_nothing(filled: Persistence, s3: str) -> None:
    filled.lifecycle.set_policy(RetentionPolicy(keep="50d"))

    def one_round(destination: str) -> Any:
        stop, outcomes = Event(), []

        def on_round(outcome: Any) -> None:
            outcomes.append(outcome)
            stop.set()

        archive = partial(archive_runs, filled, destination, older_than="7d", pace=1)
        filled.lifecycle.run_forever(archive=archive, pace=1, stop=stop, on_round=on_round)
        return outcomes[0]

    missing = one_round("s3://no-such-bucket/archive")
    assert isinstance(missing, NotFoundError)
    assert filled.count_agent_runs() == 33
    check = filled.lifecycle.check()
    assert (check.level, "no-such-bucket" in check.message) == ("warning", True)
    report = one_round(s3 + "-of-rounds")
    assert (report.archived, report.runs) == (30, 30)
    assert filled.count_agent_runs() == 3
    assert filled.lifecycle.check().level == "ok"


def test_other_programs_read_a_checkpoint_and_we_read_theirs(
    filled: Persistence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deltalake = module("deltalake")
    monkeypatch.setattr("curio_persistence.archive.delta_log._CHECKPOINT_EACH", 2)
    place = tmp_path / "archive"
    for days in (125, 120, 115, 110, 90):
        archive_runs(filled, place, older_than=f"{days}d", pace=1)
    [folder] = place.iterdir()
    events = folder / "events"
    last = json.loads((events / "_delta_log" / "_last_checkpoint").read_text())
    assert last["version"] == 4
    for version in range(4):  # As Delta Lake cleans logs: readers need the checkpoint only.
        (events / "_delta_log" / f"{version:020}.json").unlink()
    table = deltalake.DeltaTable(str(events))
    assert table.version() == 4
    assert table.to_pyarrow_table().num_rows == 300
    table.create_checkpoint()
    assert restore_runs(filled, place, ["old-0", "old-29"]).events == 20
    fill_with_old_runs_again(filled)
    archive_runs(filled, place, older_than="90d", pace=1)
    assert deltalake.DeltaTable(str(events)).version() >= 5


def fill_with_old_runs_again(persistence: Persistence) -> None:
    run = persistence.get_agent_run("new-0")
    assert run is not None
    persistence.runs.patch("new-0", finished_at=run.created_at - timedelta(days=200))


def test_an_archive_that_another_program_rewrote_is_refused(
    filled: Persistence, tmp_path: Path
) -> None:
    deltalake = module("deltalake")
    place = tmp_path / "archive"
    archive_runs(filled, place, older_than="120d", pace=1)
    [folder] = place.iterdir()
    table = deltalake.DeltaTable(str(folder / "events"))
    before = table.version()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    archive_runs(filled, place, older_than="110d", pace=1)  # Nothing was in its way.
    table = deltalake.DeltaTable(str(folder / "events"))
    table.delete("run_id = 'old-25' AND id % 2 = 0")
    count = filled.count_agent_runs()
    with pytest.raises(CorruptDatabaseError, match=r"another program wrote .* without a hash"):
        archive_runs(filled, place, older_than="90d", pace=1)
    assert filled.count_agent_runs() == count
    assert before == 0
    table.restore(deltalake.DeltaTable(str(folder / "events")).version() - 1)
    archive_runs(filled, place, older_than="90d", pace=1)
    assert restore_runs(filled, place, ["old-0", "old-25"]).events == 20


def test_a_year_is_asked_in_an_object_store(s3: str, tmp_path: Path) -> None:
    """The example keeps 90 days here, and finds a run of last spring by a word in the store."""
    database = tmp_path / "year.db"
    command = [sys.executable, EXAMPLES / "a_year.py", database, f"{s3}/year"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    before, after = (float(size) for size in re.findall(r"take[s]? ([0-9.]+) MB", said))
    assert after < 0.58 * before
    assert "in both: run-220-3: Which volcano closed the airport?" in said
    with connect(f"sqlite:///{database}", archive=f"{s3}/year") as year:
        assert year.count_agent_runs() == 1_460
        assert year.sql("SELECT count(*) FROM events").rows == [(14_600,)]
        shown = year.runs.history("run-220-3")
    assert shown.run.objective == "Which volcano closed the airport?"


def test_what_is_missing_in_an_object_store_is_named(filled: Persistence, s3: str) -> None:
    archive_runs(filled, f"{s3}/holes", older_than="90d", pace=1)
    with open_archive(filled, f"{s3}/holes") as both:
        assert both.count_agent_runs() == 33
        place = Place(f"{s3}/holes")
        place.delete(next(name for name in place.names("") if "/events/dt=" in name))
        with pytest.raises(NotFoundError, match="has no such bucket or object"):
            both.query_events(limit=None)
