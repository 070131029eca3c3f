"""A thousand clients of live streams are served, one more is refused, and all are let go."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from curio_persistence import connect
from tests.support.served import Served, served

PATH = "/api/v1/stream"
CLIENTS, EVENTS = 1_000, 20


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process have the sockets of both ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * CLIENTS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this process may have {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.thorough
def test_a_thousand_clients_get_everything(tmp_path: Path, many_descriptors: None) -> None:
    with connect(f"sqlite:///{tmp_path / 'runs.db'}") as persistence, served(persistence) as server:

        def write() -> None:
            for number in range(EVENTS):
                persistence.append_event("run", "agent", "log", payload=number)

        async def main() -> None:
            clients = await asyncio.gather(*(connected(server) for _ in range(CLIENTS)))
            assert persistence._live.listeners == CLIENTS
            refused = await asyncio.to_thread(server.get, PATH)
            assert refused.status == 503
            assert (await asyncio.to_thread(server.get, "/healthz")).status == 200
            _, *counts = await asyncio.gather(
                asyncio.to_thread(write), *(events_of(reader) for reader, _ in clients)
            )
            assert counts == [EVENTS] * CLIENTS
            for _, writer in clients:
                writer.close()

        asyncio.run(main())
        until = time.monotonic() + 30
        while persistence._live.listeners:
            assert time.monotonic() < until
            time.sleep(0.05)


async def connected(server: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {PATH}?kinds=event HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await reader.readuntil(b"id: ")
    return reader, writer


async def events_of(reader: asyncio.StreamReader) -> int:
    """Return how many events came, after as many as there should be."""
    found = 0
    while found < EVENTS:
        found += (await reader.readline()).startswith(b"data: ")
    return found
