"""Give room back, so that nothing is left of what was deleted.

What was deleted is in no answer any more, but its words may stand in the file, in its log and in
the search index until something else is written there. This writes them anew. A SQLite file needs
up to twice its room again meanwhile, and nobody else can write to it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.consent import add_consent_options, agreed
from curio_persistence.cli.exits import OK
from curio_persistence.cli.options import open_for_reading, open_for_work
from curio_persistence.cli.output import Output, say

EXAMPLES = """\
  curio-persistence compact --dry-run
  curio-persistence compact --yes
  curio-persistence compact --yes --db-path agent_sdk.db
"""

_ABOUT_ROOM = ("space", "disk", "memory")


def add_arguments(parser: ArgumentParser) -> None:
    add_consent_options(parser, "only tell how much room there is to give back")


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        place, findings = persistence.place, persistence.diagnose()
    say(f"{place}: {'; '.join(it.message for it in findings if it.check in _ABOUT_ROOM)}.")
    if agreed(options, "Write all of it anew, while others wait?"):
        with open_for_work(options) as persistence:
            persistence.compact()
        say(f"{place} was compacted.")
    return OK
