"""Import records of other systems, or exports.

It can be repeated, after a failure or when more was written: what is stored already is skipped.
`import curio` replaces the tables of an original Curio's database, as a whole or not at all; it
keeps a copy of the old file (agent_sdk.db.bak), or the old tables of a schema under other names.

`import sessions` finds what coding agents and other tools left on this machine, says what it found,
and reports by source. Files that did not change since are not read again. Its JSON has the numbers
by source.

Exits with 1 if something could not be read, which is named with its file and line; everything else
is imported all the same. The last line of a session that is being written is no failure. As JSON,
an object with the numbers of imported runs, events and model calls (usage), of what was skipped and
why, and the problems.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from curio_persistence.cli import import_curio, import_sessions
from curio_persistence.cli.arguments.options import add_json_option, database
from curio_persistence.cli.exit_codes import FAILED, OK
from curio_persistence.cli.kinds import WORDS, told
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError, InvalidValueError, NotFoundError

if TYPE_CHECKING:
    from curio_persistence import ImportReport, Persistence

EXAMPLES = """\
  curio-persistence import agdd .runs/agents --dry-run
  curio-persistence import agdd .runs/agents --db-path imported.db
  curio-persistence import costs .runs/costs/costs.jsonl
  curio-persistence import agentlens agentlens.db
  curio-persistence import agiwo agiwo.db
  curio-persistence import records exported.jsonl --db-path imported.db
  curio-persistence import records run-42.jsonl.gz
  curio-persistence import records <(zcat run-*.jsonl.gz)
  curio-persistence import sessions --dry-run
  curio-persistence import sessions --source claude-code --since 30d --exclude secret
  curio-persistence import sessions projects --content metrics-only
  curio-persistence import curio agent_sdk.db --timezone Europe/Paris --dry-run
"""

_SHOWN = 20
_STDIN = ("-", "/dev/stdin")


class _Kind(NamedTuple):
    """A kind of source: the public name of its importer, and what the importer takes."""

    importer: str
    takes: str


_KINDS = {
    "agdd": _Kind("import_agdd", "a folder with a folder for each run, of AGDD or MAGSAG"),
    "agentlens": _Kind("import_agentlens", "a SQLite database of AgentLens"),
    "agiwo": _Kind("import_agiwo", "a SQLite database of Agiwo"),
    "costs": _Kind("import_costs", "a cost ledger of theirs, costs.jsonl or costs.db, or .runs"),
    "records": _Kind(
        "import_records", "what `export` wrote, a file or a folder; JSON lines also as a pipe"
    ),
    "sessions": _Kind(
        "import_sessions",
        "files or folders of coding agents and other tools; by default this machine's own",
    ),
    "curio": _Kind(
        "import_curio",
        "a database of an original Curio, a file or a URL; by default the chosen one",
    ),
}


def add_arguments(parser: ArgumentParser) -> None:
    kinds = "; ".join(f"{name}: {kind.takes}" for name, kind in _KINDS.items())
    parser.add_argument("kind", choices=_KINDS, metavar="KIND", help=kinds)
    parser.add_argument("path", metavar="PATH", nargs="*", help="where it is; - is stdin")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read and check everything, and write nothing: no database is made",
    )
    parser.add_argument(
        "--timezone",
        metavar="ZONE",
        help="for curio: time zone of the stored times, such as Europe/Paris "
        "(default: this machine's)",
    )
    import_sessions.add_arguments(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if options.kind == "sessions":
        return import_sessions.run(options, output)
    import_sessions.refuse_elsewhere(options)
    if len(options.path) > 1:
        raise ConfigurationError(f"import {options.kind} takes one PATH.")
    [options.path] = options.path or [None]
    if options.kind == "curio":
        return import_curio.run(options, output)
    if options.timezone is not None:
        raise ConfigurationError("--timezone is for import curio: other records have a time zone.")
    if options.path is None:
        raise ConfigurationError(f"import {options.kind} needs a PATH.")
    with _opened(options) as source:  # Before a database is made for it.
        if options.dry_run:
            report = _import(options, source, None)
        else:
            with database(options).get_persistence() as persistence:
                report = _import(options, source, persistence)
    if output.for_people:
        _show(report, output)
    else:
        output.json(report.to_dict())
    if _is_nothing(report):
        raise NotFoundError(f"Nothing to import was found in {options.path}.{_hint(options)}")
    return OK if report.ok else FAILED


@contextmanager
def _opened(options: Namespace) -> Iterator[str | BinaryIO]:
    """Yield the path to import from, or the open file if it is stdin or a pipe."""
    path = Path(options.path)
    is_stdin = options.path in _STDIN
    if sys.stdin is None if is_stdin else not path.exists():
        raise NotFoundError(f"There is no {options.path} to import.")
    if not is_stdin and not path.is_fifo():
        yield options.path
    elif options.kind != "records":
        raise InvalidValueError(
            f"import {options.kind} reads no pipe: name a file or a folder.", field="path"
        )
    elif is_stdin:
        yield sys.stdin.buffer
    else:
        with path.open("rb") as pipe:
            yield pipe


def _is_nothing(report: ImportReport) -> bool:
    found = any(getattr(report, kind) for kind in WORDS) or any(report.also.values())
    return not found and "stored before" not in report.skipped and not report.problems


def _hint(options: Namespace) -> str:
    """Return where run folders are, if the path is a folder above or below theirs."""
    if options.kind != "agdd":
        return ""
    path = Path(options.path)
    for near in (path / "agents", path / ".runs" / "agents", path.parent):
        if any(near.glob("*/logs.jsonl")) or any(near.glob("*/events.jsonl")):
            return f" Did you mean {near}?"
    return ""


def _import(
    options: Namespace, source: str | BinaryIO, persistence: Persistence | None
) -> ImportReport:
    import curio_persistence

    importer: Any = getattr(curio_persistence, _KINDS[options.kind].importer)
    with progress_line("Importing") as progress:
        report: ImportReport = importer(source, persistence, progress=progress)
    return report


def _show(report: ImportReport, output: Output) -> None:
    problems = len(report.problems) + report.more_problems
    numbers = {WORDS[kind]: getattr(report, kind) for kind in told(report)}
    numbers |= {what: n for what, n in report.also.items() if n}
    output.fields(
        {
            "dry run" if report.dry_run else "imported": _counted(numbers),
            "skipped": _counted(report.skipped) or None,
            "problems": f"{problems:,}" if problems else None,
        }
    )
    for problem in report.problems[:_SHOWN]:
        say(str(problem))
    if problems > _SHOWN:
        say(f"… and {problems - _SHOWN:,} more; --json names a thousand.")


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {number:,}" for what, number in numbers.items())
