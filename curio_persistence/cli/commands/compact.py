"""Free disk space, and erase what was deleted.

Deleted records are in no answer, but their bytes stay in the file, in its log and in the search
index until other data overwrites them. This rewrites all of these. Meanwhile a SQLite file needs up
to twice its size again, and other programs cannot write to it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.options import open_for_reading, open_for_work
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say

EXAMPLES = """\
  curio-persistence compact --dry-run
  curio-persistence compact --yes
  curio-persistence compact --yes --db-path agent_sdk.db
"""

_ABOUT_ROOM = ("space", "disk", "memory")


def add_arguments(parser: ArgumentParser) -> None:
    add_consent_options(parser, "only show how much space can be freed")


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        location, checks = persistence.location, persistence.diagnose()
    say(f"{location}: {'; '.join(it.message for it in checks if it.name in _ABOUT_ROOM)}.")
    if agreed(options, "Rewrite the whole database, while other programs wait?"):
        with open_for_work(options) as persistence:
            persistence.compact()
        say(f"{location} was compacted.")
    return OK
