"""An archive that fails: each failure is one clear error, nothing is deleted, a rerun finishes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from curio_persistence import (
    AccessDeniedError,
    CorruptDatabaseError,
    NotFoundError,
    Persistence,
    SchemaMismatchError,
    SQLitePersistence,
    StorageFullError,
    UnavailableError,
    archive_runs,
    check_archive,
    erase_runs,
    places,
    restore_runs,
)
from curio_persistence.importers.exports import memory_guards
from curio_persistence.results.arrow import arrow_schema
from curio_persistence.tables import EVENTS
from tests.support.disks import small_disk
from tests.support.faulty_proxy import CUT, FaultyProxy, use
from tests.support.object_store import BUCKET, object_store
from tests.support.old_runs import fill_with_old_runs

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

OLD, NEW = 6, 2


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def proxy(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    monkeypatch.setattr(places, "_PATIENCE", timedelta(seconds=2))
    server = FaultyProxy(endpoint)
    use(server.url, monkeypatch)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def s3(proxy: FaultyProxy, request: pytest.FixtureRequest) -> str:
    return f"s3://{BUCKET}/{hashlib.md5(request.node.name.encode()).hexdigest()}"


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Persistence]:
    with SQLitePersistence(tmp_path / "runs.db") as persistence:
        fill_with_old_runs(persistence, old=OLD, new=NEW, events=10)
        yield persistence


def archive(persistence: Persistence, place: str | Path) -> int:
    return archive_runs(persistence, place, older_than="90d", pace=1).runs


def nothing_was_deleted(persistence: Persistence) -> None:
    assert persistence.count_agent_runs() == OLD + NEW
    assert persistence.count_events() == (OLD + NEW) * 10


def everything_is_there(persistence: Persistence, place: str | Path) -> None:
    assert persistence.count_agent_runs() == NEW
    restored = restore_runs(persistence, place, [f"old-{number}" for number in range(OLD)])
    assert (restored.runs, restored.events, restored.usage) == (OLD, OLD * 10, OLD)
    assert check_archive(persistence, place, deep=True).level == "ok"


# --- object stores --------------------------------------------------------------------------------


def test_a_missing_bucket(filled: Persistence, proxy: FaultyProxy) -> None:
    with pytest.raises(NotFoundError, match="has no such bucket"):
        archive(filled, "s3://no-such-bucket/x")
    nothing_was_deleted(filled)


def test_wrong_credentials(filled: Persistence, s3: str, proxy: FaultyProxy) -> None:
    proxy.fault = lambda method, path: 403
    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        archive(filled, s3)
    nothing_was_deleted(filled)


def test_an_archive_that_may_only_be_read(filled: Persistence, s3: str, proxy: FaultyProxy) -> None:
    proxy.fault = lambda method, path: 403 if method == "PUT" else None
    with pytest.raises(AccessDeniedError):
        archive(filled, s3)
    nothing_was_deleted(filled)


def test_no_server(filled: Persistence, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        archive(filled, s3)
    nothing_was_deleted(filled)


def test_errors_for_a_while_are_waited_out(
    filled: Persistence, s3: str, proxy: FaultyProxy
) -> None:
    numbers = count()
    proxy.fault = lambda method, path: 503 if next(numbers) % 8 < 2 else None
    assert archive(filled, s3) == OLD
    everything_is_there(filled, s3)


def test_errors_for_ever_are_an_error_soon(
    filled: Persistence, s3: str, proxy: FaultyProxy
) -> None:
    proxy.fault = lambda method, path: 503
    begin = time.monotonic()
    with pytest.raises(UnavailableError, match="503"):
        archive(filled, s3)
    assert time.monotonic() - begin < 30
    nothing_was_deleted(filled)


def test_a_request_that_is_cut_is_repeated(
    filled: Persistence, s3: str, proxy: FaultyProxy
) -> None:
    numbers = count()
    proxy.fault = lambda method, path: CUT if next(numbers) % 8 < 2 else None
    assert archive(filled, s3) == OLD
    everything_is_there(filled, s3)


def test_an_upload_that_ends_at_any_request(
    filled: Persistence, s3: str, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first put on, each one is the last that succeeds; the last call finishes."""
    monkeypatch.setattr(places, "_PATIENCE", timedelta(seconds=0.2))
    failures = 0
    for allowed in count():
        puts = count()
        proxy.fault = lambda method, path, puts=puts, allowed=allowed: (  # type: ignore[misc]
            CUT if method == "PUT" and next(puts) >= allowed else None
        )
        try:
            archive(filled, s3)
            break
        except UnavailableError:
            failures += 1
            proxy.fault = lambda method, path: None
            runs = filled.count_agent_runs()
            assert runs == OLD + NEW
    assert failures > 3
    everything_is_there(filled, s3)


# --- directories ----------------------------------------------------------------------------------


