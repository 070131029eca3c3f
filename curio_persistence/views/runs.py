"""Runs, and what a person reads of one: its history, its steps, how it differs from another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from curio_persistence.capabilities.arguments import checked_run_id
from curio_persistence.capabilities.events import Events
from curio_persistence.capabilities.runs import Runs
from curio_persistence.capabilities.usage import Usage
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.models import AgentRun, Level
from curio_persistence.store.filters import checked_count
from curio_persistence.tables import RUNS

if TYPE_CHECKING:
    from curio_persistence.capabilities.transfers.hashes import RunHash, RunHashes
    from curio_persistence.views.brief import BriefStep
    from curio_persistence.views.comparison import Comparison
    from curio_persistence.views.histories import History
    from curio_persistence.views.minimap import RunOutline
    from curio_persistence.views.step_pages import StepPage
    from curio_persistence.views.steps import Branch, RecordRef, Step

DEEPEST = 50
"""The generations of child runs that are followed; deeper trees are agents in a loop."""


class RunViews(Runs):
    """Create, change, list and delete runs; read one with all that belongs to it.

    What a view needs is imported on use: a program that only records needs none.
    """

    def history(
        self,
        run_id: str,
        *,
        types: Sequence[str] | None = None,
        min_level: str = Level.DEBUG.value,
        limit: int | None = None,
        depth: int = DEEPEST,
        around: RecordRef | None = None,
    ) -> History:
        """Return a run with its events, model calls, scores and child runs.

        `limit` admits the last so many events and model calls of each run, or so many before and
        after the record `around`. `types` admits only events of these types, `min_level` only what
        is at least so severe; what failed is at least a warning. Child runs are followed for
        `depth` generations. Raise NotFoundError if the run, or the record, is not stored.
        """
        if min_level not in [*Level]:
            known = ", ".join(Level)
            raise InvalidValueError(f"min_level is one of {known}.", field="min_level")
        return self._history(
            run_id,
            types=types,
            min_level=min_level,
            limit=None if limit is None else checked_count("limit", limit),
            depth=min(checked_count("depth", depth), DEEPEST),
            around=around,
        )

    @overload
    def steps(
        self,
        run_id: str,
        *,
        only: str | Collection[str] | None = None,
        min_level: str | None = None,
        failed: bool = False,
        text: str | None = None,
        around: RecordRef | str | None = None,
        limit: int | None = 500,
        cursor: str | None = None,
        brief: Literal[True] = True,
    ) -> StepPage[BriefStep]: ...
    @overload
    def steps(
        self,
        run_id: str,
        *,
        only: str | Collection[str] | None = None,
        min_level: str | None = None,
        failed: bool = False,
        text: str | None = None,
        around: RecordRef | str | None = None,
        limit: int | None = 500,
        cursor: str | None = None,
        brief: Literal[False],
    ) -> StepPage[Step]: ...
    def steps(
        self,
        run_id: str,
        *,
        only: str | Collection[str] | None = None,
        min_level: str | None = None,
        failed: bool = False,
        text: str | None = None,
        around: RecordRef | str | None = None,
        limit: int | None = 500,
        cursor: str | None = None,
        brief: bool = True,
    ) -> StepPage[Any]:
        """Return one page of a run's steps by time: events, model calls and child runs.

        A tool call or span is one step, which stands where it began. With `brief` each is a line of
        a list, and the steps of a child run follow the one that it is. A page costs what it has.
        `around` names a step, as `event:7` does: the page has it in its middle.

        `only` admits kinds of steps: `"model"`, `"tool"`, `"span"`, `"run"`, the type of an event,
        or `"event"` for all other types; or several. `min_level` admits what is at least so severe,
        `failed` what failed, `text` what has this text in its words. Raise NotFoundError if the
        run, or the step, is not stored.
        """
        from curio_persistence.views.step_filters import StepFilters
        from curio_persistence.views.step_pages import StepPages, ref_from

        filters = StepFilters.of(only, min_level, failed, text)
        limit = None if limit is None else checked_count("limit", limit)
        ref = None if around is None else ref_from(around)
        where = RUNS.where(run_id=checked_run_id(run_id))
        if not self._store.select_columns(RUNS, ("id",), where):
            self._stored(run_id)  # Raises the error.
        return StepPages(self._store, run_id, filters, brief=brief).page(limit, cursor, ref)

    def outline(self, run_id: str) -> Branch:
        """Return a run as a tree: child runs, spans, tools and model calls, in brief.

        Each stands below the span that it happened in. Raise NotFoundError if the run is not
        stored.
        """
        from curio_persistence.views.steps import outline_of

        return outline_of(self._history(run_id))

    def outline_buckets(self, run_id: str, buckets: int = 240) -> RunOutline:
        """Return a run and its child runs in equal buckets of time, for a picture of all of it.

        There are three lanes: `model`, `tool` and `child`. Raise NotFoundError if the run is not
        stored.
        """
        from curio_persistence.views.minimap import outline_in_buckets

        return outline_in_buckets(self._store, self._stored(run_id), buckets)

    def compare(self, first: str, second: str) -> Comparison:
        """Compare every field of two runs and of all that belongs to them, but ids and times.

        A latency differs where one is twice as long as the other, and a second longer. Raise
        NotFoundError if one of the runs is not stored.
        """
        from curio_persistence.views.comparison import compare

        return compare(self._history(first), self._history(second))

    def hash(self, run_id: str) -> RunHash | None:
        """Return a run's hash, equal wherever the run is equal; None for an unknown run."""
        run_id = checked_run_id(run_id)
        return self.hashes((run_id,)).get(run_id)

    def hashes(self, run_ids: Iterable[str | None] | None = None) -> RunHashes:
        """Return the hash of each run, or of some runs, with its events, model calls and scores.

        None in `run_ids` stands for the model calls without a run.
        """
        from curio_persistence.capabilities.transfers.hashes import hash_runs

        return hash_runs(self._store, run_ids)

    def _history(self, run_id: str, **options: Any) -> History:
        from curio_persistence.capabilities.scores import Scores
        from curio_persistence.views.histories import HistoryOptions, Reader

        run = self._stored(run_id)
        parts = (self._store, self._clock, self._redaction)
        events, usage, scores = Events(*parts), Usage(*parts), Scores(*parts)
        return Reader(self, events, usage, scores, HistoryOptions(**options)).read(run)

    def _stored(self, run_id: str) -> AgentRun:
        run = self.get(run_id)
        if run is None:
            from curio_persistence.capabilities.deletions import where_run_is

            where = where_run_is(self._store, run_id)
            raise NotFoundError(f"{self._store.location} has no run {run_id!r}{where}")
        return run


def stored_run(runs: RunViews, run_id: str) -> AgentRun:
    """Return a run; raise NotFoundError, which names its archive, if it is not stored."""
    return runs._stored(run_id)
