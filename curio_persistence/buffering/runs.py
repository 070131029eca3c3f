"""Begin and end recorded runs by rows that were queued in the meantime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from curio_persistence.capabilities.runs import Runs
from curio_persistence.errors import ConflictError
from curio_persistence.models import AgentRun
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row
from curio_persistence.tables import RUNS


class QueuedRuns(Runs):
    """Runs of the store behind the queue."""

    def dated_row(self, run: AgentRun) -> Row:
        """Return the row of a run as it is now, with its times, which the record gets as well."""
        row = self._encode(run)
        now = self._clock.stamp(run.run_id)
        row["created_at"] = row["created_at"] or encode_time(now)
        row["updated_at"] = encode_time(now)
        with suppress(AttributeError):  # The run is frozen.
            run.created_at, run.updated_at = run.created_at or now, now
        return row

    def create_rows(self, rows: Sequence[Row]) -> None:
        """Store new runs by their dated rows, all or none."""
        try:
            self._store.insert_many(RUNS, rows)
        except ConflictError:
            with self._store.transaction():
                for row in rows:
                    self._create_row(row)

    def _create_row(self, row: Row) -> None:
        if not self._fill_stub_with(row):
            self._store.insert(RUNS, row)

    def replace_rows(self, rows: Sequence[Row]) -> None:
        """Replace runs by their dated rows, and store those that are missing, all or none.

        A run of the same id that began at another time is another agent's: ConflictError.
        """
        with self._store.transaction():
            for row in rows:
                self._replace_row(row)

    def _replace_row(self, row: Row) -> None:
        changes: Row = {**row, "stub": None}
        where = RUNS.where(run_id=changes.pop("run_id"))
        created = Filter("created_at", "=", changes.pop("created_at"))
        if not self._store.update(RUNS, (*where, created), changes):
            self._create_row(row)
