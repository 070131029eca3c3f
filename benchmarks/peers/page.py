"""The results as tables, and the exact calls of each side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.peers.measure import ASKED_IN_A_ROW, IN_A_ROW, OURS, RAW, Results, Sizes
from benchmarks.peers.sides.base import Task
from benchmarks.support.report import duration, in_columns, rows_per_second
from benchmarks.support.timing import Timing

_SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL"}
_TASKS: Mapping[Task, str] = {
    "single": "one event",
    "batch": "batches",
    "page": "a page",
    "statistics": "statistics",
    "newest": "the newest model calls",
    "search": "those with a word",
}
_PAGE = """\
# Beside other packages

Written by `make bench-peers`. {facts}.

Each package does the most similar work in its own way; the exact calls are below the tables. All
of them store their data in SQLite, in WAL mode with `synchronous=NORMAL`, which was read back on
each package's own connection.

{tables}

## How it was measured

Every side runs in its own process and, if it is from PyPI, in its own environment, all with the
same Python and the same SQLite. They take turns, while the others wait: one side writes {singles}
events one by one, or {hundreds} in batches of 100, or a batch of 1,000, or queries {pages} pages,
or the statistics of {pages} agents, or those of all, or runs its command that lists model calls;
then the next side does, and so on. There are {repetitions} repetitions. Numbers are medians;
comparisons are medians of the ratios in each repetition. Everything is done once before it is
measured. The garbage collector runs, but does not visit earlier objects.

Each side gets records of its own kind, created before the clock starts: its time includes its own
computing and encoding, but not what its user would have prepared.

*Bare driver, same rows*: after a side has stored some events, Python's `sqlite3` writes the same
encoded rows into a copy of its file: the same table with the same indexes and settings, in
transactions of the same size. *Share* is the fraction of that speed that the side reaches, so that
packages with few indexes can be compared with those that have many. The pages and the statistics
show whether an index pays. *Bare driver's time* there is that of one query on the tables of
curio_persistence, independent of a side's own tables.

All files have {written_to:,} events before any is written, and grow alike. Pages are of
{listed:,} events, and statistics of {usage_rows:,} model calls. An event has about 280 bytes of
JSON; one in twenty is a tool call, and the pages list those.

## The calls of each side

{details}
"""


def tables(results: Results) -> str:
    """Return all tables, each below its heading."""
    titles = {name: about["title"] for name, about in results.about.items()}
    parts = {
        "One event per call, committed": _single(titles, results.singles),
        "Batches of 100 events": _batches(titles, results.hundreds),
        "Batches of 1,000 events": _batches(titles, results.thousands),
        "The newest 100 events of an agent and of one type": _reading(titles, results.pages),
        "Statistics of one agent": _reading(titles, results.statistics_of_one),
        "Statistics of all agents": _reading(titles, results.statistics_of_all),
        "The newest 10 model calls as JSON, in a shell": _reading(titles, results.newest),
        "The newest 10 with a word, as JSON, in a shell": _listing(titles, results.found),
    }
    return "\n\n".join(f"## {heading}\n\n{in_columns(rows)}" for heading, rows in parts.items())


def page(results: Results, known: Sequence[str], sizes: Sizes) -> str:
    """Return the text of PEERS.md."""
    return _PAGE.format(
        facts=" · ".join(known),
        tables=tables(results),
        repetitions=sizes.repetitions,
        singles=IN_A_ROW[1],
        hundreds=IN_A_ROW[100],
        pages=ASKED_IN_A_ROW,
        written_to=sizes.written_to,
        listed=sizes.listed,
        usage_rows=sizes.usage_rows,
        details="\n\n".join(_details(name, results) for name in results.about),
    )


_Rows = list[tuple[str, ...]]


def _single(titles: Mapping[str, str], timings: Mapping[str, Timing]) -> _Rows:
    return [
        ("", "an event", "bare driver, same rows", "share", "ours is"),
        *(
            (
                titles[name],
                duration(median(timing.ours)),
                duration(median(timing.raw)),
                _share(timing),
                _ahead(timing, timings[OURS]),
            )
            for name, timing in timings.items()
        ),
    ]


def _batches(titles: Mapping[str, str], timings: Mapping[str, Timing]) -> _Rows:
    return [
        ("", "events", "bare driver, same rows", "share"),
        *(
            (
                titles[name],
                rows_per_second(median(timing.ours)),
                rows_per_second(median(timing.raw)),
                _share(timing),
            )
            for name, timing in timings.items()
        ),
    ]


def _reading(titles: Mapping[str, str], timings: Mapping[str, Timing]) -> _Rows:
    return [
        ("", "takes", "bare driver's time", "ours is"),
        *(
            (
                titles[name],
                duration(median(timing.ours)),
                "" if name == RAW else f"{median(timing.ratios):.2f} ×",
                _ahead(timing, timings[OURS]),
            )
            for name, timing in timings.items()
        ),
    ]


def _listing(titles: Mapping[str, str], timings: Mapping[str, Timing]) -> _Rows:
    """Return a table without a bare driver."""
    return [(title, takes, ahead) for title, takes, _, ahead in _reading(titles, timings)]


def _share(timing: Timing) -> str:
    return f"{median(1 / ratio for ratio in timing.ratios):.2f}"


def _ahead(timing: Timing, ours: Timing) -> str:
    """Return how much faster ours is, or the fraction of a side's speed that it reaches."""
    if timing is ours:
        return ""
    ratio = median(side / own for side, own in zip(timing.ours, ours.ours, strict=True))
    return f"{ratio:.2f} × as fast"


def _details(name: str, results: Results) -> str:
    about = results.about[name]
    versions = ", ".join(f"{package} {number}" for package, number in about["versions"].items())
    lines = [
        f"### {about['title']}",
        "",
        *([f"{versions}", ""] if versions else []),
        *(_writing(results.setups[name]) if name in results.setups else []),
        *_tasks(about),
    ]
    return "\n".join(lines)


def _writing(setup: Mapping[str, Any]) -> list[str]:
    settings = setup["settings"]
    return [
        f"* writes to `{setup['table']}`, indexes: {_indexes(setup['indexes'])}",
        f"* settings: `journal_mode={settings['journal_mode']}`, "
        f"`synchronous={_SYNCHRONOUS[settings['synchronous']]}`, "
        f"`foreign_keys={'ON' if settings['foreign_keys'] else 'OFF'}`, "
        f"`wal_autocheckpoint={settings['wal_autocheckpoint']}`",
    ]


def _indexes(indexes: Sequence[Sequence[str]]) -> str:
    named = ", ".join(f"({', '.join(columns)})" for columns in indexes)
    return f"{len(indexes)} {named}"


def _tasks(about: Mapping[str, Any]) -> Iterator[str]:
    for task, title in _TASKS.items():
        done, lack = about["calls"][task], about["lacks"][task]
        if done or lack:
            yield f"* {title}: {done or f'not measured; {lack}'}"
