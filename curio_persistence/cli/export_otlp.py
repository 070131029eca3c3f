"""The form `otlp` of the command `export`, which sends traces to a receiver of OpenTelemetry."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.filters import filters
from curio_persistence.cli.arguments.options import (
    length_of_time,
    open_for_export,
    open_for_work,
)
from curio_persistence.cli.arguments.run_ids import resolve_run
from curio_persistence.cli.exit_codes import FAILED, OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from argparse import _ActionsContainer

    from curio_persistence import OtlpReport, Persistence

FILTERS = ("agent_id", "run_id", "session_id", "user_id", "status", "since", "until")
"""The filters of records that traces have as well."""
_OPTIONS = (
    *("header", "header_env", "phoenix_project", "no_content", "running", "dry_run"),
    *("name", "follow", "every", "json"),
)
"""The options that only this form has."""


def add_options(group: _ActionsContainer) -> None:
    """Add the options of `_OPTIONS`."""
    group.add_argument(
        "--header",
        metavar="NAME=VALUE",
        type=_pair,
        action="append",
        default=[],
        help="a header of the requests; may be given more than once",
    )
    group.add_argument(
        "--header-env",
        metavar="NAME=VAR",
        type=_pair,
        action="append",
        default=[],
        help="the same, with its value in an environment variable: for keys",
    )
    group.add_argument(
        "--phoenix-project", metavar="NAME", help="the project in which Phoenix shows them"
    )
    group.add_argument("--no-content", action="store_true", help="send no words")
    group.add_argument(
        "--running", action="store_true", help="send what has ended of running traces, too"
    )
    group.add_argument("--dry-run", action="store_true", help="only count")
    group.add_argument(
        "--name", metavar="NAME", help="go on where the last export of this name ended"
    )
    group.add_argument(
        "--follow",
        action="store_true",
        help="send each trace when it has ended, until Ctrl-C; by default under the name otlp",
    )
    group.add_argument(
        "--every", metavar="TIME", type=length_of_time, help="how often to look (default: 5s)"
    )
    group.add_argument("--json", action="store_true", help="print JSON, on a terminal too")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ArgumentTypeError("a header is NAME=VALUE, such as x-api-key=…")
    return name.strip(), value.strip()


def refuse_options(options: Namespace) -> None:
    """Refuse the options of this form in an export to a file."""
    for name in _OPTIONS:
        if getattr(options, name) not in (None, False, []):
            raise ConfigurationError(
                f"--{name.replace('_', '-')} is for exports by OTLP: export otlp URL"
            )


def run(options: Namespace, output: Output) -> int:
    """Send traces once, or again and again."""
    if options.every is not None and not options.follow:
        raise ConfigurationError("--every is for --follow.")
    if options.follow and (options.dry_run or options.running):
        raise ConfigurationError(
            "--follow sends each trace when it has ended: drop --dry-run and --running."
        )
    goes_on = options.follow or options.name is not None
    if goes_on and options.archive is not None:
        raise ConfigurationError("--name and --follow send what is here: drop --archive.")
    with (open_for_work if goes_on else open_for_export)(options) as persistence:
        resolve_run(persistence, options)
        return (_follow if options.follow else _once)(persistence, options, output)


def _arguments(options: Namespace) -> dict[str, Any]:
    given = {n: value for n, value in filters(options).items() if value and n in FILTERS}
    return given | {
        "headers": dict(options.header) | _from_environment(options.header_env),
        "project": options.phoenix_project,
        "content": not options.no_content,
    }


def _from_environment(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    for _, variable in pairs:
        if not os.environ.get(variable):
            raise ConfigurationError(f"The environment variable {variable} is not set.")
    return {name: os.environ[variable] for name, variable in pairs}


def _once(persistence: Persistence, options: Namespace, output: Output) -> int:
    from curio_persistence import export_otlp

    with progress_line("Sending") as progress:
        report = export_otlp(
            persistence,
            options.receiver,
            name=options.name,
            running=options.running,
            dry_run=options.dry_run,
            progress=progress,
            **_arguments(options),
        )
    if output.for_people:
        _tell(report)
    else:
        output.json(report.to_dict())
    return FAILED if report.rejected else OK


def _tell(report: OtlpReport) -> None:
    done = "would be sent" if report.dry_run else "were sent"
    size = f"{report.bytes:,} bytes{'' if report.dry_run else ', compressed'}"
    say(f"{report.traces:,} traces of {report.spans:,} spans {done} to {report.url}: {size}.")
    if report.waiting:
        say(
            f"{report.waiting:,} traces have not ended, and wait; --running sends them as they are."
        )
    if report.rejected or report.message:
        because = f": {report.message}" if report.message else ""
        say(f"The receiver rejected {report.rejected:,} spans{because}.")


def _follow(persistence: Persistence, options: Namespace, output: Output) -> int:
    from curio_persistence import follow_otlp

    say(f"{persistence.location}: traces are sent when they have ended; Ctrl-C ends this.")
    follow_otlp(
        persistence,
        options.receiver,
        5 if options.every is None else options.every,
        name=options.name or "otlp",
        on_round=_teller(output),
        **_arguments(options),
    )
    return OK


def _teller(output: Output) -> Callable[[OtlpReport | UnavailableError], None]:
    """Return a function that tells of each round that sent something, and once of an outage."""
    is_away = False

    def tell(outcome: OtlpReport | UnavailableError) -> None:
        nonlocal is_away
        if isinstance(outcome, UnavailableError):
            if not is_away:
                say(f"{outcome} Trying again …")
            is_away = True
            return
        is_away = False
        output.check_reader()
        if not outcome.traces:
            return
        if output.for_people:
            _tell(outcome)
        else:
            output.json_line(outcome.to_dict())
            output.flush()

    return tell
