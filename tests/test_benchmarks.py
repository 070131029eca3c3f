"""The benchmark runs and writes its table. The times are not looked at: tests share a machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

ROOT = Path(__file__).parents[1]
BENCHMARK = ROOT / "benchmarks" / "core.py"
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
TINY = ("--repetitions=1", "--writes=100", "--runs=2", "--usage-rows=2000")


def benchmark(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARK, *TINY, f"--directory={folder}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("private_postgres")  # Skips where there is no server to start.
def test_every_case_ends_in_a_line_of_the_page(tmp_path: Path) -> None:
    """Each of them compares the answers of both sides before it measures them."""
    page = tmp_path / "page.md"
    done = benchmark(f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    table = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    titles = {line.split("|")[1].strip() for line in table[2:]}
    assert len(titles) == len(table[2:]) == 11
    assert done.stdout.splitlines() == table


def test_a_case_measured_alone_leaves_nothing_behind(postgres18: str, tmp_path: Path) -> None:
    """Neither files nor schemas, and the page stays as a full run wrote it."""
    before = RESULTS.read_bytes()
    done = benchmark(f"--postgres={postgres18}", "postgres-read", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert list(tmp_path.iterdir()) == []
    assert RESULTS.read_bytes() == before
    with psycopg2.connect(postgres18) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'curio_bench%'")
        assert cursor.fetchall() == []
    connection.close()


def test_an_unknown_case_is_refused_with_the_names_of_the_known(tmp_path: Path) -> None:
    done = benchmark("sqlite-wirte", folder=tmp_path)
    assert done.returncode == 2
    assert "no case sqlite-wirte" in done.stderr
    assert "sqlite-write" in done.stderr
