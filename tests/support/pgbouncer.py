"""A real pgbouncer in transaction mode, to prove that nothing lives in a session."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from tests.support.server import ServerUnavailable, ThrowAwayServer

_PORT = 6432

# Two server connections used in turn: the transactions of one client use both, and those of
# several clients the same one, which reveals a forgotten session setting. Everything not
# set here is pgbouncer's default; in particular it refuses startup options.
_CONFIGURATION = """\
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr =
listen_port = {own_port}
unix_socket_dir = {directory}
auth_type = trust
auth_file = {directory}/users
pool_mode = transaction
default_pool_size = 2
server_round_robin = 1
"""


class PgBouncer(ThrowAwayServer):
    """One pgbouncer on a Unix socket in front of the server that a DSN names."""

    name = "pgbouncer"
    # It has no data to save, and the meaning of its other signals depends on its version.
    stop_signal = signal.SIGKILL

    def __init__(self, upstream_dsn: str) -> None:
        super().__init__()
        self._upstream = {"port": "5432", "password": "", **parse_dsn(upstream_dsn)}

    @property
    def dsn(self) -> str:
        user, database = self._upstream["user"], self._upstream["dbname"]
        return make_dsn(host=str(self.directory), port=_PORT, user=user, dbname=database)

    def _prepare(self) -> Sequence[str | Path]:
        program = _find_pgbouncer()
        configuration = self.directory / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(directory=self.directory, own_port=_PORT, **self._upstream)
        )
        credentials = (self._upstream["user"], self._upstream["password"])
        (self.directory / "users").write_text(" ".join(map(_quoted, credentials)) + "\n")
        self.account.own(self.directory)
        return program, configuration


def _quoted(text: str) -> str:
    escaped = text.replace('"', '""')
    return f'"{escaped}"'


def _find_pgbouncer() -> Path:
    # Debian installs it in /usr/sbin, which is not on every user's PATH.
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise ServerUnavailable("no pgbouncer: install your system's package of that name")
    return Path(program)
