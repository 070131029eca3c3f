"""Options of a server that a team uses, behind a proxy."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from curio_persistence.errors import ConfigurationError


def add_team_options(parser: ArgumentParser) -> None:
    """`--team`, and what else a team's server needs to know."""
    group = parser.add_argument_group("for a team, or behind a proxy")
    group.add_argument("--team", action="store_true", help="ask for keys, whose roles differ")
    group.add_argument(
        "--public-url", metavar="URL", help="the address that readers open, if a proxy has another"
    )
    group.add_argument(
        "--trusted-proxy",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="the address of a proxy whose X-Forwarded headers count; may be given more than once",
    )
    group.add_argument(
        "--base-path", metavar="PATH", default="", help="the path below which a proxy shows it"
    )
    group.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="let pages of this origin read the API with a key; may be given more than once",
    )
    group.add_argument(
        "--audit-reads", action="store_true", help="write opened runs to the audit log"
    )


def team_options(options: Namespace) -> dict[str, Any]:
    """Return these options as `ConsoleOptions` takes them."""
    return {
        "team": options.team,
        "public_url": options.public_url,
        "trusted_proxy": tuple(options.trusted_proxy),
        "base_path": options.base_path,
        "allow_origin": tuple(options.allow_origin),
        "audit_reads": options.audit_reads,
    }


def refuse_team_options(options: Namespace) -> None:
    """Raise ConfigurationError for options that only a team's server takes."""
    for name, value in team_options(options).items():
        if value:
            raise ConfigurationError(f"--{name.replace('_', '-')} needs --team here.")
