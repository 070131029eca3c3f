"""The same work by hand: what a programmer would write without a library.

No checks, no pool, no locks, no error handling: one open connection, constant statement texts,
and for statistics the fastest statements found on these tables and indexes.
"""

from benchmarks.raw.postgres import RawPostgres
from benchmarks.raw.sqlite import RawSQLite

__all__ = ["RawPostgres", "RawSQLite"]
