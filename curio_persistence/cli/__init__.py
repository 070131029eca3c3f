"""The command line: questions to a database, and the care of its tables.

Answers go to stdout; messages about them, errors included, go to stderr.
"""

from __future__ import annotations

import os
import sys
from argparse import (
    SUPPRESS,
    Action,
    ArgumentError,
    ArgumentParser,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from typing import Any, NoReturn, Protocol, cast

from curio_persistence import __version__
from curio_persistence.cli.arguments.options import add_database_options
from curio_persistence.cli.exit_codes import FAILED, INTERRUPTED, OUTPUT_GONE, USAGE, exit_code
from curio_persistence.cli.terminal.interrupts import leave_when_interrupted
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.text import one_line, without_secrets
from curio_persistence.errors import PersistenceError

PROGRAM = "curio-persistence"

_DESCRIPTION = "Query what AI agents recorded: their runs, events, model calls and costs."
_EPILOG = """\
On a terminal the answer is a table; piped, or with --json, it is JSON. Times on a terminal are
local, in JSON they are UTC. NO_COLOR=1 switches colours off.

exit codes:
  0  all went well          3  not found: no such database, or no such run
  1  it failed              4  the database is busy or cannot be reached; try again
  2  wrong usage            5  the database is damaged

examples:
  curio-persistence migrate
  curio-persistence runs --status failed --limit 5
  curio-persistence runs --help
"""

# Each is a module of `commands`, imported only when its command was named.
_COMMANDS = {
    "migrate": "make the tables, or migrate those of an older version",
    "runs": "list runs, or show one",
    "events": "list events, or show what happened in a run",
    "sessions": "list sessions, or show one: what was asked, done and answered",
    "runlog": "show the run log of a session, and what follows from it",
    "agents": "list the agents that have run",
    "failures": "show what failed and why, grouped by message",
    "search": "find runs, events and model calls by their words",
    "similar": "find texts that mean much the same",
    "show": "tell a run step by step",
    "traces": "list traces: outermost runs with all that they started",
    "trace": "draw a trace as a waterfall, with its critical path",
    "diff": "compare two runs step by step",
    "calls": "list model calls",
    "tail": "show the newest events, and follow those that come",
    "prices": "explain costs, list calls without one, and compute them anew",
    "stats": "add up runs, calls, tokens, costs and tools",
    "analytics": "show what happened by hour, day, week or month, with a bar chart",
    "metrics": "add up what agents measured, by time and group",
    "sql": "ask in SQL, which only reads",
    "otel": "show what came by OpenTelemetry, or read it anew",
    "console": "open the web console: runs, failures and costs in a browser",
    "serve": "receive OpenTelemetry over HTTP",
    "export": "write records to a file, or send traces by OTLP",
    "import": "import records of other systems, or exports",
    "copy": "copy all records into another database",
    "replicate": "keep a replica in ClickHouse up to date",
    "backup": "copy the whole database while agents write",
    "restore-backup": "create a database from a backup",
    "verify": "read everything, and name what is damaged",
    "audit": "list who deleted, exported or changed what, and verify hash chains",
    "doctor": "check the database's health",
    "index": "index what search has not indexed yet, or embed texts for similar",
    "retention": "list and change retention policies and legal holds",
    "expire": "delete runs that no retention policy keeps",
    "vacuum": "delete runs that ended some days ago, or that are too much for the disk",
    "lifecycle": "archive and expire runs again and again, once a day",
    "archive": "move runs that no retention policy keeps into an archive",
    "restore": "bring runs back from an archive",
    "erase": "delete runs in the database and in an archive",
    "approvals": "list what waits for approval, and approve or deny it",
    "snapshots": "list the steps at which a run saved its state",
    "alerts": "notify people when agents fail, cost too much, or fall silent",
    "keys": "list, make and revoke the keys of the console and its API",
    "delete": "delete runs, those that are named or old",
    "abandon": "close runs whose agent is gone",
    "compact": "free disk space, and erase what was deleted",
    "config": "show which database is used, and why",
    "completion": "print a script that completes commands in a shell",
}

_OLD_NAMES = {"query": "runs", "usage": "calls"}
"""Names that commands had; they work on, and nothing mentions them."""
_OTHER_NAMES = {"init": "migrate", "upgrade": "migrate or import curio"}
"""Names under which a command may be looked for, and what a message suggests instead."""


class Command(Protocol):
    """A command's module; its docstring is its help."""

    EXAMPLES: str

    def add_arguments(self, parser: ArgumentParser) -> None: ...

    def run(self, options: Namespace, output: Output) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit code.

    Without `argv` it takes the arguments of the process, and Ctrl-C ends the process.
    """
    try:
        code = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()  # Here, where a failure can still be told.
        return code
    except SystemExit as end:  # How argparse ends, after --help as after an error.
        return end.code if isinstance(end.code, int) else FAILED
    except PersistenceError as error:
        say(f"{PROGRAM}: {error}")
        return exit_code(error)
    except BrokenPipeError:
        _forget_output()
        return OUTPUT_GONE
    except OSError as error:
        _forget_output()
        say(f"{PROGRAM}: {_told(error)}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(_without_help(sys.argv[1:] if argv is None else list(argv)))
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    if argv is None:
        leave_when_interrupted()
    output = Output(
        as_json=getattr(options, "json", False), as_lines=getattr(options, "jsonl", False)
    )
    return _command(options.command).run(options, output)


def _without_help(arguments: list[str]) -> list[str]:
    """Return `help COMMAND`, as other programs take it, as `COMMAND --help`."""
    return [*arguments[1:], "--help"] if arguments[:1] == ["help"] else arguments


def _parser() -> ArgumentParser:
    parser = _Parser(prog=PROGRAM, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--version",
        action="version",
        version=f"{PROGRAM} {__version__}",
        help="show the version and exit",
    )
    add_database_options(parser)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", parser_class=_CommandParser
    )
    for name, summary in _COMMANDS.items():
        commands.add_parser(name, help=summary).set_defaults(command=name)
    for old, name in _OLD_NAMES.items():
        commands.add_parser(old).set_defaults(command=name)
    commands.choices = _Listed((name, commands.choices[name]) for name in _COMMANDS)
    return parser


class _Formatter(RawDescriptionHelpFormatter):
    """Wraps paragraphs at the width of the terminal; lines that are indented stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(_wrapped(paragraph, width, indent) for paragraph in paragraphs)


def _wrapped(paragraph: str, width: int, indent: str) -> str:
    import textwrap  # On use: only help needs it.

    if "\n " in paragraph or paragraph.startswith(" "):
        return textwrap.indent(paragraph, indent)
    options: Any = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(
        " ".join(paragraph.split()),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        **options,
    )


class _Parser(ArgumentParser):
    """A parser that prints texts unchanged but for passwords, and takes no shortened options."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        super().error(one_line(without_secrets(message)))

    def _check_value(self, action: Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except ArgumentError as error:
            error.message += _did_you_mean(value, action.choices or ())
            raise


class _CommandParser(_Parser):
    """The parser of a command, whose arguments are added when the command is used."""

    _knows = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._knows:  # Called from below.
            return super().parse_known_args(args, namespace)
        self.learn(self.get_default("command"))
        self._knows = True
        options, unknown = super().parse_known_args(args, namespace)
        if unknown and not unknown[0].startswith("-"):
            # A word after an option, where one before it had been the last that must be.
            options, unknown = self.parse_known_intermixed_args(args, namespace)
        if unknown:
            if unknown[0].partition("=")[0] == "--archive":
                command = self.get_default("command")
                self.error(f"{command} uses the database alone: it has no --archive")
            hint = _did_you_mean(unknown[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options, unknown

    def learn(self, name: str) -> None:
        command = _command(name)
        self.description = command.__doc__
        self.epilog = f"examples:\n{command.EXAMPLES}"
        command.add_arguments(self)
        add_database_options(self, default=SUPPRESS)  # They may stand before the command.


class _Listed(dict[str, _CommandParser]):
    """The commands that a message lists; it contains the old names as well."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in _OLD_NAMES


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message that names the known word which is most alike, if one is."""
    from difflib import get_close_matches

    other = _OTHER_NAMES.get(word)
    matches = [other] if other else get_close_matches(word, known, 1)
    return "".join(f"; did you mean {match}?" for match in matches)


def command_parsers() -> dict[str, ArgumentParser]:
    """Return the parser of each command, with all its arguments."""
    parsers = {name: _CommandParser(prog=f"{PROGRAM} {name}") for name in _COMMANDS}
    for name, parser in parsers.items():
        parser.learn(name)
    return dict(parsers)


def _command(name: str) -> Command:
    module = f"{name}_" if iskeyword(name) else name.replace("-", "_")
    found: Any = import_module(f"{__name__}.commands.{module}")
    return cast(Command, found)


def _told(error: OSError) -> str:
    """Return what an error says, in the words of a shell where it is about a file."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _forget_output() -> None:
    """Discard the rest of the output: Python's last flush would fail again."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
