"""The benchmarks run and write their tables. Times are not checked: tests share a machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from benchmarks.cases import CASES, THEMES
from benchmarks.support.report import Goal, Line, duration, megabytes, rows_per_second
from benchmarks.support.timing import Timing, quantile, tail

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
TINY = (
    "--repetitions=1",
    "--slow-repetitions=1",
    "--rounds=1",
    "--writes=100",
    "--batched=100",
    "--runs=1",
    "--history-runs=1",
    "--usage-rows=1000",
    "--metrics=1000",
)


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, f"--directory={folder}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def lines_of(text: str) -> list[str]:
    """Return the lines of tables, without their headings."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [line for line in table if not line.startswith(("|  ", "| --"))]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)  # It runs all cases: a minute on a machine that does nothing else.
@pytest.mark.usefixtures("private_postgres")  # Skips if no server can be started.
def test_every_case_ends_in_lines_of_the_page(tmp_path: Path) -> None:
    """Each case compares what both sides returned, or stored."""
    page = tmp_path / "page.md"
    page.write_text("# Old\n", "utf-8")
    done = run("core.py", *TINY, f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    titles = [line.split("|")[1].strip() for line in lines_of(text)]
    assert len(set(titles)) == len(titles) >= len(CASES)
    assert [line[3:] for line in done.stdout.splitlines() if line[:3] == "## "] == list(THEMES)
    assert done.stdout.strip() in text
    assert "# Old" not in text


@pytest.mark.thorough
def test_a_case_measured_alone_leaves_nothing_behind(postgres18: str, tmp_path: Path) -> None:
    """It leaves neither files nor schemas, and does not change the page of a full run."""
    before = RESULTS.read_bytes()
    done = run("core.py", *TINY, f"--postgres={postgres18}", "postgres-read", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(lines_of(done.stdout)) == 2
    assert list(tmp_path.iterdir()) == []
    assert RESULTS.read_bytes() == before
    with psycopg2.connect(postgres18) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'curio_bench%'")
        assert cursor.fetchall() == []
    connection.close()


def test_an_unknown_case_is_refused_with_the_known_names(tmp_path: Path) -> None:
    done = run("core.py", "sqlite-wirte", folder=tmp_path)
    assert done.returncode == 2
    assert "no case sqlite-wirte" in done.stderr
    assert "sqlite-write" in done.stderr


@pytest.mark.thorough
def test_growth_is_measured_at_each_size(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    sizes = ("--rows", "0", "3000")
    done = run("scale.py", "--repetitions=1", *sizes, f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in lines_of(page.read_text("utf-8"))] == [
        *["| no event stored"] * 2,
        *["| 3,000 events stored"] * 2,
    ]
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.thorough
def test_questions_to_an_archive_are_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = run("archive.py", "--quick", f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "100,000 events of 100 days" in page.read_text("utf-8")
    assert len(lines_of(done.stdout)) == 9
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.thorough
def test_questions_to_a_replica_are_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = run("replica.py", "--quick", f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "20,000 events of 100 days" in page.read_text("utf-8")
    assert len(lines_of(done.stdout)) == 22
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.thorough
def test_imports_of_sessions_are_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    small = ("--megabytes=1", "--repetitions=1")
    done = run("sessions.py", *small, f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split("|")[1].strip() for line in lines_of(page.read_text("utf-8"))] == [
        *("takes", "processor time, both imports", "most memory", "again, unchanged")
    ]
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)  # It opens a browser some twenty times.
def test_the_pages_of_the_console_are_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = run("console.py", "--quick", f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    assert "500 steps from the middle of 10,000" in text
    assert "status 5" not in text
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(
    ("goal", "raw", "ours", "ratio", "verdict"),
    [
        (Goal(0.8, 0.9, "speed"), 90, 100, "0.90", "aim met"),
        (Goal(0.8, 0.9, "speed"), 85, 100, "0.85", "floor met"),
        (Goal(2, 3, "times"), 150, 100, "1.50 ×", "**missed**"),
        (Goal(1.5, 1.2), 100, 120, "1.20 ×", "aim met"),
        (Goal(1.5, 1.2), 100, 151, "1.51 ×", "**missed**"),
        (Goal(60, 30, "added"), 10e6, 45e6, "35 ms", "floor met"),
        (Goal(8_000, 4_000, "alone"), 1, 3_900, "3.90 µs", "aim met"),
        (Goal(None, None, "speed"), 1, 2, "0.50", ""),
    ],
)
def test_a_line_compares_the_ratio_with_the_goal(
    goal: Goal, raw: float, ours: float, ratio: str, verdict: str
) -> None:
    cells = Line("", goal, Timing([raw], [ours])).cells()
    assert (cells[3], cells[-1]) == (ratio, verdict)


def test_a_line_may_have_a_limit_independent_of_raw() -> None:
    timing = Timing([140e6] * 3, [149e6, 151e6, 152e6])
    line = Line("", Goal(1.5, 1.1), timing, "known", at_most=150e6)
    assert line.cells()[-1] == "aim met, **missed** the 150 ms, known"


def test_numbers_are_shown_with_three_digits_and_a_unit() -> None:
    assert [duration(n) for n in (1.5, 2_500, 34.56e6, 2e9)] == [
        "1.50 ns",
        "2.50 µs",
        "34.6 ms",
        "2.00 s",
    ]
    assert [rows_per_second(n) for n in (500, 10_000, 2e6)] == ["2.00 M/s", "100 k/s", "500 /s"]
    assert megabytes(12_345_678) == "12.3 MB"


def test_a_tail_is_p95_relative_to_the_median() -> None:
    values = [*range(1, 96), *[400] * 5]
    assert quantile(0.5)(values) == 51
    assert tail(values) == 400 / 51
