"""Twenty viewers who follow the events of the console while a thousand are stored each second."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

from curio_persistence import AgentRunEvent, SQLitePersistence

_VIEWERS, _A_SECOND, _BATCH = 20, 1_000, 50
_SERVER = """
import resource, sys
from curio_persistence import ConsoleOptions, SQLitePersistence, create_app
import uvicorn
app = create_app(SQLitePersistence(sys.argv[1], read_only=True), ConsoleOptions())
server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
class Told(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)
Told(server.config).run()
"""


def viewer_lines(path: Path, seconds: int) -> Iterator[Sequence[str]]:
    """Yield the heading and the lines of what viewers got, and what the server spent."""
    yield "", "measured", "goal"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        viewers = [_Viewer(port) for _ in range(_VIEWERS)]
        time.sleep(1.0)
        before, begin = _cpu(process.pid), time.monotonic()
        stored = _store(path, seconds)
        spent, took = _cpu(process.pid) - before, time.monotonic() - begin
        time.sleep(3.0)
        lost = sum(stored - len(viewer.found) for viewer in viewers)
    finally:
        process.kill()
        process.wait()
    yield f"{_VIEWERS} viewers, {stored / took:,.0f} events a second: lost", f"{lost:,}", "0"
    yield "the server's share of one processor", f"{100 * spent / took:.0f} %", "50 %"


def _store(path: Path, seconds: int) -> int:
    begin, number = time.monotonic(), 0
    with SQLitePersistence(path, search=False) as persistence:
        while number < seconds * _A_SECOND:
            persistence.log_agent_run_events(
                AgentRunEvent("coder", "followed", event_type="noted", data={"marker": f"mark{n}."})
                for n in range(number, number + _BATCH)
            )
            number += _BATCH
            time.sleep(max(begin + number / _A_SECOND - time.monotonic(), 0))
    return number


class _Viewer:
    """A client that reads a stream, and notes the events that it has."""

    def __init__(self, port: int) -> None:
        self.found: set[bytes] = set()
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/api/v1/stream?kinds=event&run_id=followed")
        self._answer = connection.getresponse()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while line := self._answer.readline():
            _, marked, rest = line.partition(b"mark")
            if marked:
                self.found.add(rest.partition(b".")[0])


def _cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
