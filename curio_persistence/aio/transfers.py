"""Exports, imports and copies, awaited.

Each has a thread of its own, in which `progress` is called too. Cancelling a wait, as a timeout
does, stops the work after the current batch.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta, tzinfo
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar, Unpack

import curio_persistence as blocking
from curio_persistence.aio.persistence import AsyncPersistence
from curio_persistence.aio.threads import Threads
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.config import DatabaseConfig
from curio_persistence.errors import ConfigurationError
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Checkpoint, Progress

if TYPE_CHECKING:
    from curio_persistence.interop.otel.export import OtlpOptions, OtlpOutcome

T = TypeVar("T")
Source = str | os.PathLike[str]


async def export_records(
    persistence: AsyncPersistence,
    path: str | os.PathLike[str] | BinaryIO,
    *,
    format: str | None = None,
    tables: Collection[str] = (
        "agents",
        "sessions",
        "runs",
        "events",
        "usage",
        "scores",
        "approvals",
        "snapshots",
        "spans",
        "sources",
    ),
    overwrite: bool = False,
    snapshot: bool = True,
    with_proof: bool = False,
    progress: Progress | None = None,
    **filters: Any,
) -> blocking.ExportReport:
    """Write records to files, as `curio_persistence.export_records` does.

    Cancelled, it leaves no file behind.
    """
    source = _under(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.export_records(
            source,
            path,
            format=format,
            tables=tables,
            overwrite=overwrite,
            snapshot=snapshot,
            with_proof=with_proof,
            progress=tell,
            **filters,
        ),
        progress,
    )


async def export_otlp(
    persistence: AsyncPersistence,
    url: str,
    *,
    name: str | None = None,
    run_id: str | None = None,
    running: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Unpack[OtlpOptions],
) -> blocking.OtlpReport:
    """Send traces by OTLP, as `curio_persistence.export_otlp` does.

    Cancelled, it stops after some traces; with a `name`, the next export goes on there.
    """
    source = _under(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.export_otlp(
            source,
            url,
            name=name,
            run_id=run_id,
            running=running,
            dry_run=dry_run,
            progress=tell,
            **options,
        ),
        progress,
    )


async def follow_otlp(
    persistence: AsyncPersistence,
    url: str,
    every: float | timedelta | str = 5,
    *,
    name: str = "otlp",
    stop: Event | None = None,
    on_round: Callable[[OtlpOutcome], object] | None = None,
    **options: Unpack[OtlpOptions],
) -> None:
    """Send each trace once it has ended, as `curio_persistence.follow_otlp` does.

    Cancelled, it sets `stop`. `on_round` is called in another thread.
    """
    source, stop = _under(persistence), stop or Event()
    try:
        await _apart(
            persistence,
            lambda _: blocking.follow_otlp(
                source, url, every, name=name, stop=stop, on_round=on_round, **options
            ),
            None,
        )
    except asyncio.CancelledError:
        stop.set()
        raise


async def reinterpret_spans(
    persistence: AsyncPersistence, *, dry_run: bool = False, progress: Progress | None = None
) -> blocking.Reinterpreted:
    """Read received spans anew, as `curio_persistence.reinterpret_spans` does.

    Cancelled, it stops after some traces; the same call finishes.
    """
    source = _under(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.reinterpret_spans(source, dry_run=dry_run, progress=tell),
        progress,
    )


async def span_senders(persistence: AsyncPersistence) -> list[blocking.ReceivedFrom]:
    """Return what was received by OpenTelemetry, as `curio_persistence.span_senders` does."""
    source = _under(persistence)
    return await _apart(persistence, lambda _: blocking.span_senders(source), None)


async def archive_runs(
    persistence: AsyncPersistence,
    destination: Source,
    *,
    older_than: timedelta | str | None = None,
    since: timedelta | str | None = None,
    default: blocking.RetentionPolicy | None = None,
    format: str = "parquet",
    keep: bool = False,
    dry_run: bool = False,
    pace: float = 0.05,
    check_clock: bool = True,
    progress: Progress | None = None,
) -> blocking.ExpireReport:
    """Move or copy runs into an archive, as `curio_persistence.archive_runs` does.

    Cancelled, it loses nothing; the same call finishes.
    """
    source = _under(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.archive_runs(
            source,
            destination,
            older_than=older_than,
            since=since,
            default=default,
            format=format,
            keep=keep,
            dry_run=dry_run,
            pace=pace,
            check_clock=check_clock,
            progress=tell,
        ),
        progress,
    )


async def open_archive(
    persistence: AsyncPersistence, destination: Source, *, source: str | None = None
) -> AsyncPersistence:
    """Return a database and its archive as one, as `curio_persistence.open_archive` does."""
    target = _under(persistence)
    opened = await _apart(
        persistence, lambda tell: blocking.open_archive(target, destination, source=source), None
    )
    return AsyncPersistence(opened, threads=persistence._threads.most)


async def check_archive(
    persistence: AsyncPersistence, destination: Source, *, deep: bool = False
) -> blocking.HealthCheck:
    """Return whether an archive is whole, as `curio_persistence.check_archive` does."""
    target = _under(persistence)
    return await _apart(
        persistence, lambda tell: blocking.check_archive(target, destination, deep=deep), None
    )


async def erase_runs(
    persistence: AsyncPersistence,
    destination: Source,
    run_ids: Collection[str],
    *,
    source: str | None = None,
) -> int:
    """Delete runs here and in an archive, as `curio_persistence.erase_runs` does.

    Cancelled, it goes on to its end.
    """
    target = _under(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.erase_runs(target, destination, run_ids, source=source),
        None,
    )


async def restore_runs(
    persistence: AsyncPersistence,
    destination: Source,
    run_ids: Collection[str] | None = None,
    *,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    source: str | None = None,
    progress: Progress | None = None,
) -> blocking.ImportReport:
    """Bring runs back from an archive, as `curio_persistence.restore_runs` does.

    Cancelled, it stores nothing.
    """
    target = _under(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.restore_runs(
            target, destination, run_ids, since=since, until=until, source=source, progress=tell
        ),
        progress,
    )


async def import_records(
    source: Source | BinaryIO,
    persistence: AsyncPersistence | None,
    *,
    progress: Progress | None = None,
) -> blocking.ImportReport:
    """Import an export, as `curio_persistence.import_records` does.

    Cancelled, it keeps what is stored; the same import finishes.
    """
    target = _under_any(persistence)
    return await _apart(
        persistence, lambda tell: blocking.import_records(source, target, progress=tell), progress
    )


async def import_agdd(
    source: Source, persistence: AsyncPersistence | None, *, progress: Progress | None = None
) -> blocking.ImportReport:
    """Import run folders, as `curio_persistence.import_agdd` does.

    Cancelled, it keeps what is stored; the same import finishes.
    """
    target = _under_any(persistence)
    return await _apart(
        persistence, lambda tell: blocking.import_agdd(source, target, progress=tell), progress
    )


async def import_agentlens(
    source: Source, persistence: AsyncPersistence | None, *, progress: Progress | None = None
) -> blocking.ImportReport:
    """Import a database of AgentLens, as `curio_persistence.import_agentlens` does.

    Cancelled, it keeps what is stored; the same import finishes.
    """
    target = _under_any(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.import_agentlens(source, target, progress=tell),
        progress,
    )


async def import_agiwo(
    source: Source, persistence: AsyncPersistence | None, *, progress: Progress | None = None
) -> blocking.ImportReport:
    """Import a database of Agiwo, as `curio_persistence.import_agiwo` does.

    Cancelled, it keeps what is stored; the same import finishes.
    """
    target = _under_any(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.import_agiwo(source, target, progress=tell),
        progress,
    )


async def import_costs(
    source: Source, persistence: AsyncPersistence | None, *, progress: Progress | None = None
) -> blocking.ImportReport:
    """Import cost ledgers, as `curio_persistence.import_costs` does.

    Cancelled, it keeps what is stored; the same import finishes.
    """
    target = _under_any(persistence)
    return await _apart(
        persistence, lambda tell: blocking.import_costs(source, target, progress=tell), progress
    )


async def import_sessions(
    paths: Iterable[Source] | Source | None = None,
    persistence: AsyncPersistence | None = None,
    *,
    source: str = "auto",
    since: TimeLike | None = None,
    content: Literal["all", "metrics-only"] = "all",
    exclude: Collection[str] = (),
    progress: Progress | None = None,
    dry_run: bool = False,
    verify: bool = False,
    on_found: Callable[[list[blocking.SessionPlace]], object] | None = None,
) -> blocking.SessionImportReport:
    """Import sessions of other tools, as `curio_persistence.import_sessions` does.

    Cancelled, it keeps what is stored; the same import finishes. `on_found` is called in a thread.
    """
    target = _under_any(persistence)
    return await _apart(
        persistence,
        lambda tell: blocking.import_sessions(
            paths,
            target,
            source=source,
            since=since,
            content=content,
            exclude=exclude,
            progress=tell,
            dry_run=dry_run,
            verify=verify,
            on_found=on_found,
        ),
        progress,
    )


async def copy_records(
    source: AsyncPersistence, destination: AsyncPersistence, *, progress: Progress | None = None
) -> blocking.CopyReport:
    """Copy everything into another database, as `curio_persistence.copy_records` does.

    Cancelled, it keeps what is stored; the same copy finishes. In a transaction of the destination
    it belongs to that; it never belongs to one of the source.
    """
    here, there = _under(source), _under(destination)
    return await _apart(
        destination, lambda tell: blocking.copy_records(here, there, progress=tell), progress
    )


async def import_curio(
    url: str | DatabaseConfig,
    *,
    timezone: str | tzinfo | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> blocking.CurioImportReport:
    """Import an original Curio's database in place, as `curio_persistence.import_curio` does.

    Cancelled, it leaves the old tables as they were.
    """
    return await _apart(
        None,
        lambda tell: blocking.import_curio(url, timezone=timezone, dry_run=dry_run, progress=tell),
        progress,
    )


async def restore_backup(source: Source, url: str | DatabaseConfig) -> blocking.BackupReport:
    """Create a database from a backup, as `curio_persistence.restore_backup` does.

    Cancelled, it goes on to its end.
    """
    return await _apart(None, lambda tell: blocking.restore_backup(source, url), None)


async def _apart(
    persistence: AsyncPersistence | None,
    work: Callable[[Progress], T],
    progress: Progress | None,
) -> T:
    """Do some work in a thread, import what it needs there, and return its result."""
    threads = persistence._threads if persistence else Threads(1)
    is_left = Event()

    def end_if_left() -> None:
        if is_left.is_set():
            raise asyncio.CancelledError

    try:
        return await threads.call_apart(partial(work, Checkpoint(end_if_left, progress)))
    except asyncio.CancelledError:
        is_left.set()
        raise


def _under(persistence: Any) -> Persistence:
    if not isinstance(persistence, AsyncPersistence):
        raise ConfigurationError(
            f"An AsyncPersistence is awaited, not a {type(persistence).__name__}: open it by "
            "await aio.connect(url), or wrap it in aio.AsyncPersistence(persistence)."
        )
    return persistence.blocking


def _under_any(persistence: AsyncPersistence | None) -> Persistence | None:
    return None if persistence is None else _under(persistence)
