"""Keep a replica in ClickHouse up to date, for questions about billions of events.

The replica is a database of a server, or a directory of chdb, which is ClickHouse in this process.
Its tables are made if there are none. Several databases may have one replica: each has a name
there. Nothing is written to the database itself, and what was killed goes on where it was.

Without --once it goes on until it is stopped: new rows are sent each second, deletions each minute.
--check compares the numbers and sums of each day instead, with --deep each row; differences are
told, and the exit code is 5. As JSON, an object with the numbers of rows, or with the differences.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import timedelta
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import (
    add_json_option,
    length_of_time,
    open_for_reading,
)
from curio_persistence.cli.exit_codes import DAMAGED, OK
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.cli.terminal.tables import Column, cell
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import Persistence, ReplicationReport

_DIFFERENCES = (
    Column("TABLE"),
    Column("DAY OR RUN", grows=True),
    Column("ROWS", right=True),
    Column("REPLICATED", right=True),
)

EXAMPLES = """\
  curio-persistence replicate --to chdb://$PWD/replica --once
  curio-persistence replicate --to chdb://$PWD/replica --once --source laptop
  curio-persistence replicate --to chdb://$PWD/replica --once --json
  curio-persistence replicate --to chdb://$PWD/replica --check --deep
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="URL",
        required=True,
        help="clickhouse://user@host/database, clickhouses:// (TLS) or chdb:///directory",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--once", action="store_true", help="end when all that is there was sent")
    what.add_argument(
        "--check", action="store_true", help="only compare what was sent with the database"
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="with --once: rewrite what has deleted rows, whose bytes are gone ten minutes later",
    )
    parser.add_argument("--deep", action="store_true", help="with --check: compare each row")
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="the name of this database in the replica (default: its own identifier)",
    )
    parser.add_argument(
        "--every",
        metavar="TIME",
        type=length_of_time,
        default=timedelta(seconds=1),
        help="how often new rows are sent (default: 1s)",
    )
    parser.add_argument(
        "--deletions-every",
        metavar="TIME",
        type=length_of_time,
        default=timedelta(minutes=1),
        help="how often deletions are followed, which takes ClickHouse seconds (default: 1m)",
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if options.deep and not options.check:
        raise ConfigurationError("--deep is for --check.")
    if options.compact and not options.once:
        raise ConfigurationError("--compact is for --once.")
    with open_for_reading(options) as persistence:
        if options.check:
            return _check(persistence, options, output)
        with progress_line("Replicating") as progress, tidied_when_interrupted():
            report = persistence.replicate(
                options.to,
                once=options.once,
                compact=options.compact,
                source=options.source,
                every=options.every,
                deletions_every=options.deletions_every,
                progress=progress,
            )
    if output.for_people:
        _show(report, output)
    else:
        output.json(report.to_dict())
    return OK


def _show(report: ReplicationReport, output: Output) -> None:
    numbers = {
        "source": report.source,
        "new rows": f"{report.sent.total():,}",
        "changed rows": f"{report.changed.total():,}",
        "deleted runs": f"{report.deleted:,}",
    }
    output.fields(numbers)


def _check(persistence: Persistence, options: Namespace, output: Output) -> int:
    found = persistence.check_replica(options.to, source=options.source, deep=options.deep)
    if not output.for_people:
        output.json(found.to_dict())
    elif found.ok:
        say(f"{found.rows:,} rows are the same in both. {found.behind:,} were not sent yet.")
    else:
        rows = [
            [cell(d.table), cell(d.day or d.run_id), cell(f"{d.rows:,}"), cell(f"{d.replicated:,}")]
            for d in found.differences
        ]
        output.table(_DIFFERENCES, rows)
    return OK if found.ok else DAMAGED
