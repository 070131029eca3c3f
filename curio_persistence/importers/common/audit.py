"""The line of the audit log about an import: from where, and how much came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curio_persistence.capabilities.deletions import audit_reading
from curio_persistence.errors import PersistenceError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.report import ReportBuilder

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence


@contextmanager
def audited(
    persistence: Persistence | None, kind: str, source: Any, report: ReportBuilder
) -> Iterator[None]:
    """Add a line after an import, also after one that failed when a part of it was stored.

    Without a persistence, as in a dry run, there is none.
    """
    if persistence is None:
        yield
        return
    checked_persistence(persistence)
    where = "an open file" if hasattr(source, "readline") else str(Path(source).absolute())
    try:
        yield
    except BaseException:
        counts = _counts(report)
        with suppress(PersistenceError):  # The import itself says what failed.
            if any(counts.values()):
                log_import(persistence, kind, where, counts)
        raise
    log_import(persistence, kind, where, _counts(report))


def log_import(persistence: Persistence, kind: str, where: str, counts: Mapping[str, int]) -> None:
    """Add a line, where one can be written; see `audit_reading`."""
    come = {name: number for name, number in counts.items() if number}
    audit_reading(persistence._store, persistence.clock, "import", where, "file", kind=kind, **come)


def _counts(report: ReportBuilder) -> Mapping[str, int]:
    done = report.build(dry_run=False)
    numbers = {name: n for name, n in done.to_dict().items() if type(n) is int}
    problems = len(done.problems) + numbers.pop("more_problems")
    return {**numbers, **done.also, "problems": problems}
