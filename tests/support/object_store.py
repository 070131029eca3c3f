"""A throw-away object store with the protocol of S3, by `moto`, as a process of its own.

In the process of the tests, clients that wait without giving threads a turn would wait for ever.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.server import free_port

BUCKET = "agents"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}
_STARTS_WITHIN = 30.0
_NEEDED = os.environ.get("CI") == "true"


def module(name: str) -> Any:
    """Import a module that only `make test-all` installs."""
    if _NEEDED:
        __import__(name)
    return pytest.importorskip(name)


@contextmanager
def object_store(*, checks_credentials: bool = False) -> Iterator[str]:
    """Yield the endpoint of a server, with an empty bucket unless it checks credentials."""
    module("moto")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {"INITIAL_NO_AUTH_ACTION_COUNT": "0"} if checks_credentials else {}
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | variables,
    ) as server:
        try:
            _wait_for(url)
            if not checks_credentials:
                make_bucket(url)
            yield url
        finally:
            server.terminate()


def make_bucket(url: str, name: str = BUCKET) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT")).close()


def _wait_for(url: str) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}/moto-api/").close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("moto does not answer")
