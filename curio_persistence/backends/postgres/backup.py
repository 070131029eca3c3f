"""Backups of a schema by PostgreSQL's own programs, pg_dump and pg_restore."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2.extensions import make_dsn

from curio_persistence.backends.postgres.ddl import PostgresDDL
from curio_persistence.backends.sql.backup_files import POSTGRES, check_kind
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConfigurationError,
    CorruptDatabaseError,
    InvalidValueError,
    PersistenceError,
    StorageFullError,
    UnavailableError,
)
from curio_persistence.progress import Progress
from curio_persistence.tables import RUNS

if TYPE_CHECKING:
    from subprocess import Popen

_LOOK = 0.1
"""The seconds between two looks at a program that runs."""
_NOT_TOLD = ("client_encoding", "password", "sslpassword")
"""Settings that are not on the command line: passwords, and the encoding of this client."""
_FAILURES: tuple[tuple[tuple[str, ...], type[PersistenceError], str], ...] = (
    (("No space left", "Disk quota"), StorageFullError, "Free some space, and begin again."),
    (("lock timeout",), BusyError, "Another program changes the tables; try again."),
    (("permission denied", "authentication failed", "no password"), AccessDeniedError, "Check the "
     "rights of the user."),
    (("version mismatch", "unsupported version"), ConfigurationError, "Install newer programs."),
    (("halfvec",), ConfigurationError, "Its index needs pgvector: CREATE EXTENSION vector."),
    (("connection to server",), UnavailableError, "Try again when the server is there."),
)  # fmt: skip
_CONTENT = re.compile(rf" TABLE DATA (.*) {RUNS.name} ")
_IN_SCHEMA = (
    "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s LIMIT 1"
)
_IS_SCHEMA = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s"


class PostgresBackup(PostgresDDL):
    """The part of a PostgreSQL store that makes backups."""

    backup_ending = ".dump"

    @property
    def backup_name(self) -> str:
        return re.sub(r"[^\w.-]", "_", self._schema_name)

    def back_up(self, path: Path, progress: Progress | None = None) -> None:
        self.check_outside("backup()")
        self._check_version("pg_dump")
        # In quotation marks, and without letters that mean something in a pattern.
        pattern = '"' + self._schema_name.replace('"', '""') + '"'
        self._run_program(
            "pg_dump",
            "--format=custom",
            f"--schema={pattern}",
            "--strict-names",
            "--no-owner",
            "--no-privileges",
            "--lock-wait-timeout=60s",
            f"--file={path}",
            self._address(),
            told=lambda: progress(path.stat().st_size, None) if progress else None,
        )

    def check_backup(self, path: Path, *, deep: bool = False) -> None:
        check_kind(path, POSTGRES)
        try:
            self._run_program("pg_restore", f"--file={os.devnull}", str(path))
        except (ConfigurationError, UnavailableError):
            raise
        except PersistenceError as error:
            raise CorruptDatabaseError(f"{path} is damaged: {error}") from error

    def restore_backup(self, path: Path) -> None:
        self._check_version("pg_restore")
        self.check_backup(path)
        self._refuse_another_schema(path)
        if self._read(_IN_SCHEMA, (self._schema_name,)):
            raise InvalidValueError(
                f"{self.location} is not empty, and is not replaced: restore the backup into "
                "another database, or rename this schema first.",
                field="url",
            )
        self._fill_schema(path)

    def _fill_schema(self, path: Path) -> None:
        """Restore a backup in one transaction; a schema that is made for it goes if that fails."""
        with self._patient_connection() as connection:
            is_new = not self._read(_IS_SCHEMA, (self._schema_name,))
            if is_new:
                self._run(connection, f"CREATE SCHEMA {self._schema}", ())
            try:
                self._run_program(
                    "pg_restore",
                    "--single-transaction",
                    "--exit-on-error",
                    "--no-owner",
                    "--no-privileges",
                    f"--schema={self._schema_name}",
                    self._address(),
                    str(path),
                )
            except BaseException:
                if is_new:
                    with suppress(PersistenceError):
                        self._run(connection, f"DROP SCHEMA {self._schema}", ())
                raise

    def _refuse_another_schema(self, path: Path) -> None:
        """Refuse a backup of another schema, which pg_restore cannot rename."""
        found = _CONTENT.findall(self._run_program("pg_restore", "--list", str(path)))
        if re.sub(r"[\r\n]", " ", self._schema_name) not in found:
            raise InvalidValueError(
                f"{path} is a backup of the schema {', '.join(map(repr, found)) or 'of another'}, "
                f"not of {self._schema_name!r}: name that one, in a database that has none of this "
                "name (DB_SCHEMA, or ?schema= in the URL).",
                field="url",
            )

    # --- programs -----------------------------------------------------------------------------

    def _address(self) -> str:
        told = {k: v for k, v in self._patient_settings.items() if k not in _NOT_TOLD}
        return f"--dbname={make_dsn(**told)}"

    def _check_version(self, program: str) -> None:
        """Raise ConfigurationError if a program is not of the server's version.

        An older one refuses the server, and a newer one makes backups, or runs statements, that
        the server does not understand.
        """
        from shutil import which  # On use: only backups need it.

        [(number,)] = self._read("SELECT current_setting('server_version_num')::int", ())
        major = str(number // 10_000)
        found = re.search(r"\) (\d+)", self._run_program(program, "--version"))
        if found and found[1] != major:
            raise ConfigurationError(
                f"{which(program)} has version {found[1]}, and {self.location} has {major}: "
                f"put {program} {major} first on PATH (Debian: postgresql-client-{major}, in "
                f"/usr/lib/postgresql/{major}/bin)."
            )

    def _run_program(
        self, name: str, *arguments: str, told: Callable[[], object] = lambda: None
    ) -> str:
        """Run a program to its end, and return what it printed."""
        import subprocess  # On use: only backups need it.
        from shutil import which

        program = which(name)
        if program is None:
            raise ConfigurationError(
                f"Backups of PostgreSQL need its program {name} on PATH: apt-get install "
                "postgresql-client, or brew install libpq."
            )
        with subprocess.Popen(
            [program, *arguments],
            env=os.environ | self._password(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            printed, said = _outputs(process, told)
        if process.returncode:
            raise self._failure(said)
        return printed

    def _password(self) -> dict[str, str]:
        """Return the variable by which a program learns of the password."""
        password = str(self._settings.get("password") or "")
        return {"PGPASSWORD": password} if password else {}

    def _failure(self, said: str) -> PersistenceError:
        """Return our error for the words of a program that failed."""
        lines = said.strip().splitlines() or ["it was stopped"]
        message = f"{self.location}: {lines[0].removesuffix('.')}."
        for words, kind, advice in _FAILURES:
            if any(word in said for word in words):
                return kind(f"{message} {advice}")
        return PersistenceError(message)


def _outputs(process: Popen[str], told: Callable[[], object]) -> tuple[str, str]:
    """Wait for the end of a process, and tell the caller now and then; stop it if that raises."""
    from subprocess import TimeoutExpired

    try:
        while True:
            try:
                return process.communicate(timeout=_LOOK)
            except TimeoutExpired:
                told()
    except BaseException:
        process.kill()
        raise
