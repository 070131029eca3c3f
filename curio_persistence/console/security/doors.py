"""Routes of programs that are served beside the console, and how requests to them are let in."""

from __future__ import annotations

from dataclasses import dataclass, field

from curio_persistence.tables.keys import Role


@dataclass(frozen=True)
class Doors:
    """The ways into a server besides its pages and its API.

    `open` paths need nothing. `local` ones, and those below one that ends with a slash, need no
    token, only a host that names this machine. With `keys`, all that is not open needs one of them,
    and any host will do. A request that has the token or a key gets the `role`, unless the options
    let readers change things.
    """

    open: frozenset[str] = frozenset()
    local: frozenset[str] = frozenset()
    keys: tuple[str, ...] = field(default=(), repr=False)
    role: Role = "read"

    def is_local(self, path: str) -> bool:
        """Return whether a path is a local one, or below one."""
        return any(path == it or (it[-1] == "/" and path.startswith(it)) for it in self.local)


OF_CLIENTS = frozenset(("/compat/agentlens/api/health",))
"""The paths that clients of other systems ask without their key: the answers tell no records."""
OF_CONSOLE = Doors(local=OF_CLIENTS)
"""The ways into a console alone."""
