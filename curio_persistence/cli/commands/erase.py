"""Delete runs in the database and in an archive, so that nothing of them is left in its files.

DESTINATION is the directory or URL that archive was given. Run compact afterwards to erase what is
left in the files of the database. As JSON, an object with the number of runs that were found.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.options import add_json_option, open_for_work
from curio_persistence.cli.exit_codes import NOT_FOUND, OK
from curio_persistence.cli.terminal.output import Output, say

EXAMPLES = """\
  curio-persistence erase old-runs run-41 --dry-run
  curio-persistence erase old-runs run-41 --yes
  curio-persistence erase old-runs run-40 run-44 --yes --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("destination", metavar="DESTINATION", help="a directory or a URL")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a run to erase, by its whole id")
    parser.add_argument(
        "--source", metavar="FOLDER", help="the folder of another database in the archive"
    )
    add_consent_options(parser, "change nothing")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import erase_runs

    runs, found = list(dict.fromkeys(options.runs)), 0
    if not agreed(options, f"Erase {len(runs):,} runs here and in {options.destination}?"):
        return OK
    with open_for_work(options) as persistence:
        found = erase_runs(persistence, options.destination, runs, source=options.source)
    say(f"{persistence.location} and {options.destination}: {found:,} runs were erased.")
    if not output.for_people:
        output.json({"erased": found})
    return OK if found == len(runs) else NOT_FOUND
