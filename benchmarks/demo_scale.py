"""Shows a replica of ten million events: `make demo-scale`, or `make demo-scale EVENTS=100000`.

A tenth of them is recorded in a SQLite file and replicated into chdb, where it is copied. Then a
terminal, a notebook and a page ask for them. The folder `demo-scale` is kept, so that a second run
begins with the questions; ten million take four gigabytes and some minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks`, from any working directory.

from benchmarks.support import replicated  # noqa: E402
from curio_persistence import SQLitePersistence  # noqa: E402
from curio_persistence.backends.clickhouse.client import open_client  # noqa: E402

_BY_AGENT = "SELECT agent_id, count() AS events FROM agent_run_events GROUP BY 1 ORDER BY 2 DESC"
_COMMANDS = (
    ("stats",),
    ("runs", "--limit", "5"),
    ("events", "--min-level", "error", "--limit", "5"),
    ("search", "memory agent", "--limit", "3"),
    ("sql", f"{_BY_AGENT} LIMIT 5"),
)
_NOTEBOOK = ROOT / "examples" / "replica.ipynb"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--events", type=int, default=10_000_000, help="how many events (default: %(default)s)")
    add("--folder", type=Path, default=Path("demo-scale"), help="for the files")
    add("--no-page", action="store_true", help="end before the console opens")
    options = parser.parse_args(arguments)
    folder = options.folder.absolute() / str(options.events)
    url = f"chdb://{folder / 'replica'}"
    if not (folder / "made").exists():
        _make(folder, url, options.events)
    for command in _COMMANDS:
        with _told(" ".join(command)):
            _run("curio-persistence", *command, "--url", url)
    with _told(f"the notebook, as {folder / _NOTEBOOK.name}"):
        to = f"--output={folder / _NOTEBOOK.name}"
        _run("jupyter", "execute", str(_NOTEBOOK), to, CURIO_REPLICA=url)
    if not options.no_page:
        _run("curio-persistence", "console", "--url", url)


@contextmanager
def _told(what: str) -> Iterator[None]:
    print(f"\n== {what}", flush=True)
    begin = time.monotonic()
    yield
    print(f"   {time.monotonic() - begin:.1f} s", flush=True)


def _make(folder: Path, url: str, events: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "source.db"
    source.unlink(missing_ok=True)
    with _told(f"{events // replicated.COPIES:,} events are recorded in {source}"):
        replicated.fill_source(source, events // replicated.COPIES)
    with _told(f"and replicated into {url}"), SQLitePersistence(source) as persistence:
        print(persistence.replicate(url, source="demo"))
    with _told(f"and copied there, until there are {events:,}"):
        client = open_client(url)
        replicated.copy_rows(client)
        client.close()
    (folder / "made").touch()


def _run(program: str, *arguments: str, **environment: str) -> None:
    """Run a program of this environment; chdb's directory is that of one process at a time."""
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    subprocess.run(command, check=True, env={**os.environ, **environment})


if __name__ == "__main__":
    main()
