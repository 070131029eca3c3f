"""Routes of programs that are served beside the console, and how requests to them are let in."""

from __future__ import annotations

from dataclasses import dataclass, field

from curio_persistence.tables.keys import Role


@dataclass(frozen=True)
class Doors:
    """The ways into a server besides its pages and its API.

    `open` paths need nothing. `local` ones need no token, only a host that names this machine. With
    `keys`, all that is not open needs one of them, and any host will do. A request that has the
    token or a key gets the `role`, unless the options let readers change things.
    """

    open: frozenset[str] = frozenset()
    local: frozenset[str] = frozenset()
    keys: tuple[str, ...] = field(default=(), repr=False)
    role: Role = "read"


NO_DOORS = Doors()
"""Those of a console alone."""
