"""One side in a process and an environment of its own.

It reads lines of JSON, `{"do": "write", "count": 100, …}`, and answers each with a line:
`{"is": …}`, or `{"failed": …}` with a traceback.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.peers.replay import Replay, cut
from benchmarks.peers.sides import load
from benchmarks.peers.sides.base import WRITTEN_RUNS, Kind, Side, runs_for
from benchmarks.support import rows
from benchmarks.support.timing import timed

_PAGE = 100
_LISTED = 10
_WORD = "Zürich"
"""It is in one of thirty model calls."""
_TYPE = "tool_call"
_SETTINGS = ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint")


class Worker:
    """The requests to a side. Each method returns a JSON value."""

    _side: Side
    _replay: Replay | None = None

    def __init__(self, name: str, directory: Path) -> None:
        self._name = name
        self._directory = directory
        self._class = load(name)

    def introduce(self) -> dict[str, Any]:
        """Return the name of the side, and its call for each task."""
        side = self._class
        return {
            "title": side.title,
            "versions": {package: version(package) for package in side.packages},
            "tables": side.tables,
            "calls": asdict(side.calls),
            "lacks": asdict(side.lacks),
        }

    def make(self, kind: Kind, size: int) -> None:
        """Create the file of this kind, for all sides with the same tables."""
        self._class.make(self._file(kind), kind, size)

    def _file(self, kind: Kind) -> Path:
        return self._directory / f"{self._class.tables}-{kind}.db"

    # --- writing ------------------------------------------------------------------------------

    def start_writing(self, kind: Kind, size: int) -> None:
        """Open a copy of the file with so many events."""
        own, twin = self._copy(kind, "own"), self._copy(kind, "twin")
        self._side = self._class(own)
        first = runs_for(size)
        self._events = rows.EventStream(
            range(first, first + WRITTEN_RUNS), now=lambda: datetime.now(UTC)
        )
        self._replay = Replay(own, twin, self._class.table, self._settings())

    def setup(self) -> dict[str, Any]:
        """Return the settings, read on the side's own connection, and its table."""
        table = self._class.table
        return {"settings": self._settings(), "table": table, "indexes": self._indexes(table)}

    def _settings(self) -> dict[str, Any]:
        return {name: self._side.pragma(name) for name in _SETTINGS}

    def _indexes(self, table: str) -> list[list[str]]:
        """Return the columns of each index."""
        with closing(sqlite3.connect(self._side.path)) as connection:
            indexes = connection.execute(f"PRAGMA index_list({table})").fetchall()
            return [
                [row[2] for row in connection.execute(f"PRAGMA index_info({index[1]})")]
                for index in indexes
            ]

    def _copy(self, kind: Kind, name: str) -> Path:
        path = self._directory / f"{self._name}-{name}.db"
        shutil.copy(self._file(kind), path)
        with path.open("rb+") as file:
            os.fsync(file)  # Otherwise the first measured checkpoint would do it.
        return path

    def write(self, count: int, each: int) -> int:
        """Write so many events, `each` in a transaction; return the nanoseconds it takes."""
        records = self._side.records(self._events.take(count))
        if each == 1:
            taken = timed(self._side.log, records)
        else:
            taken = timed(self._side.log_many, cut(records, each))
        assert self._replay is not None
        stored = self._replay.fetch()
        if stored != count:  # Some packages report errors only to a log.
            raise RuntimeError(f"{stored} of {count} events were stored.")
        return taken

    def replay(self, each: int) -> int:
        """Have the bare driver write the same rows; return the nanoseconds it takes."""
        assert self._replay is not None
        return self._replay.insert(each)

    # --- reading ------------------------------------------------------------------------------

    def start_reading(self, kind: Kind, size: int) -> None:
        """Open the file itself; nothing is written to it."""
        self._side = self._class(self._file(kind))
        agents = rows.AGENTS[: runs_for(size)] if kind == "listed" else rows.AGENTS
        self._agents = cycle(agents)

    def page(self, count: int) -> int:
        """Query so many pages; return the nanoseconds it takes."""
        return timed(self._page, [next(self._agents) for _ in range(count)])

    def _page(self, agent_id: str) -> Any:
        found = self._side.page(agent_id, _TYPE, _PAGE)
        if not found:  # Here, too, some packages report errors only to a log.
            raise RuntimeError(f"There is nothing on the page of {agent_id}.")
        return found

    def page_ids(self) -> list[int]:
        """Return the ids on one page, of a side that has the package's tables."""
        return self._side.ids(self._page(rows.AGENTS[0]))

    def statistics_of_one(self, count: int) -> int:
        """Query the statistics of so many agents; return the nanoseconds it takes."""
        return timed(self._side.statistics, [next(self._agents) for _ in range(count)])

    def statistics_of_all(self, count: int) -> int:
        return timed(self._side.statistics, [None] * count)

    def statistics(self) -> list[dict[str, Any]]:
        """Return the statistics of one agent, and of all."""
        return [self._side.statistics(rows.AGENTS[0]), self._side.statistics(None)]

    def newest(self, count: int) -> int:
        """List the newest model calls so often; return the nanoseconds of these processes."""
        return timed(self._printed, [self._side.newest(_LISTED)] * count)

    def newest_prompts(self) -> list[str]:
        return self._prompts(self._side.newest(_LISTED))

    def search(self, count: int) -> int:
        """List those that contain a word so often; return the nanoseconds."""
        return timed(self._printed, [self._side.search(_WORD, _LISTED)] * count)

    def found_prompts(self) -> list[str]:
        return self._prompts(self._side.search(_WORD, _LISTED))

    def _prompts(self, command: Sequence[str]) -> list[str]:
        """Return the prompts of the printed model calls; llm has the newest last."""
        calls = json.loads(self._printed(command))
        return sorted(call.get("record", call)["prompt"] for call in calls)

    def _printed(self, command: Sequence[str]) -> str:
        """Return the output of a command, with its bytecode cached as if installed."""
        kept = {"PYTHONPYCACHEPREFIX": str(self._directory / "bytecode")}
        home = {"LLM_USER_PATH": str(self._directory)}
        environment = {**os.environ, **kept, **home}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
        ).stdout

    # --- both ---------------------------------------------------------------------------------

    def rest(self) -> None:
        """Collect garbage, and freeze the remaining objects."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def close(self) -> None:
        self._side.close()
        if self._replay:
            self._replay.close()
            self._replay = None


def main() -> None:
    name, directory = sys.argv[1:]
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # Output of the packages must not look like an answer.
        worker = Worker(name, Path(directory))
        for line in sys.stdin:
            print(json.dumps(_answer(worker, **json.loads(line)), default=float), file=answers)
            answers.flush()


def _answer(worker: Worker, do: str, **arguments: Any) -> dict[str, Any]:
    try:
        return {"is": getattr(worker, do)(**arguments)}
    except Exception:
        return {"failed": traceback.format_exc()}


if __name__ == "__main__":
    main()
