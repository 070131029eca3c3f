"""Bring a database's tables up to date, and refuse those of another program.

`schema/<dialect>/*.sql` are the tables as they are today; `migrations/NNNN_name.sql` are the steps
by which an older database gets there. A step is additive (programs that do not know it still work)
or breaking, as its first line says: `-- additive: …` or `-- breaking: …`.

An index of a table that may hold many rows has a step of its own, `-- additive, concurrent: …`,
with nothing but CREATE INDEX and DROP INDEX statements: PostgreSQL builds it beside writers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from curio_persistence.errors import SchemaMismatchError
from curio_persistence.store.base import HealthCheck
from curio_persistence.store.table import Table
from curio_persistence.tables import ALL_TABLES, EVENTS, RUNS, TABLES, USAGE

MIGRATIONS_TABLE = "schema_migrations"
MIGRATIONS_COLUMNS = frozenset({"version", "name", "kind", "checksum", "applied_at"})
_REGISTRY = "postgres/timed/registry.sql"
SEARCH_TABLES = ("agent_search_documents", "agent_search_state")
VIEWS = ("runs", "llm_calls", "tool_calls", "events")
"""Views for people and other programs; a name that another program has taken is left to it."""
OUR_TABLES = (MIGRATIONS_TABLE, *(table.name for table in ALL_TABLES), *SEARCH_TABLES)

_BY_NAME: Mapping[str, Table[Any]] = {table.name: table for table in TABLES}
_NEEDED: Mapping[str, frozenset[str]] = {
    RUNS.name: frozenset({"id", "agent_id", "run_id"}),
    EVENTS.name: frozenset({"id", "run_id"}),
    USAGE.name: frozenset({"id"}),
}
"""Without which a table of that name is not an original Curio's."""

_INDEX_CHANGE = re.compile(
    r"^(?:CREATE (?:UNIQUE )?|DROP )INDEX (?:\{schema\}\.)?(?P<name>\w+)[^;]*;$", re.MULTILINE
)


class Migration(NamedTuple):
    """One step, as it stands in `schema/<dialect>/migrations/` or, without SQL, in our table."""

    version: int
    name: str
    kind: str
    checksum: str
    sql: str = ""


class Catalog(NamedTuple):
    """The tables of our names in a database, their columns, and the steps applied.

    Without a step the tables are another program's.
    """

    tables: Mapping[str, frozenset[str]]
    applied: tuple[Migration, ...]

    @property
    def version(self) -> int:
        """The newest step; 0 without tables."""
        return max((step.version for step in self.applied), default=0)


def is_original(tables: Mapping[str, frozenset[str]]) -> bool:
    """Return True for tables of an original Curio: with its columns, and none of only ours."""
    return RUNS.name in tables and all(
        name in _NEEDED
        and columns >= _NEEDED[name]
        and columns.isdisjoint(_BY_NAME[name].stored_names - {"id", *_BY_NAME[name].always})
        for name, columns in tables.items()
    )


@cache
def migrations(dialect: str) -> tuple[Migration, ...]:
    """Return every step, oldest first."""
    folder = _folder(dialect) / "migrations"
    return tuple(map(_migration, sorted(folder.glob("*.sql"))))


def _migration(file: Path) -> Migration:
    sql = file.read_text(encoding="utf-8")
    version, _, name = file.name.removesuffix(".sql").partition("_")
    kind = "additive" if sql.startswith("-- additive") else "breaking"
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(int(version), name, kind, checksum, sql)


@cache
def fresh(dialect: str) -> str:
    """Return the statements that make today's tables and views from nothing."""
    tables = (table.ddl for table in ALL_TABLES)
    names = (f"{MIGRATIONS_TABLE}.sql", *tables, "search.sql", "views.sql")
    return "\n".join((_folder(dialect) / name).read_text(encoding="utf-8") for name in names)


@cache
def fresh_timed() -> str:
    """Return the statements that make today's tables in the `timed` layout of PostgreSQL."""
    files = (f"postgres/timed/{EVENTS.ddl}", f"postgres/timed/{USAGE.ddl}", _REGISTRY)
    return "\n".join((fresh("postgres"), *map(_text, files), views("postgres")))


@cache
def fresh_hypertables() -> tuple[str, str]:
    """Return the statements before and after the tables become hypertables of TimescaleDB."""
    files = (f"timescale/{EVENTS.ddl}", f"timescale/{USAGE.ddl}")
    before = "\n".join((fresh("postgres"), *map(_text, files)))
    return before, "\n".join((_text(_REGISTRY), _text("timescale/references.sql")))


def columnstore() -> str:
    """Return the statements that let TimescaleDB compress old chunks."""
    return _text("timescale/columnstore.sql")


def _text(name: str) -> str:
    dialect, _, file = name.partition("/")
    return (_folder(dialect) / file).read_text(encoding="utf-8")


def views(dialect: str) -> str:
    """Return the statements that make the views."""
    return statements(dialect, "views.sql")


