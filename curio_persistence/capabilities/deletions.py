"""The traces of deletions: tombstones for programs that have copies, and the audit log."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from curio_persistence.capabilities.chains import Chains
from curio_persistence.clock import Clock
from curio_persistence.errors import AccessDeniedError, StorageFullError, UnavailableError
from curio_persistence.hash_chain import AUDIT
from curio_persistence.models import AuditEntry
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row, StoredValue, Table
from curio_persistence.tables import EMBEDDINGS, RUNS, TOMBSTONES
from curio_persistence.tables.audit import audit_row
from curio_persistence.tables.lifecycle import tombstone_row

EMBEDDING_LOCK = "embeddings"
"""The advisory lock that a writer of vectors takes."""


def bury(
    store: Store,
    clock: Clock,
    run_ids: Iterable[str],
    reason: str,
    archive: str | None = None,
) -> None:
    """Store a tombstone for each run, inside the transaction that deletes it."""
    now = clock.now()
    rows = [tombstone_row(run_id, reason, archive, now) for run_id in run_ids]
    store.insert_many(TOMBSTONES, rows)


def forget_meanings(store: Store, table: Table[Any], ids: Collection[int]) -> None:
    """Delete the vectors of records that are about to be deleted, or to lose their texts."""
    if ids:
        of_table = Filter("table_name", "=", table.name)
        store.delete(EMBEDDINGS, (Filter("row_id", "in", tuple(ids)), of_table))


def expired_here(
    store: Store, run_ids: Iterable[StoredValue], *, or_erased: bool = False
) -> set[StoredValue]:
    """Return those of the runs that expired in this database, and were not stored again since.

    Records from elsewhere would bring these back, although their numbers are in the totals. With
    `or_erased`, runs that a user deleted are returned as well.
    """
    ids = tuple({run_id for run_id in run_ids if run_id is not None})
    reasons = ("expired", "erased") if or_erased else ("expired",)
    stones = (Filter("run_id", "in", ids), Filter("reason", "in", reasons))
    gone = {run_id for (run_id,) in store.select_columns(TOMBSTONES, ("run_id",), stones)}
    if gone:
        stored = (Filter("run_id", "in", tuple(gone)),)
        gone -= {run_id for (run_id,) in store.select_columns(RUNS, ("run_id",), stored)}
    return gone


def where_run_is(store: Store, run_id: str) -> str:
    """Return the end of a message that a run is not stored: which archive has it, if one does."""
    stones = (Filter("run_id", "=", run_id), Filter("archived_in", "is not null"))
    places = [place for (place,) in store.select_columns(TOMBSTONES, ("archived_in",), stones)]
    if not places:
        return "."
    reading = "" if str(places[-1]).endswith("/ndjson") else "Read it with --archive, or "
    return (
        f": it was archived in {places[-1]}. {reading or 'To '}bring it back with `restore` "
        "(restore_runs)."
    )


def audit(
    store: Store,
    clock: Clock,
    action: str,
    resource: str,
    resource_type: str = "",
    run_id: str | None = None,
    /,
    **details: object,
) -> None:
    """Add a line to the audit log, as the last step of the transaction that does the deed.

    Other transactions that add lines wait from there on until it is committed.
    """
    row = _line(clock, action, resource, resource_type, run_id, details)
    store.before_commit(lambda: Chains(store, clock, AUDIT).insert([row]))


def audit_reading(
    store: Store, clock: Clock, action: str, resource: str, resource_type: str, /, **details: object
) -> None:
    """Add a line to the audit log about a backup, an export or a copy that begins.

    These only read, so they do not fail where nothing can be written. A database that is opened for
    reading only gets no line; a busy or a full one gets none either, and a warning is logged.
    """
    try:
        row = _line(clock, action, resource, resource_type, None, details)
        Chains(store, clock, AUDIT).insert([row])
    except AccessDeniedError:
        return
    except (UnavailableError, StorageFullError) as error:
        import logging  # On use: seldom needed.

        logging.getLogger("curio_persistence").warning(
            "The audit log has no line of this %s: %s", action, error
        )


def _line(
    clock: Clock,
    action: str,
    resource: str,
    resource_type: str,
    run_id: str | None,
    details: Mapping[str, object],
) -> Row:
    """Return the row of a line that the library writes itself."""
    body = json.dumps(details, sort_keys=True, default=str) if details else None
    now = clock.now()
    kind, name = named_actor()
    entry = AuditEntry(action, resource, resource_type, kind, name, None, run_id, body, now, now)
    return audit_row(entry)


_acting: ContextVar[tuple[str, str] | None] = ContextVar("_acting", default=None)


@contextmanager
def acting_as(actor_id: str, actor_type: str = "user") -> Iterator[None]:
    """Name another actor in the lines that this context writes."""
    token = _acting.set((actor_type, actor_id))
    try:
        yield
    finally:
        _acting.reset(token)


def named_actor() -> tuple[str, str]:
    """Return type and id of the actor of a line."""
    return _acting.get() or ("user", actor())


def actor() -> str:
    """Return the user, machine and process that act here."""
    return f"{_user_and_machine()}:{os.getpid()}"


@cache
def _user_and_machine() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # A container without an entry for its user.
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"
