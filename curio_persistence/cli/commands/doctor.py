"""Check the database's health: its engine, tables and storage, and runs that never ended.

It changes nothing, and takes a moment however large the database is: damage and orphans, for which
everything must be read, are looked for in databases of up to 64 MB, and with --deep. Exits with 5
if the database is damaged, with 0 if there are only warnings. A database that cannot be opened is a
finding too, with the exit code of that failure.
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
    from curio_persistence import Finding

EXAMPLES = """\
  curio-persistence doctor
  curio-persistence doctor --url sqlite:///agent_sdk.db --deep
  curio-persistence doctor --json > findings.json
"""

_STYLES = {"ok": GREEN, "warning": YELLOW, "error": RED}
_LEVEL_WIDTH = max(map(len, _STYLES))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--deep", action="store_true", help="read everything, however long it takes"
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import Finding

    try:
        with open_for_reading(options) as persistence:
            place, findings = persistence.location, persistence.diagnose(deep=options.deep)
        code = _code(findings)
    except PersistenceError as error:
        findings = [Finding("database", "error", *_message_and_advice(error))]
        place, code = "", exit_code(error)
    if not output.for_people:
        output.json([finding._asdict() for finding in findings])
        return code
    if place:
        output.line(one_line(place))
    _show(findings, output)
    return code


def _message_and_advice(error: PersistenceError) -> tuple[str, str]:
    """Split an error: the first sentence says what is wrong, the others what to do."""
    message, _, advice = without_secrets(str(error)).partition(". ")
    return message.rstrip("."), advice


def _code(findings: Iterable[Finding]) -> int:
    failed = {finding.check for finding in findings if finding.level == "error"}
    if failed & {"integrity", "texts"}:
        return DAMAGED
    return FAILED if failed else OK


def _show(findings: list[Finding], output: Output) -> None:
    width = max(cells(finding.check) for finding in findings)
    for check, level, message, advice in findings:
        start = f"{padded(level, _LEVEL_WIDTH)}  {padded(check, width)}  "
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
