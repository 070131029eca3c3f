"""A network that fails on request: a proxy which can fall silent, and cut its connections.

Silence is the failure that no timeout of the server sees and no closed socket reports.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from psycopg2.extensions import make_dsn

_CHUNK = 65536


class BlackHole:
    """Listens on 127.0.0.1 and forwards to `upstream`: host and port, or the path of a Unix socket.

    While it is silent, connections are accepted and stay open, and nothing passes in either
    direction, not even the news that one end has closed. What was held back is delivered after
    `forward()`, as a network does by sending it again.
    """

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._passing = threading.Event()
        self._passing.set()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    def dsn(self, dsn: str) -> str:
        """Return the DSN of the same database through the proxy."""
        host, port = self.address
        return make_dsn(dsn, host=host, port=port)

    def swallow(self) -> None:
        """Fall silent: neither forward nor close."""
        self._passing.clear()

    def forward(self) -> None:
        """Forward traffic again, beginning with what was held back."""
        self._passing.set()

    def cut(self) -> None:
        """End all connections at both ends; new ones are accepted."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _shut(connection)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _shut(self._listener)
        self._listener.close()
        self.cut()
        self.forward()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._keep(client):
            self._passing.wait()
            with contextlib.suppress(OSError), self._keep(_connect(self._upstream)) as upstream:
                back = threading.Thread(target=self._carry, args=(upstream, client), daemon=True)
                back.start()
                self._carry(client, upstream)
                back.join()

    @contextlib.contextmanager
    def _keep(self, connection: socket.socket) -> Iterator[socket.socket]:
        """Register this connection for `cut()`, and close it in the end."""
        with connection:
            with self._lock:
                self._connections.add(connection)
            try:
                yield connection
            finally:
                with self._lock:
                    self._connections.remove(connection)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        """Forward one direction until an end closes, which ends the other direction too."""
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                self._passing.wait()
                sink.sendall(chunk)
        self._passing.wait()
        _shut(source)
        _shut(sink)


def _connect(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


def _shut(connection: socket.socket) -> None:
    """End a connection under the threads that wait in it; they close the socket."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
