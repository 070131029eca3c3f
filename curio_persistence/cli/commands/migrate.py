"""Create the tables, or migrate those of an older version; change nothing if they are current.

A SQLite file is created if there is none. What was done is said on stderr.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import database
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from curio_persistence import DatabaseConfig

EXAMPLES = """\
  curio-persistence migrate
  curio-persistence migrate --db-path runs/agents.db --no-fts
  curio-persistence migrate --url 'postgresql:///agents?schema=agent_sdk'
  curio-persistence migrate --url 'postgresql:///agents' --payload-index
  curio-persistence migrate --url 'postgresql:///agents?schema=grown' --timed
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options for what is made only if it is asked for."""
    parser.add_argument(
        "--payload-index",
        action="store_true",
        help="on PostgreSQL, build the index that finds events by their payload, without locking; "
        "with it, events are stored at half the speed",
    )
    parser.add_argument(
        "--timed",
        action="store_true",
        help="on PostgreSQL, create the tables with a partition for each month, for more than a "
        "hundred million events; an existing database is copied into such tables",
    )
    parser.add_argument(
        "--no-fts",
        action="store_true",
        help="create no search index, and remember that; curio-persistence index --enable "
        "creates one later",
    )


def run(options: Namespace, output: Output) -> int:
    config = database(options)
    if options.timed:
        config = _timed(config)
    if config.db_type == "memory" or config.db_path == ":memory:":
        say("Nothing to do: a database in memory begins and ends with its process.")
        return OK
    before = _version(config)
    with config.get_persistence() as persistence:
        if options.no_fts:
            persistence.search.disable()
        done = _what_was_done(before, persistence.schema_version())
        without = ", without a search index" if not persistence.search.enabled else ""
        say(f"{persistence.location}: {done}{without}.")
        if options.payload_index:
            built = persistence.create_payload_index()
            say(f"The payload index was {'built' if built else 'there already'}.")
    return OK


def _timed(config: DatabaseConfig) -> DatabaseConfig:
    if config.db_type != "postgres":
        raise ConfigurationError("--timed is for PostgreSQL: only there tables have partitions.")
    return replace(config, layout="timed")


def _version(config: DatabaseConfig) -> int:
    """Return the schema version found; 0 if there are no tables."""
    try:
        with config.get_persistence(read_only=True, initialize=False) as persistence:
            return persistence.schema_version()
    except NotFoundError:
        return 0


def _what_was_done(before: int, after: int) -> str:
    if not before:
        return f"tables created, schema version {after}"
    if before == after:
        return f"already current, schema version {after}"
    return f"migrated from schema version {before} to {after}"
