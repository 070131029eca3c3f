"""`keys` makes, lists and revokes the keys of the console."""

from __future__ import annotations

import pytest

from curio_persistence import connect
from tests.cli.program import Program


def test_a_key_is_made_listed_and_revoked(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    made = program("keys", "create", "--role", "admin", "--name", "ada", "--expires", "90d", *of)
    assert made.code == 0
    told = made.json()
    assert told["secret"].startswith(f"curio_{told['key_id']}_")
    assert (told["role"], told["name"], told["state"]) == ("admin", "ada", "valid")
    assert "shown only now" in made.said
    assert told["secret"] not in made.said
    with connect(recorded) as persistence:
        assert persistence.keys.verify(told["secret"])
    [listed] = program("keys", "--json", *of).json()
    assert listed["key_id"] == told["key_id"]
    assert not {"secret", "secret_hash"} & listed.keys()
    revoked = program("keys", "revoke", told["key_id"], *of)
    assert revoked.json()["state"] == "revoked"
    assert program("keys", "list", *of).json()[0]["state"] == "revoked"


def test_the_key_alone_is_on_stdout_of_a_terminal(program: Program, agents_db: str) -> None:
    assert "has no keys" in program.on_terminal("keys").out
    made = program.on_terminal("keys", "create", "--name", "grafana")
    assert made.lines[0].startswith("curio_")
    assert program.on_terminal("keys").lines[0].split() == [
        *("KEY", "NAME", "ROLE", "STATE", "EXPIRES", "LAST", "USED")
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create",), "Say who gets the key"),
        (("revoke",), "needs the id of a KEY"),
        (("list", "7"), "takes no KEY"),
        (("list", "--role", "read"), "are of create"),
        (("create", "--name", "x" * 256), "255 characters"),
        (("create", "--name", "ada", "--expires", "0s"), "in the past"),
        (("create", "--name", "ada", "--role", "owner"), "invalid choice"),
        (("create", "--name", "ada", "--expires", "soon"), "not a length of time"),
    ],
)
def test_wrong_use_is_told(
    program: Program, agents_db: str, arguments: tuple[str, ...], told: str
) -> None:
    ended = program("keys", *arguments)
    assert ended.code == 2
    assert told in ended.said


def test_an_unknown_key_is_told(program: Program, agents_db: str) -> None:
    ended = program("keys", "revoke", "7")
    assert ended.code == 3
    assert "no API key '7'" in ended.said
