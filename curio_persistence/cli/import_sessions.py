"""The kind `sessions` of the command `import`, which brings in what other tools left on disk."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from decimal import Decimal
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import database, seconds
from curio_persistence.cli.exit_codes import FAILED, OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.cli.terminal.tables import Cell, Column
from curio_persistence.errors import ConfigurationError, NotFoundError
from curio_persistence.views.wording import NOTHING, number, price, size

if TYPE_CHECKING:
    from curio_persistence import Persistence, SessionImportReport, SessionPlace, SourceReport

_SHOWN = 20
_WHY_WITHOUT = (
    "Calls and events of {:,} run{} keep no words: they were stored with --content metrics-only, "
    "and what is stored of them is never changed. To have them, import into another database: "
    "curio-persistence import sessions --db-path sessions.db"
)
_EVERY = 5.0
_REST = 9
"""The rest of --follow after each pass, in multiples of the time that the pass took."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options that only this kind has."""
    group = parser.add_argument_group(
        "for sessions", "Without a PATH, this machine's user's own ones are found."
    )
    group.add_argument(
        "--source",
        metavar="SOURCE",
        help="what left them, such as claude-code or codex (default: auto, whatever is found)",
    )
    group.add_argument(
        "--since",
        metavar="WHEN",
        help="only turns that began then or later: a date or time, or how long ago (2h, 30d)",
    )
    group.add_argument(
        "--exclude",
        metavar="PROJECT",
        action="append",
        help="leave out a project: its name, its path, or a pattern; can be repeated",
    )
    group.add_argument(
        "--content",
        choices=("all", "metrics-only"),
        help="metrics-only keeps numbers and names, and no words of people, models and tools",
    )
    group.add_argument(
        "--verify",
        action="store_true",
        help="tell by their hash, not by size and time, which files have changed",
    )
    group.add_argument(
        "--follow", action="store_true", help="go on with what is written, until Ctrl-C"
    )
    group.add_argument(
        "--every", type=seconds, metavar="SECONDS", help="how often --follow looks (default: 5)"
    )


def refuse_elsewhere(options: Namespace) -> None:
    """Refuse the options of this kind for another one."""
    for name in ("source", "since", "exclude", "content", "verify", "follow", "every"):
        if getattr(options, name):
            raise ConfigurationError(f"--{name} is for import sessions.")


def run(options: Namespace, output: Output) -> int:
    """Import the sessions, once or again and again."""
    if options.every is not None and not options.follow:
        raise ConfigurationError("--every is for --follow.")
    if options.follow and options.dry_run:
        raise ConfigurationError("--follow stores what comes: drop --dry-run.")
    places = _found(options)  # Before a database is made for them.
    if options.dry_run:
        return _told(_import(places, options, None), options, output)
    with database(options).get_persistence() as persistence:
        report = _import(places, options, persistence)
        code = _told(report, options, output)
        if options.follow:
            _follow(persistence, options, output, set(map(str, report.problems)))
        return code


def _found(options: Namespace) -> list[SessionPlace]:
    """Return the places with sessions, and say which they are."""
    from curio_persistence import find_sessions

    places = find_sessions(options.path or None, source=options.source or "auto")
    if not places and not options.follow:
        raise NotFoundError(
            "No sessions were found in the usual places: name a PATH with some, or see "
            "docs/importing.md for where each tool keeps them."
        )
    for place in places:
        files = f"{place.files:,} file{'s' * (place.files != 1)}"
        say(f"{place.source}: {place.path}: {files}, {size(place.bytes)}")
    return places


