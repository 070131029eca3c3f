"""A real browser without a screen: Chromium, as the system's package installs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.support.server import ServerUnavailable

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--enable-logging=stderr",
)


class Shown(NamedTuple):
    """A page as shown by the browser: the document, and its console output."""

    document: str
    console: list[str]


class Browser:
    def __init__(self) -> None:
        self._program = shutil.which("chromium") or shutil.which("chromium-browser")
        if self._program is None:
            raise ServerUnavailable("no Chromium: install your system's package chromium")

    def show(self, page: Path) -> Shown:
        """Open a page, and return the document after any scripts have run."""
        with TemporaryDirectory() as profile:
            browser = subprocess.run(
                [
                    str(self._program),
                    *_OPTIONS,
                    f"--user-data-dir={profile}",
                    "--dump-dom",
                    page.as_uri(),
                ],
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=60,
                check=True,
            )
        said = [line for line in browser.stderr.splitlines() if ":CONSOLE" in line]
        return Shown(browser.stdout, said)