def test_a_full_disk(filled: Persistence) -> None:
    with small_disk(1) as disk:
        disk.fill()
        disk.make_room(30_000)
        place = disk.folder / "archive"
        with pytest.raises(StorageFullError, match="is full"):
            archive(filled, place)
        nothing_was_deleted(filled)
        disk.make_room()
        assert archive(filled, place) == OLD
        everything_is_there(filled, place)


def test_a_directory_that_may_only_be_read(filled: Persistence, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((AccessDeniedError, UnavailableError)):
        archive(filled, tmp_path / "file" / "archive")
    nothing_was_deleted(filled)


# --- manifests ------------------------------------------------------------------------------------


@pytest.fixture
def half(filled: Persistence, tmp_path: Path) -> Path:
    """Return an archive of some runs; others are archived next."""
    place = tmp_path / "archive"
    assert archive_runs(filled, place, older_than=["102d", "12h"][0], pace=1).runs == OLD - 2
    return place


def log_of(place: Path, table: str) -> Path:
    [folder] = place.iterdir()
    return folder / table / "_delta_log" / f"{0:020}.json"


def change(place: Path, table: str, kind: str, **values: Any) -> None:
    """Change the last action of a kind in a log."""
    log = log_of(place, table)
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    [*_, action] = [action for action in actions if kind in action]
    action[kind] |= values
    log.write_text("".join(f"{json.dumps(each)}\n" for each in actions))


@pytest.mark.parametrize(
    "columns",
    [
        lambda fields: fields[:-1],
        lambda fields: [
            *fields,
            {"name": "mood", "type": "string", "nullable": True, "metadata": {}},
        ],
    ],
    ids=["fewer", "more"],
)
def test_an_archive_of_another_version(filled: Persistence, half: Path, columns: Any) -> None:
    metadata = next(
        action["metaData"]
        for action in map(json.loads, log_of(half, "events").read_text().splitlines())
        if "metaData" in action
    )
    schema = json.loads(metadata["schemaString"])
    schema["fields"] = columns(schema["fields"])
    change(half, "events", "metaData", schemaString=json.dumps(schema))
    before = filled.count_agent_runs()
    with pytest.raises(SchemaMismatchError, match="is of another version: its columns differ"):
        archive(filled, half)
    assert filled.count_agent_runs() == before
    with pytest.raises(SchemaMismatchError):
        restore_runs(filled, half, ["old-5"])


@pytest.mark.parametrize(
    "values",
    [
        {"path": "../../etc/passwd"},
        {"path": "dt=2026-01-01/../../x.parquet"},
        {"path": "/dt=2026-01-01/x.parquet"},
        {"path": ["dt=2026-01-01/x.parquet"]},
        {"size": "large"},
        {"stats": "{"},
        {"stats": "[" * 100_000},
        {"stats": None},
        {"tags": None},
        {"tags": {"sha256": "0" * 64}},
        {"partitionValues": {}},
    ],
    ids=lambda values: str(values)[:60],
)
def test_a_tampered_manifest(filled: Persistence, half: Path, values: dict[str, Any]) -> None:
    change(half, "events", "add", **values)
    before = filled.count_agent_runs()
    with pytest.raises(CorruptDatabaseError):
        archive(filled, half)
    with pytest.raises(CorruptDatabaseError):
        restore_runs(filled, half, ["old-5"])
    assert filled.count_agent_runs() == before


def test_a_manifest_with_another_hash(filled: Persistence, half: Path) -> None:
    log = log_of(half, "runs")
    lines = log.read_text()
    [*_, add] = [json.loads(line) for line in lines.splitlines()]
    log.write_text(lines.replace(add["add"]["tags"]["sha256"], "0" * 64))
    with pytest.raises(CorruptDatabaseError, match="is not as it was archived"):
        restore_runs(filled, half, ["old-2", "old-3", "old-4", "old-5"])
    assert check_archive(filled, half).level == "ok"
    assert check_archive(filled, half, deep=True).level == "error"


def test_a_file_that_is_huge_in_memory(
    filled: Persistence, half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is right: the log was tampered with as well."""
    log = log_of(half, "events")
    [*_, line] = log.read_text().splitlines()
    add = json.loads(line)["add"]
    path = log.parents[1] / add["path"]
    rows = parquet.read_table(path, partitioning=None).slice(0, 1)
    at = rows.schema.get_field_index("data")
    rows = rows.set_column(at, "data", pa.array(["x" * (96 << 20)]))
    parquet.write_table(rows.cast(arrow_schema(EVENTS)), path, compression="zstd")
    content = path.read_bytes()
    assert len(content) < 1 << 20
    change(
        half,
        "events",
        "add",
        size=len(content),
        tags=add["tags"] | {"sha256": hashlib.sha256(content).hexdigest()},
    )
    monkeypatch.setattr(memory_guards, "MAX_GROUP", 16 << 20)
    run_id = rows["run_id"][0].as_py()
    for harm in (restore_runs, erase_runs):
        with pytest.raises(CorruptDatabaseError, match="more than 16 MiB in memory"):
            harm(filled, half, [run_id])
