"""Read the whole database, and name what is damaged.

The checks are those of doctor --deep, and that no event contradicts the numbers which statistics
take from it. With --against, each row of a backup is compared with the row that the database has
now: one that differs, although no program has changed it, is named with its run, and so is one that
is gone from a run that is there. Sessions and agents are compared too. That finds damaged values
which look right. BACKUP is the path or URL of a backup of a SQLite file, or the URL of a database
that was restored from a backup. Exits with 5 if anything is damaged. As JSON, an object with the
checks and the damaged rows.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.arguments.options import add_json_option, open_for_reading
from curio_persistence.cli.commands.doctor import show_checks
from curio_persistence.cli.exit_codes import DAMAGED, OK
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.cli.terminal.text import one_line

EXAMPLES = """\
  curio-persistence verify
  curio-persistence verify --against agents-backup.db --db-path restored.db
  curio-persistence verify --db-path agent_sdk.db --json
"""

_SHOWN = 20


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--against", metavar="BACKUP", help="compare with this backup")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with (
        open_for_reading(options) as persistence,
        progress_line("Reading") as progress,
        tidied_when_interrupted(),
    ):
        location = persistence.location
        report = persistence.verify(options.against, progress=progress)
    if output.for_people:
        output.line(one_line(location))
        show_checks(list(report.checks), output)
    else:
        output.json(report.to_dict())
    for row in report.damaged[:_SHOWN]:
        of_run = "" if row.run_id is None else f" of run {row.run_id!r}"
        what = ", ".join(row.columns) or "it is gone, although the run is there"
        say(f"Damaged: {row.table}, row {row.row_id}{of_run}: {what}.")
    if (more := len(report.damaged) + report.more_damaged - _SHOWN) > 0:
        say(f"… and {more:,} more rows.")
    if report.compared is not None and report.ok:
        runs = "1 run was" if report.compared == 1 else f"{report.compared:,} runs were"
        say(f"No damage was found: {runs} compared with the backup.")
    return OK if report.ok else DAMAGED