def _import(
    places: list[SessionPlace], options: Namespace, persistence: Persistence | None
) -> SessionImportReport:
    with progress_line("Importing, kB") as show:
        return _once(
            places,
            options,
            persistence,
            progress=lambda done, total: show(done // 1000, total and total // 1000),
        )


def _once(paths: Any, options: Namespace, persistence: Any, **others: Any) -> SessionImportReport:
    from curio_persistence import import_sessions

    return import_sessions(
        paths,
        persistence,
        source=options.source or "auto",
        since=options.since,
        content=options.content or "all",
        exclude=options.exclude or (),
        verify=options.verify,
        **others,
    )


def _follow(persistence: Persistence, options: Namespace, output: Output, told: set[str]) -> None:
    """Import again and again; `told` are the problems that are known."""
    say(f"{persistence.location}: what is written is imported; Ctrl-C ends this.")
    pause = every = _EVERY if options.every is None else max(0.1, options.every)
    while True:
        time.sleep(pause)
        output.check_reader()
        began = time.monotonic()
        report = _once(options.path or None, options, persistence)
        pause = max(every, _REST * (time.monotonic() - began))
        for problem in map(str, report.problems):
            if problem not in told:
                say(problem)
                told.add(problem)
        if not (report.runs or report.events or report.usage):
            continue
        if output.for_people:
            output.line(_stored(report))
        else:
            output.json_line(report.to_dict())
            output.flush()


def _told(report: SessionImportReport, options: Namespace, output: Output) -> int:
    if not output.for_people:
        if options.follow:
            output.json_line(report.to_dict())
            output.flush()
        else:
            output.json(report.to_dict())
    elif report.sources:
        _show(report, output)
    return OK if report.ok else FAILED


def _show(report: SessionImportReport, output: Output) -> None:
    titles = ("sessions", "runs", "calls", "input", "cached", "output", "cost")
    columns = [Column("source"), *(Column(title, right=True) for title in titles)]
    output.table(columns, [_row(source) for source in report.sources])
    output.line("")
    problems = sum(len(s.stored.problems) + s.stored.more_problems for s in report.sources)
    unchanged = sum(source.unchanged for source in report.sources)
    output.fields(
        {
            "dry run" if report.dry_run else "stored": _stored(report),
            "cost": _costs(report) or None,
            "unchanged": f"{unchanged:,} files, not read again" if unchanged else None,
            "skipped": _wrapped(report.skipped, output.width) or None,
            "problems": f"{problems:,}" if problems else None,
        }
    )
    for problem in report.problems[:_SHOWN]:
        say(str(problem))
    if problems > _SHOWN:
        say(f"… and {problems - _SHOWN:,} more; --json names a thousand of each source.")
    for each in report.incomplete[:_SHOWN]:
        say(str(each))
    if bare := report.without_words:
        say(_WHY_WITHOUT.format(bare, "s" * (bare != 1)))


def _row(source: SourceReport) -> list[Cell]:
    costs = [cost for cost in (source.cost_told_usd, source.cost_priced_usd) if cost is not None]
    texts = (
        source.source,
        *(f"{count:,}" for count in (source.sessions, source.runs, source.calls)),
        number(source.input_tokens),
        number(source.cache_read_tokens),
        number(source.output_tokens),
        (price(sum(costs, Decimal()) if costs else None) if source.calls else NOTHING),
    )
    return [Cell(text, "") for text in texts]


def _stored(report: SessionImportReport) -> str:
    return f"runs {report.runs:,}, events {report.events:,}, model calls {report.usage:,}"


def _wrapped(skipped: Mapping[str, int], width: int) -> str:
    """Return what was skipped, on as many lines as it takes beside the names of fields."""
    text = ", ".join(f"{why} {n:,}" for why, n in skipped.items())
    return "\n".join(wrap(text, max(20, width - len("unchanged  ")), break_long_words=False))


def _costs(report: SessionImportReport) -> str:
    told = [s.cost_told_usd for s in report.sources if s.cost_told_usd is not None]
    priced = [s.cost_priced_usd for s in report.sources if s.cost_priced_usd is not None]
    unpriced = sum(source.unpriced for source in report.sources)
    parts = [
        f"{price(sum(told, Decimal()))} as told" if told else "",
        f"{price(sum(priced, Decimal()))} by list price" if priced else "",
        f"of {unpriced:,} call{'s' * (unpriced != 1)} unknown" if unpriced else "",
    ]
    return ", ".join(filter(None, parts))
