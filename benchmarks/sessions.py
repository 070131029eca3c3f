"""Measures imports of Claude Code's sessions: `python benchmarks/sessions.py`.

A full run makes 1 GB of transcripts and writes SESSIONS.md; others write only with `--output`.
With `--ccusage`, the program `ccusage` counts the same folder in turn with the import.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks`, from any working directory.

from benchmarks.support import report  # noqa: E402
from benchmarks.support.claude_sessions import Made, write_projects  # noqa: E402
from benchmarks.support.workspace import disk  # noqa: E402

_FULL = 1000
_PAGE = ROOT / "benchmarks/SESSIONS.md"
_IMPORT = """
import json, resource, sys, time
from curio_persistence import connect, import_sessions
with connect("sqlite:///" + sys.argv[2]) as persistence:
    begin = time.perf_counter()
    report = import_sessions(sys.argv[1], persistence, source="claude-code")
    took = time.perf_counter() - begin
    begin = time.perf_counter()
    again = import_sessions(sys.argv[1], persistence, source="claude-code")
    rerun = time.perf_counter() - begin
[source], usage = report.sources, resource.getrusage(resource.RUSAGE_SELF)
assert again.sources[0].calls == 0
print(json.dumps({
    "seconds": took, "rerun": rerun, "megabytes": usage.ru_maxrss / 1024,
    "processor": usage.ru_utime + usage.ru_stime, "calls": source.calls, "runs": source.runs,
    "input": source.input_tokens, "cache_read": source.cache_read_tokens,
    "cache_write": source.cache_write_tokens, "output": source.output_tokens,
}))
"""
_TEXT = """\
# Importing sessions

Written by `make bench-sessions`. {facts} · a load of {load:.1f} at the end.

{size:,.0f} MB of transcripts of Claude Code, made by a generator of realistic shape: {files:,}
files with those of agents, {lines:,} lines, {calls:,} calls of models. They are imported with
all their content into a new SQLite file, and then once more. Medians of {repetitions}, each in a
process of its own. A load above the number of processors means that other programs
used them too: then the processor time tells what an import takes, and the time how long it waited.

|                                  | measured     | floor    |            |
| -------------------------------- | ------------ | -------- | ---------- |
{table}
{peer}
"""
_PEER = """
## Beside ccusage

`ccusage {version}` (its blocks as JSON, offline prices) counted the same folder in turn with the
imports. It adds up numbers, and keeps nothing.

|                     | curio_persistence | ccusage       |
| ------------------- | ----------------- | ------------- |
{table}

Calls, input and cache are the same. Output is not: Claude Code writes a line for each block of an
answer, and only the last one has the final number of output tokens. ccusage keeps the first line of
an answer, we keep the one with the largest total.
"""


class Side(NamedTuple):
    """What one program told, and how long it took."""

    seconds: float
    processor: float
    figures: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="curio-bench-", dir=options.directory) as folder:
        projects = Path(folder, ".claude/projects")
        made = write_projects(projects, options.megabytes * 1_000_000)
        ours, theirs = [], []
        for number in range(options.repetitions):
            ours.append(_import(projects, Path(folder, f"{number}.db")))
            if options.ccusage:
                theirs.append(_ccusage(options.ccusage, projects.parent))
        known = report.facts(Path(folder), None)
    page = _page(made, known, ours, theirs, options)
    print(page)
    is_full = options.megabytes >= _FULL
    if output := options.output or (_PAGE if is_full else None):
        output.write_text(page, encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--megabytes", type=int, default=_FULL, metavar="N", help="how much to import")
    add("--quick", action="store_true", help="ten megabytes, once")
    add("--repetitions", type=int, default=5, metavar="N", help="how often (default: 5)")
    add("--ccusage", type=Path, metavar="FILE", help="the program ccusage, as npm installs it")
    add("--output", type=Path, metavar="FILE", help="the page to write")
    add("--directory", type=Path, default=disk(), help="for the files (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.megabytes, options.repetitions = 10, 1
    return options


def _import(projects: Path, database: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", _IMPORT, str(projects), str(database)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _ccusage(program: Path, folder: Path) -> Side:
    begin, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [str(program), "blocks", "--json", "--offline"],
        check=True,
        capture_output=True,
        env=os.environ | {"CLAUDE_CONFIG_DIR": str(folder), "HOME": str(folder)},
    )
    took, after = time.perf_counter() - begin, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])
    blocks = json.loads(done.stdout)["blocks"]

    def total(name: str) -> int:
        return sum(block["tokenCounts"][name] for block in blocks)

    read, written = total("cacheReadInputTokens"), total("cacheCreationInputTokens")
    figures = {
        "calls": sum(block["entries"] for block in blocks),
        "input": total("inputTokens") + read + written,
        "cache_read": read,
        "cache_write": written,
        "output": total("outputTokens"),
    }
    return Side(took, processor, figures)


def _page(
    made: Made,
    known: Sequence[str],
    ours: Sequence[dict[str, Any]],
    theirs: Sequence[Side],
    options: argparse.Namespace,
) -> str:
    def middle(name: str) -> float:
        return float(median(one[name] for one in ours))

    is_full = made.bytes >= _FULL * 1_000_000
    took, again, most = middle("seconds"), middle("rerun"), middle("megabytes")
    rows = [
        ("takes", f"{took:,.1f} s", 120 if is_full else None, "s", took),
        ("processor time, both imports", f"{middle('processor'):,.1f} s", None, "s", 0),
        ("most memory", f"{most:,.0f} MB", 300, "MB", most),
        ("again, unchanged", f"{again:,.2f} s", 2, "s", again),
    ]
    return _TEXT.format(
        facts=" · ".join(known),
        size=made.bytes / 1e6,
        files=made.files,
        lines=made.lines,
        calls=made.calls,
        load=os.getloadavg()[0],
        repetitions=len(ours),
        table="\n".join(_row(*row) for row in rows),
        peer=_peer(ours, theirs, options.ccusage) if theirs else "",
    )


def _row(name: str, measured: str, floor: float | None, unit: str, value: float) -> str:
    limit = "" if floor is None else f"≤ {floor:,.0f} {unit}"
    verdict = "" if floor is None else ("met" if value <= floor else "**missed**")
    return f"| {name:<32} | {measured:<12} | {limit:<8} | {verdict:<10} |"


def _peer(ours: Sequence[dict[str, Any]], theirs: Sequence[Side], program: Path) -> str:
    version = subprocess.run([str(program), "--version"], check=True, capture_output=True)
    rows = [
        ("takes", f"{median(o['seconds'] for o in ours):,.1f} s", f"{_middle(theirs, 0):,.1f} s"),
        (
            "processor time",
            f"{median(o['processor'] for o in ours):,.1f} s",
            f"{_middle(theirs, 1):,.1f} s",
        ),
    ]
    for name, value in theirs[0].figures.items():
        rows.append((name.replace("_", " "), f"{ours[0][name]:,}", f"{value:,}"))
    table = "\n".join(f"| {name:<19} | {mine:<17} | {other:<13} |" for name, mine, other in rows)
    return _PEER.format(version=version.stdout.decode().strip().split()[-1], table=table)


def _middle(sides: Sequence[Side], at: int) -> float:
    return float(median((side.seconds, side.processor)[at] for side in sides))


if __name__ == "__main__":
    main()
