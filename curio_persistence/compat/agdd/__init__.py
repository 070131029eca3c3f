"""The storage backend of AGDD and MAGSAG: their names, dictionaries and status words, over ours.

All is awaited. Their words for a status are `running`, `succeeded`, `failed` and `canceled`; other
words are kept as they are. Times that come back are ISO 8601 text in UTC. A filter that is empty
text is none.
"""

from __future__ import annotations

from curio_persistence.compat.agdd.backend import (
    CurioStorageBackend,
    SQLiteStorageBackend,
    close_storage_backend,
    get_storage_backend,
)
from curio_persistence.compat.agdd.base import StorageBackend, StorageCapabilities
from curio_persistence.compat.agdd.records import ApprovalTicketRecord, RunSnapshotRecord

__all__ = [
    "ApprovalTicketRecord",
    "CurioStorageBackend",
    "RunSnapshotRecord",
    "SQLiteStorageBackend",
    "StorageBackend",
    "StorageCapabilities",
    "close_storage_backend",
    "get_storage_backend",
]
