"""The benchmark of the indexes runs, and knows them all. What it measures is not looked at."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "indexes.py"
TINY = "--rows=100", "--repetitions=2", "--singles=10", "--batch=20"


@pytest.mark.slow
@pytest.mark.usefixtures("postgres18")  # Skips where there is no server to start.
def test_what_each_index_adds_is_a_line_of_the_table() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARK, *TINY, "runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("|")[1].strip(" `") for line in done.stdout.splitlines()[3:]]
    assert {"all indexes", *indexes("runs.sql")} <= set(lines)


def test_no_index_is_forgotten_when_they_are_measured() -> None:
    text = BENCHMARK.read_text(encoding="utf-8")
    for file in ("runs.sql", "events.sql", "usage.sql"):
        assert {name for name in indexes(file) if f'"{name}"' not in text} == set()


def indexes(file: str) -> set[str]:
    """Those that a file of the schema makes."""
    text = (ROOT / "schema" / "sqlite" / file).read_text(encoding="utf-8")
    return set(re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+)", text))
