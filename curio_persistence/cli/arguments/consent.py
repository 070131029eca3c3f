"""Ask before something is done that cannot be undone."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import _ActionsContainer


def add_consent_options(parser: _ActionsContainer, dry_run: str) -> None:
    """`--yes` and `--dry-run`, of which the help says what it does."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help=dry_run)


def agreed(options: Namespace, question: str) -> bool:
    """Return whether to go on: by --yes, or by the answer of a person on a terminal."""
    if options.dry_run or options.yes:
        return not options.dry_run
    if not sys.stdin.isatty():
        raise ConfigurationError("Not a terminal, so I cannot ask: pass --yes or --dry-run.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
