"""Phoenix and MLflow from PyPI, each in an environment of its own, and running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".venv-otlp-peers"
_PATIENCE = 180.0


def installed(package: str) -> Path:
    """Install a package into an environment of its own, and return the environment's programs."""
    here = ENVIRONMENTS / package
    if not (here / "installed").exists():
        print(f"installing {package} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", here], check=True)
        pip = (here / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile")
        subprocess.run([*pip, "--disable-pip-version-check", package], check=True)
        (here / "installed").touch()
    return here / "bin"


def version_of(programs: Path, package: str) -> str:
    """Return the version of an installed package."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    ran = subprocess.run(
        [programs / "python", "-c", code], check=True, capture_output=True, text=True
    )
    return ran.stdout.strip()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, url: str, **variables: str
) -> Iterator[str]:
    """Run a server in a folder; yield its URL when it answers."""
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | variables, stdout=log, stderr=log
        )
    try:
        _wait(server, url, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def phoenix(folder: Path) -> Iterator[str]:
    programs, port = installed("arize-phoenix"), str(free_port())
    variables = {
        "PHOENIX_PORT": port,
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with running(
        [programs / "phoenix", "serve"], folder, f"http://127.0.0.1:{port}", **variables
    ) as url:
        yield url


@contextmanager
def mlflow(folder: Path) -> Iterator[str]:
    programs, port = installed("mlflow"), str(free_port())
    command = (
        programs / "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--workers",
        "1",
    )
    store = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db")
    with running([*command, *store], folder, f"http://127.0.0.1:{port}", DO_NOT_TRACK="1") as url:
        yield url
