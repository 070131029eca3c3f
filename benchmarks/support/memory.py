"""Prints by how many bytes a process grows while it reads all events.

`python -m benchmarks.support.memory raw|ours sqlite FILE`, or `… raw|ours postgres SCHEMA DSN`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.raw import RawPostgres, RawSQLite
from curio_persistence import AgentRunEvent, PostgresPersistence, SQLitePersistence

_STATUS = Path("/proc/self/status")
_FORGET_THE_PEAK = Path("/proc/self/clear_refs"), "5"
CAN_BE_MEASURED = _STATUS.exists()
"""Whether the system reports, and can reset, the peak size of a process: Linux does."""


def main(side: str, kind: str, place: str, dsn: str = "") -> None:
    events = (_raw if side == "raw" else _ours)(kind, place, dsn)
    path, command = _FORGET_THE_PEAK
    path.write_text(command)
    before = _bytes("VmRSS")
    for _ in events:
        pass
    print(_bytes("VmHWM") - before)


def peak(process_id: int | None = None) -> int:
    """Return the most bytes that a process had in memory; 0 where that cannot be measured."""
    status = _STATUS if process_id is None else Path(f"/proc/{process_id}/status")
    return _bytes("VmHWM", status) if CAN_BE_MEASURED else 0


def _raw(kind: str, place: str, dsn: str) -> Iterable[tuple[Any, ...]]:
    if kind == "sqlite":
        return RawSQLite(Path(place)).all_events()
    return RawPostgres(dsn, place).all_events()


def _ours(kind: str, place: str, dsn: str) -> Iterable[AgentRunEvent]:
    if kind == "sqlite":
        return SQLitePersistence(place).iter_agent_run_events()
    return PostgresPersistence(dsn=dsn, schema=place).iter_agent_run_events()


def _bytes(name: str, status: Path = _STATUS) -> int:
    """Return a value of a process's status, which is in kilobytes of 1,024."""
    [line] = [line for line in status.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
