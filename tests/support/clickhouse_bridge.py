"""A server that speaks ClickHouse's HTTP interface and answers with chdb, the same engine.

So clickhouse-connect's HTTP client is tested against ClickHouse itself where no server can be had.
The process has the directory open; a test tells it, by `POST /cut?after=N&reply=0`, to close the
connection of the N-th request from now on: before it does anything, or after it has done it.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_INSERT = re.compile(r"\s*INSERT INTO (\S+)(?: \(([^)]*)\))? FORMAT (\w+)\s*", re.IGNORECASE)
_OF_HTTP = {"query", "database", "session_id", "wait_end_of_query", "client_protocol_version"}
_OF_HTTP |= {"enable_http_compression", "buffer_size", "http_headers_progress_interval_ms"}
_OF_HTTP |= {"send_progress_in_http_headers", "query_id", "role"}


class Bridge:
    """A bridge that runs in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database: str) -> str:
        """Return the URL of a replica in a database of the bridge."""
        return f"clickhouse://default@127.0.0.1:{self.port}/{database}"

    def cut(self, after: int, *, done: bool) -> None:
        """Let the n-th request from now on, and those behind, fail: after it was done, or not."""
        self._control(f"/cut?after={after}&done={int(done)}")

    def mend(self) -> None:
        """Answer all requests again."""
        self._control("/cut?after=0&done=0")

    def _control(self, path: str) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path)
        assert connection.getresponse().status == 200
        connection.close()


@contextmanager
def clickhouse_bridge(directory: Path) -> Iterator[Bridge]:
    """Start a bridge over a directory of chdb."""
    command = [sys.executable, "-m", __name__, str(directory)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout
        try:
            yield Bridge(int(process.stdout.readline()))
        finally:
            process.kill()


class _Engine:
    """chdb, which answers one request at a time, and when connections are to be cut."""

    def __init__(self, directory: str) -> None:
        import clickhouse_connect

        self._client: Any = clickhouse_connect.get_client(interface="chdb", path=directory)
        self._lock = Lock()
        self._left = 0
        self._done = False

    def cut(self, after: int, done: bool) -> None:
        with self._lock:
            self._left, self._done = after, done

    def answer(self, query: str, body: bytes, params: Mapping[str, str]) -> bytes | None:
        """Run a query; None if the connection is to be cut."""
        with self._lock:
            if self._left > 1:
                self._left -= 1
            elif self._left == 1:
                if self._done:
                    self._run(query, body, params)
                    self._done = False  # Those behind find a server that is away.
                return None
            return self._run(query, body, params)

    def _run(self, query: str, body: bytes, params: Mapping[str, str]) -> bytes:
        settings = {name: value for name, value in params.items() if name not in _OF_HTTP}
        database = params.get("database", "default")
        self._client.database = database
        if insert := _INSERT.fullmatch(query):
            table, columns, form = insert.groups()
            names = [name.strip(" `") for name in columns.split(",")] if columns else None
            self._client.raw_insert(table, names, body, settings=settings, fmt=form)
            return b""
        whole = query or body.decode()
        answer: bytes = self._client.raw_query(whole, settings=settings)
        return answer


class _Handler(BaseHTTPRequestHandler):
    engine: _Engine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._respond(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._respond(self.rfile.read(length) if length else self._chunks())

    def _chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        read = b""
        while size := int(self.rfile.readline(), 16):
            read += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return read

    def _respond(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        params = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/cut":
            self.engine.cut(int(params["after"]), params["done"] == "1")
            self._send(200, b"")
            return
        body = _DECODERS[self.headers.get("Content-Encoding", "")](body)
        try:
            answer = self.engine.answer(params.get("query", ""), body, params)
        except Exception as error:
            code = re.search(r"Code: (\d+)", str(error))
            self._send(500, str(error).encode(), code[1] if code else "1000")
            return
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        self._send(200, answer)

    def _send(self, status: int, body: bytes, code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Server-Display-Name", "bridge")
        self.send_header("X-ClickHouse-Summary", "{}")
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _lz4(body: bytes) -> bytes:
    import lz4.frame  # type: ignore[import-untyped]

    read: bytes = lz4.frame.decompress(body)
    return read


def _zstd(body: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "lz4": _lz4,
    "zstd": _zstd,
}


def main(directory: str) -> None:
    """Serve until the process is killed."""
    _Handler.engine = _Engine(directory)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
