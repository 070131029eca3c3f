"""The server in a thread of this process, and requests to it over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPMessage
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from curio_persistence import ConsoleOptions, Persistence, ServerConfig, serve

_PATIENCE = 30.0
_OF_PAGES = {"token", "allow_writes"}


class Answer(NamedTuple):
    """An answer to a request."""

    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A server that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self) -> HTTPConnection:
        address = urlsplit(self.url)
        return HTTPConnection(str(address.hostname), address.port, timeout=_PATIENCE)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, headers)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request on a connection of its own; `_` in names of headers stands for `-`."""
        connection = self.connect()
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        try:
            connection.request(method, path, body, named)
            with connection.getresponse() as answer:
                return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


@contextmanager
def served(persistence: Persistence, **settings: Any) -> Iterator[Served]:
    """Serve a persistence on a free port while the block runs.

    The settings are those of `ServerConfig`, and the token and the rights of the console.
    """
    console = ConsoleOptions(**{name: settings.pop(name) for name in _OF_PAGES & {*settings}})
    config = ServerConfig(**{"port": 0} | settings)
    stop, started = Event(), SimpleQueue[str | BaseException]()

    def run() -> None:
        try:
            serve(persistence, config, console, stop=stop, on_start=started.put)
        except BaseException as error:
            started.put(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        told = started.get(timeout=_PATIENCE)
        if isinstance(told, BaseException):
            raise told
        yield Served(told)
    finally:
        stop.set()
        thread.join(_PATIENCE)
        assert not thread.is_alive()
