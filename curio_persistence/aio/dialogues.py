"""Exports of what was said in runs, awaited; see `transfers`."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import curio_persistence as blocking
from curio_persistence.aio.persistence import AsyncPersistence
from curio_persistence.aio.transfers import _apart, _under
from curio_persistence.export.dialogues import Redact, Where
from curio_persistence.progress import Progress


async def export_atif(
    persistence: AsyncPersistence,
    path: str | os.PathLike[str] | BinaryIO,
    *,
    per: str = "run",
    where: Where = (),
    redact: Redact = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **filters: Any,
) -> blocking.DialogueReport:
    """Write runs as trajectories of ATIF, as `curio_persistence.export_atif` does.

    Cancelled, it leaves no file behind.
    """
    source = _under(persistence)
    given = {"per": per, "where": where, "redact": redact, "overwrite": overwrite, **filters}
    return await _apart(
        persistence,
        lambda tell: blocking.export_atif(source, path, progress=tell, **given),
        progress,
    )


async def export_chat(
    persistence: AsyncPersistence,
    path: str | os.PathLike[str] | BinaryIO,
    *,
    format: str = "openai",
    where: Where = (),
    redact: Redact = "keys,api-keys",
    overwrite: bool = False,
    progress: Progress | None = None,
    **filters: Any,
) -> blocking.DialogueReport:
    """Write runs as examples for fine-tuning, as `curio_persistence.export_chat` does.

    Cancelled, it leaves no file behind.
    """
    source = _under(persistence)
    options: dict[str, Any] = {"where": where, "redact": redact, "overwrite": overwrite, **filters}
    return await _apart(
        persistence,
        lambda tell: blocking.export_chat(source, path, format=format, progress=tell, **options),
        progress,
    )
