"""Options that every command has, and kinds of values they share."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import _ActionsContainer, _MutuallyExclusiveGroup

    from curio_persistence import DatabaseConfig, Persistence

_ENVIRONMENT = """\
Without these the environment decides, or the nearest .env file: CURIO_DATABASE_URL; DB_TYPE,
DB_PATH, DB_HOST and so on; DATABASE_URL; else the SQLite file agent_sdk.db."""


def add_database_options(parser: ArgumentParser, default: str | None = None) -> None:
    """`--url`, `--backend`, `--db-path` and `--statement-timeout`."""
    group = parser.add_argument_group("which database", _ENVIRONMENT)
    group.add_argument(
        "--url",
        default=default,
        help="sqlite:///PATH or postgresql://USER@HOST/DATABASE?schema=agent_sdk",
    )
    group.add_argument("--db-path", metavar="PATH", default=default, help="the SQLite file PATH")
    group.add_argument(
        "--statement-timeout",
        metavar="SECONDS",
        type=seconds,
        default=default,
        help="give a statement of PostgreSQL up after so long (10; 0 for never)",
    )
    group.add_argument(
        "--backend",
        choices=("sqlite", "postgres", "memory"),
        default=default,
        help="the database of this kind that the environment describes",
    )


def add_json_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, on a terminal too")


def add_json_options(parser: ArgumentParser) -> _MutuallyExclusiveGroup:
    """`--json`, and `--jsonl` where there may be many; the group, for what excludes both."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print JSON, on a terminal too")
    group.add_argument(
        "--jsonl", action="store_true", help="print each as JSON on a line of its own"
    )
    return group


def add_action(parser: ArgumentParser, actions: Sequence[str], what: str) -> None:
    """The first argument of a command that does one of several things; by default it lists."""
    parser.add_argument(
        "action", metavar="ACTION", nargs="?", default="list", choices=actions, help=what
    )


def add_window_options(parser: _ActionsContainer) -> None:
    """`--since` and `--until`."""
    moment = "a date or time (2026-11-20, 2026-11-20T10:30Z), or how long ago (90s, 30m, 2h, 7d)"
    parser.add_argument("--since", metavar="WHEN", help=f"only from then on: {moment}")
    parser.add_argument("--until", metavar="WHEN", help="only what was before then")


def add_archive_option(parser: _ActionsContainer) -> None:
    """`--archive`, for commands that only read."""
    parser.add_argument(
        "--archive",
        metavar="DESTINATION",
        help="with the runs that `archive` moved there: a directory or a URL; its folder of "
        "another database is DESTINATION/FOLDER",
    )


def add_embed_option(parser: _ActionsContainer) -> None:
    """`--embed`, for commands that compare meanings."""
    parser.add_argument(
        "--embed",
        metavar="MODULE:CALLABLE",
        help="what turns texts into vectors (CURIO_EMBED), in place of the model of the extra "
        "'similar'; also a module of the current folder",
    )


def count(text: str) -> int:
    """A whole number that is not negative."""
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def count_or_all(text: str) -> int | None:
    """A whole number that is not negative, or None for `all`."""
    return None if text == "all" else count(text)


def seconds(text: str) -> float:
    """A number of seconds."""
    try:
        return float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds") from error


def length_of_time(text: str) -> timedelta:
    """`90s`, `30m`, `2h`, `7d` or `4w`."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    try:
        return timedelta(**{units[text[-1:]]: count(text[:-1])})
    except (KeyError, OverflowError, ArgumentTypeError):
        raise ArgumentTypeError(f"{text!r} is not a length of time, such as 90s, 2h, 7d") from None


def age(text: str) -> str:
    """Return the text of a length of time: filters of a window and capabilities take it as such."""
    length_of_time(text)
    return text


def open_for_reading(options: Namespace) -> Persistence:
    """The database that was asked for, with its archive if one was named. Nothing is made."""
    persistence = database(options).get_persistence(read_only=True)
    return with_archive(persistence, getattr(options, "archive", None))


def with_archive(persistence: Persistence, archive: str | None) -> Persistence:
    """Return a database with an archive, if one is named."""
    if archive is None:
        return persistence
    from curio_persistence import open_archive

    # The last part of DESTINATION/FOLDER is 16 hexadecimal digits.
    named = re.fullmatch("(.+)/([0-9a-f]{16})/?", archive)
    place, folder = named.groups() if named else (archive, None)
    try:
        return open_archive(persistence, place, source=folder)
    except BaseException:
        persistence.close()  # The caller gets no object to close.
        raise


def open_for_export(options: Namespace) -> Persistence:
    """The same database, whose audit log gets a line if it may be written to."""
    open_for_reading(options).close()  # Which tells what is missing.
    persistence = database(options).get_persistence(initialize=False)
    return with_archive(persistence, getattr(options, "archive", None))


def open_for_work(options: Namespace) -> Persistence:
    """The database that was asked for, with its tables as they are today; none is made."""
    open_for_reading(options).close()  # Which tells what is missing.
    return database(options).get_persistence(initialize=False)


def database(options: Namespace) -> DatabaseConfig:
    """Return the configuration of the database that the options, or else the environment, name."""
    from dataclasses import replace  # On use: it takes as long to import as all that help needs.

    from curio_persistence import DatabaseConfig

    config = DatabaseConfig.from_env(given=given_by(options))
    if hasattr(options, "embed"):
        sys.path.append(str(Path.cwd()))  # Where a module of the user's may be.
        config = replace(config, embed=options.embed or config.embed)
    if options.statement_timeout is None:
        return config
    return replace(config, statement_timeout=options.statement_timeout or None)


def database_named(argument: str, given: str) -> DatabaseConfig:
    """Return the configuration of a database that an argument names by a URL or as a file."""
    from curio_persistence import DatabaseConfig

    named = {"CURIO_DATABASE_URL": given} if "://" in given else variables_of_file(given)
    return DatabaseConfig.from_env(given={argument: named})


def given_by(options: Namespace) -> dict[str, dict[str, str]]:
    """Return the variables that the options stand for, by the option's name."""
    url, path, backend = options.url, options.db_path, options.backend
    if url is not None:
        if path is not None or backend is not None:
            raise ConfigurationError("--url cannot be combined with --db-path or --backend.")
        return {"--url": {"CURIO_DATABASE_URL": url}}
    if path is not None:
        if "://" in path:
            raise ConfigurationError("--db-path names a file; for a URL there is --url.")
        if backend not in (None, "sqlite"):
            raise ConfigurationError(f"--db-path names a SQLite file: drop --backend {backend}.")
        return {"--db-path": variables_of_file(path)}
    return {} if backend is None or _is_chosen(backend) else {"--backend": {"DB_TYPE": backend}}


def variables_of_file(path: str) -> dict[str, str]:
    """Return the variables that name a SQLite file."""
    return {"DB_TYPE": "sqlite", "DB_PATH": path}


def _is_chosen(backend: str) -> bool:
    """Return whether the environment names a database of this kind anyway."""
    from curio_persistence import DatabaseConfig

    try:
        return DatabaseConfig.from_env().db_type == backend
    except ConfigurationError:
        return False
