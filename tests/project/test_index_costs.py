"""The benchmark of the indexes runs, and covers them all. Its results are not checked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "indexes.py"
TINY = "--rows=100", "--repetitions=2", "--singles=10", "--batch=20"


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.usefixtures("postgres18")  # Skips if no server can be started.
def test_each_index_has_a_line_in_the_table() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARK, *TINY, "runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("|")[1].strip(" `") for line in done.stdout.splitlines()[3:]]
    assert {"all indexes", *indexes("runs.sql")} <= set(lines)


def test_all_indexes_are_measured() -> None:
    text = BENCHMARK.read_text(encoding="utf-8")
    for file in ("runs.sql", "events.sql", "usage.sql"):
        assert {name for name in indexes(file) if f'"{name}"' not in text} == set()


def indexes(file: str) -> set[str]:
    """Return the indexes that a file of the schema creates."""
    text = (ROOT / "schema" / "sqlite" / file).read_text(encoding="utf-8")
    return set(re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+)", text))