def statements(dialect: str, file: str) -> str:
    """Return the statements of a file of a dialect."""
    return (_folder(dialect) / file).read_text(encoding="utf-8")


class IndexChange(NamedTuple):
    """A statement of a concurrent step: it creates or drops the index of that name."""

    name: str
    sql: str
    creates: bool


def is_concurrent(sql: str) -> bool:
    """Return whether a step consists of index statements that run outside of a transaction."""
    return sql.startswith("-- additive, concurrent:")


def index_changes(sql: str) -> list[IndexChange]:
    """Return the statements of a concurrent step."""
    return [
        IndexChange(match["name"], match[0], match[0].startswith("CREATE"))
        for match in _INDEX_CHANGE.finditer(sql)
    ]


@cache
def indexes(dialect: str) -> frozenset[str]:
    """Return the names of all indexes of today's tables."""
    return frozenset(change.name for change in index_changes(fresh(dialect)))


@cache
def indexes_apart(dialect: str) -> tuple[str, str]:
    """Split the statements of `fresh` into those that make tables, and those that make indexes.

    An index of many rows is built in a fraction of the time if the rows are stored first.
    """
    script = fresh(dialect)
    return _INDEX_CHANGE.sub("", script), "\n".join(c.sql for c in index_changes(script))


def _folder(dialect: str) -> Path:
    try:  # Not by `importlib.resources`, whose import takes as long as that of sqlite3.
        [folder, *_] = import_module("curio_persistence.schema").__path__
    except ModuleNotFoundError:  # A plain checkout, not installed.
        return Path(__file__).parents[3] / "schema" / dialect
    return Path(folder) / dialect


def pending(
    catalog: Catalog, dialect: str, location: str, import_command: str
) -> tuple[Migration, ...]:
    """Return the steps from what was found to today's tables, each of them one transaction.

    Raises SchemaMismatchError for tables of another program, a newer breaking schema, or missing
    tables; `import_command` is the advice for tables of an original Curio.
    """
    known = migrations(dialect)
    if not catalog.tables:
        return known
    _refuse_foreign(catalog, location, import_command)
    refuse_newer(catalog, known, location)
    done = {step.version for step in catalog.applied}
    steps = tuple(step for step in known if step.version not in done)
    if not steps:
        _refuse_damaged(catalog, location)
    return steps


def outdated(catalog: Catalog, dialect: str, location: str, command: str) -> SchemaMismatchError:
    """Return the error for a missing step, for callers that may not migrate."""
    wanted = str(migrations(dialect)[-1].version)
    if not catalog.tables:
        found, said = "none", "has no tables of curio_persistence."
    else:
        found = str(catalog.version)
        said = f"has schema version {found}; this curio_persistence works with {wanted}."
    return SchemaMismatchError(f"{location} {said}", found=found, wanted=wanted, command=command)


def check(catalog: Catalog, dialect: str) -> HealthCheck:
    """Check the version of the schema."""
    version = catalog.version
    shipped = {step.version: step.checksum for step in migrations(dialect)}
    altered = [s.name for s in catalog.applied if shipped.get(s.version, s.checksum) != s.checksum]
    if not altered:
        return HealthCheck("schema", "ok", f"version {version}")
    return HealthCheck(
        "schema",
        "warning",
        f"version {version}, but made by other statements than this version ships: "
        + ", ".join(altered),
        f"Compare the tables with schema/{dialect}/*.sql of this version.",
    )


def _refuse_foreign(catalog: Catalog, location: str, import_command: str) -> None:
    if catalog.applied:
        return
    found = ", ".join(sorted(catalog.tables))
    whose = "They belong to another program; nothing was changed. Use another file or schema."
    command = None
    if is_original(catalog.tables):
        whose = "They are those of an original Curio; nothing was changed."
        command = import_command
    raise SchemaMismatchError(
        f"{location} has tables that curio_persistence did not make: {found}. {whose}",
        found=found,
        wanted="no such tables, or those made by curio_persistence",
        command=command,
    )


def refuse_newer(catalog: Catalog, known: tuple[Migration, ...], location: str) -> None:
    versions = {step.version for step in known}
    breaking = [s for s in catalog.applied if s.version not in versions and s.kind != "additive"]
    if not breaking:
        return
    found, wanted = str(breaking[-1].version), str(known[-1].version)
    raise SchemaMismatchError(
        f"{location} has schema version {found} ({breaking[-1].name}), made by a newer "
        f"curio_persistence; this version works with up to {wanted}.",
        found=found,
        wanted=wanted,
        command="pip install --upgrade curio-persistence",
    )


def _refuse_damaged(catalog: Catalog, location: str) -> None:
    missing = [
        f"{table.name}.{column}"
        for table in ALL_TABLES
        for column in sorted(table.stored_names)
        if column not in catalog.tables.get(table.name, ())
    ]
    if missing:
        raise SchemaMismatchError(
            f"{location} says that its schema is current, but lacks {', '.join(missing)}. "
            "Its tables were changed; restore them from a backup.",
            found=f"without {', '.join(missing)}",
            wanted="all columns",
        )
