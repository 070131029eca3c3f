"""A real Prometheus that scrapes a server each second."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from tests.support.programs import program
from tests.support.server import free_port

_CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: curio
    static_configs: [{{targets: [{targets}]}}]
"""
_PATIENCE = 60.0


class Prometheus:
    """A server that is asked by its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, **params: str) -> Any:
        """Return the data of an answer; raise an error if it is not a success."""
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(params)}", timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def wait_for(self, true: Callable[[], object]) -> None:
        until = time.monotonic() + _PATIENCE
        while not self._is(true):
            assert time.monotonic() < until, "waited a minute in vain"
            time.sleep(0.2)

    @staticmethod
    def _is(true: Callable[[], object]) -> bool:
        try:
            return bool(true())
        except URLError:
            return False


@contextmanager
def prometheus(folder: Path, rules: Path, *urls: str) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes these servers, until the block ends."""
    targets = ", ".join(f'"{urlsplit(url).netloc}"' for url in urls)
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(rules=json.dumps(str(rules)), targets=targets))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus", "prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(_PATIENCE)
