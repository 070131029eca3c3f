"""The same persistence for programs that run in an event loop: every call is awaited."""

from __future__ import annotations

import os
from collections.abc import Collection

from curio_persistence import persistence as blocking
from curio_persistence.aio.connecting import ConnectContext
from curio_persistence.aio.dialogues import export_atif, export_chat
from curio_persistence.aio.live import AsyncLiveStream
from curio_persistence.aio.persistence import (
    THREADS,
    AsyncBufferedPersistence,
    AsyncPersistence,
)
from curio_persistence.aio.recorder import AsyncBlock, AsyncRunRecorder
from curio_persistence.aio.streams import AsyncEventFeed, AsyncStream
from curio_persistence.aio.transfers import (
    archive_runs,
    check_archive,
    copy_records,
    erase_runs,
    export_otlp,
    export_records,
    follow_otlp,
    import_agdd,
    import_agentlens,
    import_agiwo,
    import_costs,
    import_curio,
    import_records,
    import_sessions,
    open_archive,
    reinterpret_spans,
    restore_backup,
    restore_runs,
    span_senders,
)
from curio_persistence.capabilities.similarity.models import EmbedLike
from curio_persistence.pricing import PricesLike
from curio_persistence.recording import context
from curio_persistence.redaction import CaptureContent, Redactor

__all__ = [
    "AsyncBlock",
    "AsyncBufferedPersistence",
    "AsyncEventFeed",
    "AsyncLiveStream",
    "AsyncPersistence",
    "AsyncRunRecorder",
    "AsyncStream",
    "ConnectContext",
    "archive_runs",
    "check_archive",
    "connect",
    "copy_records",
    "current_run",
    "erase_runs",
    "export_atif",
    "export_chat",
    "export_otlp",
    "export_records",
    "follow_otlp",
    "import_agdd",
    "import_agentlens",
    "import_agiwo",
    "import_costs",
    "import_curio",
    "import_records",
    "import_sessions",
    "open_archive",
    "reinterpret_spans",
    "restore_backup",
    "restore_runs",
    "span_senders",
]


def current_run(persistence: AsyncPersistence | None = None) -> AsyncRunRecorder | None:
    """Return the awaited recorder of the run in whose block the caller runs, None outside.

    A run that was entered by a blocking recorder is not found: `curio_persistence.current_run()`
    knows it. With a persistence, only runs recorded in it count.
    """
    run = context.current_run(persistence)
    awaited: AsyncRunRecorder | None = None if run is None else run._awaited
    return awaited


def connect(
    url: str | None = None,
    *,
    read_only: bool = False,
    initialize: bool = True,
    wait: bool = True,
    redactor: Redactor | str | Collection[str] | None = None,
    capture_content: CaptureContent | None = None,
    search: bool | None = None,
    archive: str | os.PathLike[str] | None = None,
    chain: bool | None = None,
    audit_key: str | None = None,
    dedupe: bool | None = None,
    prices: PricesLike | None = None,
    embed: EmbedLike = None,
    threads: int = THREADS,
) -> ConnectContext:
    """Open a persistence: `await connect(url)`, or `async with connect(url) as persistence: …`.

    As `curio_persistence.connect` does; `threads` is how many calls are worked on at a time.
    """
    return ConnectContext(
        lambda: blocking.connect(
            url,
            read_only=read_only,
            initialize=initialize,
            wait=wait,
            redactor=redactor,
            capture_content=capture_content,
            search=search,
            archive=archive,
            chain=chain,
            audit_key=audit_key,
            dedupe=dedupe,
            prices=prices,
            embed=embed,
        ),
        threads=threads,
    )
