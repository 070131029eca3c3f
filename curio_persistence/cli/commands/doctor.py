"""Check the database's health: its engine, tables and storage, and runs that never ended.

It changes nothing, and takes a moment however large the database is: damage and orphans, for which
everything must be read, are looked for in databases of up to 64 MB, and with --deep. Exits with 5
if the database is damaged, with 0 if there are only warnings. A database that cannot be opened is
a failed check too, with the exit code of that failure.

With --archive, or CURIO_ARCHIVE_DESTINATION, it looks whether all files of the archive are there,
and for files that killed programs left; with --deep it reads each, and compares its hash.
"""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import add_json_option, open_for_reading
from curio_persistence.cli.exit_codes import DAMAGED, FAILED, OK, exit_code
from curio_persistence.cli.terminal.output import DIM, GREEN, RED, YELLOW, Output
from curio_persistence.cli.terminal.text import cells, one_line, padded, without_secrets
from curio_persistence.errors import PersistenceError

if TYPE_CHECKING:
    from curio_persistence import HealthCheck

EXAMPLES = """\
  curio-persistence doctor
  curio-persistence doctor --url sqlite:///agent_sdk.db --deep
  curio-persistence doctor --json > checks.json
  curio-persistence doctor --archive old-runs --deep
"""

_STYLES = {"ok": GREEN, "warning": YELLOW, "error": RED}
_LEVEL_WIDTH = max(map(len, _STYLES))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--deep", action="store_true", help="read everything, however long it takes"
    )
    parser.add_argument(
        "--archive",
        metavar="DESTINATION",
        dest="checked_archive",  # Not `archive`, with which the database would be opened.
        help="check the archive in this directory or URL as well",
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import HealthCheck, LifecycleConfig, check_archive

    try:
        archive = options.checked_archive or LifecycleConfig.from_env().archive_destination
        with open_for_reading(options) as persistence:
            location, checks = persistence.location, persistence.diagnose(deep=options.deep)
            if archive:
                checks.append(check_archive(persistence, archive, deep=options.deep))
        code = _code(checks)
    except PersistenceError as error:
        checks = [HealthCheck("database", "error", *_message_and_advice(error))]
        location, code = "", exit_code(error)
    if not output.for_people:
        output.json([check._asdict() for check in checks])
        return code
    if location:
        output.line(one_line(location))
    show_checks(checks, output)
    return code


def _message_and_advice(error: PersistenceError) -> tuple[str, str]:
    """Split an error: the first sentence says what is wrong, the others what to do."""
    message, _, advice = without_secrets(str(error)).partition(". ")
    return message.rstrip("."), advice


def _code(checks: Iterable[HealthCheck]) -> int:
    failed = {check.name for check in checks if check.level == "error"}
    if failed & {"archive", "chains", "integrity", "texts"}:
        return DAMAGED
    return FAILED if failed else OK


def show_checks(checks: list[HealthCheck], output: Output) -> None:
    """Write a line for each check, with advice below those that are not well."""
    width = max(cells(check.name) for check in checks)
    for name, level, message, advice in checks:
        start = f"{padded(level, _LEVEL_WIDTH)}  {padded(name, width)}  "
        first, *rest = _wrapped(message, start, output)
        output.line(output.paint(level, _STYLES[level]) + first[len(level) :])
        for line in rest:
            output.line(line)
        if advice:
            for line in _wrapped(advice, " " * len(start), output):
                output.line(output.paint(line, DIM))


def _wrapped(text: str, start: str, output: Output) -> list[str]:
    return textwrap.wrap(
        one_line(text),
        output.width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start]
