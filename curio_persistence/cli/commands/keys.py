"""List, make and revoke the keys of the console and its API.

create prints the key, once: only a hash of it is stored. A key with the role read shows everything;
write may also store records, close runs and set tags; admin may also delete, and change keys and
alerts. Revoking a key also ends the logins that were made with it. Exits with 3 for an unknown key.
As JSON, a list of keys, or the key that was made or revoked.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import (
    add_action,
    add_json_option,
    length_of_time,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import DIM, GREEN, RED, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import ApiKey, Persistence

EXAMPLES = """\
  curio-persistence keys create --role admin --name ada
  curio-persistence keys create --name grafana --expires 90d
  curio-persistence keys
  curio-persistence keys list --json
"""

_ACTIONS = ("list", "create", "revoke")
_STYLES = {"valid": GREEN, "expired": DIM, "revoked": RED}
_COLUMNS = (
    Column("KEY", most=32),
    Column("NAME", grows=True),
    Column("ROLE"),
    Column("STATE"),
    Column("EXPIRES"),
    Column("LAST USED"),
)


def add_arguments(parser: ArgumentParser) -> None:
    add_action(parser, _ACTIONS, "list (the default), create or revoke")
    parser.add_argument("key", metavar="KEY", nargs="?", help="with revoke: the id of a key")
    group = parser.add_argument_group("create")
    group.add_argument("--name", help="the person or program that gets the key")
    group.add_argument(
        "--role", choices=("read", "write", "admin"), help="what it may do (default: read)"
    )
    group.add_argument(
        "--expires",
        metavar="TIME",
        type=length_of_time,
        help="how long it is valid, such as 90d (default: until it is revoked)",
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    _check(options)
    if options.action == "list":
        with open_for_reading(options) as persistence:
            _list(persistence, output)
        return OK
    with open_for_work(options) as persistence:
        if options.action == "create":
            _create(persistence, options.name, options.role or "read", options.expires, output)
        else:
            _revoke(persistence, options.key, output)
    return OK


def _check(options: Namespace) -> None:
    """Refuse options that the action does not take."""
    action = options.action
    if (action == "revoke") != (options.key is not None):
        needs = "needs the id of a KEY" if action == "revoke" else "takes no KEY"
        raise ConfigurationError(f"keys {action} {needs}.")
    if action != "create" and (options.name or options.role or options.expires is not None):
        raise ConfigurationError("--name, --role and --expires are of create.")
    if action == "create" and not options.name:
        raise ConfigurationError("Say who gets the key: keys create --name ada.")


def _list(persistence: Persistence, output: Output) -> None:
    keys = persistence.keys.list()
    if not output.for_people:
        output.json([_as_json(persistence, key) for key in keys])
    elif keys:
        output.table(_COLUMNS, [_row(persistence, key) for key in keys])
    else:
        say(f"{persistence.location} has no keys. To make one: keys create --role admin --name ada")


def _as_json(persistence: Persistence, key: ApiKey) -> dict[str, Any]:
    return {**key.to_dict(), "state": key.state(persistence.clock.now())}


def _row(persistence: Persistence, key: ApiKey) -> list[Cell]:
    state = key.state(persistence.clock.now())
    return [
        cell(key.key_id),
        cell(key.name),
        cell(key.role),
        cell(state, _STYLES[state]),
        *(
            cell(time and local_time(time, "minutes"))
            for time in (key.expires_at, key.last_used_at)
        ),
    ]


def _create(
    persistence: Persistence, name: str, role: Any, expires: timedelta | None, output: Output
) -> None:
    made = persistence.keys.create(name, role, expires=expires)
    if output.for_people:
        output.line(made.secret)
    else:
        output.json({**_as_json(persistence, made.key), "secret": str(made.secret)})
    say(f"Key {made.key.key_id} may {_MAY[role]}. It is shown only now: keep it in a safe place.")


_MAY = {
    "read": "read",
    "write": "read, store records, close runs and set tags",
    "admin": "do everything",
}


def _revoke(persistence: Persistence, key_id: str, output: Output) -> None:
    key = persistence.keys.revoke(key_id)
    say(f"{persistence.location}: key {key.key_id} is revoked, and its logins have ended.")
    if not output.for_people:
        output.json(_as_json(persistence, key))
