"""The lifecycle of records: how long they are kept, and what outlives them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Event
from typing import Any

from curio_persistence.capabilities.arguments import check_progress
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.lifecycle.checking import check_clock as check_clock_of
from curio_persistence.capabilities.lifecycle.checking import check_rounds
from curio_persistence.capabilities.lifecycle.expiring import (
    Archiver,
    Expiry,
    Steps,
)
from curio_persistence.capabilities.lifecycle.loose import loose_calls, loose_spans
from curio_persistence.capabilities.lifecycle.months import Months
from curio_persistence.capabilities.lifecycle.planning import plan_rest, plan_trees
from curio_persistence.capabilities.lifecycle.policies import RetentionPolicy
from curio_persistence.capabilities.lifecycle.report import ExpireReport
from curio_persistence.capabilities.lifecycle.rounds import (
    Rounds,
    Schedule,
    log_failure,
    schedule_of,
)
from curio_persistence.capabilities.lifecycle.rules import Rules, checked_policies
from curio_persistence.capabilities.lifecycle.settings import Lease
from curio_persistence.capabilities.lifecycle.sizes import Sizes
from curio_persistence.capabilities.lifecycle.stripping import Stripping, with_content
from curio_persistence.capabilities.lifecycle.trees import Counted, Forest, counted
from curio_persistence.capabilities.search.indexing import Indexing
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConfigurationError,
    InvalidValueError,
    PersistenceError,
)
from curio_persistence.progress import Progress
from curio_persistence.store.base import HealthCheck
from curio_persistence.store.filters import checked_count
from curio_persistence.tables import RUNS

__all__ = ["EXPIRING", "ExpireReport", "Lifecycle", "RetentionPolicy"]

EXPIRING = "expire"
_ARCHIVED = 100_000
"""About how many rows are archived together; their bytes do not have to fit into memory."""
_SLOWEST = 0.001
_DAY = timedelta(days=1)
_LEAST_LEFT, _MOST_LEFT = 0.02, 0.1
"""The share of empty pages that is left to the records of the next day."""


class Lifecycle(Rules):
    """Policies and legal holds, stored in the database; and the deletion of what they let go."""

    def expire(
        self,
        older_than: timedelta | str | None = None,
        *,
        policies: Collection[RetentionPolicy] | None = None,
        default: RetentionPolicy | None = None,
        dry_run: bool = False,
        pace: float = 0.05,
        check_clock: bool = True,
        allow_all: bool = True,
        progress: Progress | None = None,
        archiver: Archiver | None = None,
    ) -> ExpireReport:
        """Delete finished runs that no policy keeps, with all that belongs to them.

        `older_than`, such as `"90d"`, is the age from a run's end; without it the `policies` given
        decide, or else those that are stored, or else `default`. A run goes together with the runs
        that it started, and only when all of them are finished and old enough. Model calls that
        belong to no run go by their own age. The numbers of all stay in statistics and totals, and
        a tombstone tells programs that keep copies of each run.

        The work is done in small transactions. `pace` is the share of the time for which other
        writers may be kept waiting: 1 is as fast as possible; on PostgreSQL they need not wait. An
        expiry that was killed continues when it is called again; while another program expires,
        BusyError is raised. A database into which nothing was stored for a year is refused, unless
        `check_clock` is False: its clock is probably wrong. So is an expiry of all runs without
        `allow_all`. With `dry_run` nothing is changed. An `archiver` stores runs before they are
        deleted, and nothing else is deleted then; see `archive_runs`.
        """
        check_progress(progress)
        share, chosen = _checked_pace(pace), self._chosen(older_than, policies, default)
        if check_clock and any(policy.expires for policy in chosen):
            check_clock_of(self._store, self._clock)
        sizes = Sizes(self._store)
        if any(policy.most_bytes is not None for policy in chosen):
            _ = sizes.used  # Before anything is stored, so that a dry run finds the same.
        if dry_run:
            return self._plan(chosen, sizes, progress, archiver)
        with self._settings.lease(EXPIRING) as lease:
            forest = self._forest(chosen, sizes, lease.keep)
            if not allow_all and forest.takes_all():
                raise self._refusal()
            with self._store.transaction():
                self._audit("begin expiry", policies=[policy.to_dict() for policy in chosen])
            return self._expire(chosen, forest, lease, share, progress, archiver)

    def _expire(
        self,
        policies: list[RetentionPolicy],
        forest: Forest,
        lease: Lease,
        share: float,
        progress: Progress | None,
        archiver: Archiver | None,
    ) -> ExpireReport:
        """Delete the records that no policy keeps, and store the report."""
        store, report = self._store, ExpireReport(dry_run=False, cutoff=forest.cutoff)
        steps = Steps(store, lease, share, self._share_left(report.cutoff))
        expiry = Expiry(store, self._clock, forest, steps, report, archiver)
        if archiver is None:
            Months(store, self._clock.now(), forest, expiry).empty()
        for group in self._groups(forest, archiver, lease):
            self._delete(group, expiry, report, progress)
        report.held, report.unfinished = forest.held, forest.unfinished
        if archiver is None:
            for where in loose_calls(store, forest):
                expiry.delete_calls(where)
            for where in loose_spans(store, forest):
                expiry.delete_spans(where)
            self._strip(policies, steps, lease, report)
        report.archived = 0 if archiver is None else report.runs
        self._finish(steps, report)
        return report

    def apply_retention(
        self,
        max_age_days: int = 90,
        *,
        dry_run: bool = False,
        pace: float = 0.05,
        check_clock: bool = True,
        progress: Progress | None = None,
    ) -> ExpireReport:
        """Delete finished runs older than so many days, as `expire` does; 0 keeps all for ever."""
        days = checked_count("max_age_days", max_age_days)
        policies = [RetentionPolicy("max_age_days", checked_length("max_age_days", f"{days}d"))]
        return self.expire(
            policies=policies if days else [],
            dry_run=dry_run,
            pace=pace,
            check_clock=check_clock,
            progress=progress,
        )

    def vacuum(
        self,
        hot_days: int = 7,
        max_disk_mb: int | None = None,
        *,
        dry_run: bool = False,
        pace: float = 0.05,
        check_clock: bool = True,
        progress: Progress | None = None,
    ) -> ExpireReport:
        """Delete finished runs older than so many days, and more if the database is larger.

        That is one policy, `keep` and `max_bytes`, in place of those that are stored.
        """
        days = checked_count("hot_days", hot_days)
        megabytes = None if max_disk_mb is None else checked_count("max_disk_mb", max_disk_mb)
        policy = RetentionPolicy(
            "vacuum",
            keep=checked_length("hot_days", f"{days}d"),
            max_bytes=None if megabytes is None else megabytes * 1_000_000,
        )
        return self.expire(
            policies=[policy],
            dry_run=dry_run,
            pace=pace,
            check_clock=check_clock,
            progress=progress,
        )

    def _finish(self, steps: Steps, report: ExpireReport) -> None:
        """Return space to the disk, make partitions for the next records, and store the report."""
        self._store.sweep_texts()
        with suppress(BusyError, AccessDeniedError):
            self._store.prepare_times()
        report.bytes_freed = steps.give_space_back()
        report.advice = self._store.advice_on_space() if report.runs else ""
        with steps.transaction():
            self._audit("end expiry", **report.to_dict())
            told = {**report.to_dict(), "ended_at": self._clock.now().isoformat()}
            self._settings.put("report", EXPIRING, told)

    def _audit(self, action: str, **details: Any) -> None:
        audit(self._store, self._clock, action, "", "runs", **details)

    def _chosen(
        self,
        older_than: timedelta | str | None,
        policies: Collection[RetentionPolicy] | None,
        default: RetentionPolicy | None,
    ) -> list[RetentionPolicy]:
        """Return the policies by which to expire."""
        if older_than is not None and policies is not None:
            raise InvalidValueError("Give older_than or policies, not both.", field="older_than")
        if older_than is not None:
            return [RetentionPolicy("older_than", older_than)]
        if policies is not None:
            return checked_policies(policies)
        return self.policies() or checked_policies([] if default is None else [default])

    def _refusal(self) -> ConfigurationError:
        return ConfigurationError(
            f"Nothing was deleted: the policies let all {self._store.count(RUNS):,} runs of "
            f"{self._store.location} go. If that is right, pass allow_all=True (--yes)."
        )

    def _share_left(self, cutoff: datetime | None) -> float:
        """Return the share of empty pages that about a day's records need."""
        days = 0 if cutoff is None else (self._clock.now() - cutoff) // _DAY
        return min(max(1 / (days or 1), _LEAST_LEFT), _MOST_LEFT)

    def _forest(
        self,
        policies: list[RetentionPolicy],
        sizes: Sizes,
        on_page: Callable[[], object] = lambda: None,
    ) -> Forest:
        return Forest(self._store, self._clock.now(), policies, self._held, sizes, on_page)

    def _forest_of_content(
        self, policies: list[RetentionPolicy], on_page: Callable[[], object] = lambda: None
    ) -> Forest:
        of_content = [policy.of_content() for policy in policies]
        return self._forest(of_content, Sizes(self._store), on_page)

    def _plan(
        self,
        policies: list[RetentionPolicy],
        sizes: Sizes,
        progress: Progress | None,
        archiver: Archiver | None,
    ) -> ExpireReport:
        """Return the report of a dry run."""
        report, forest = ExpireReport(dry_run=True), self._forest(policies, sizes)
        plan_trees(self._store, forest, report, progress)
        if archiver is None:
            plan_rest(self._store, forest, self._forest_of_content(policies), report)
        report.archived = 0 if archiver is None else report.runs
        return report

    def _delete(
        self,
        group: Iterable[Counted],
        expiry: Expiry,
        report: ExpireReport,
        progress: Progress | None,
    ) -> None:
        """Delete the trees of a group."""
        for tree, rows in group:
            expiry.delete(tree, sum(rows.values()))
            if progress is not None:
                progress(report.runs, None)
        expiry.flush()

    def _groups(
        self, forest: Forest, archiver: Archiver | None, lease: Lease
    ) -> Iterator[Iterable[Counted]]:
        """Yield the expired trees; with an archiver, in groups that are in the archive."""
        if archiver is None:
            yield counted(self._store, forest.expired())
            return
        left = forest.rooted_in(archiver.unfinished())
        expired = (tree for tree in left if forest.verdict(tree) == "expired")
        yield counted(self._store, expired)
        archiver.done()
        trees = counted(self._store, forest.expired())
        while group := list(_of_size(trees, _ARCHIVED)):
            archiver.store([tree for tree, _ in group], lease)
            yield group
            archiver.done()

    def _strip(
        self,
        policies: list[RetentionPolicy],
        steps: Steps,
        lease: Lease,
        report: ExpireReport,
    ) -> None:
        """Remove the texts of trees that are old enough."""
        forest = self._forest_of_content(policies, lease.keep)
        stripping = Stripping(self._store, self._clock, forest, steps)
        for tree in with_content(forest):
            report.stripped += len(tree.runs) if stripping.strip(tree) else 0

    # --- rounds -------------------------------------------------------------------------------

    def run_forever(
        self,
        every: timedelta | str = "1d",
        *,
        default: RetentionPolicy | None = None,
        pace: float = 0.05,
        archive: Callable[[], ExpireReport] | None = None,
        allow_all: bool = False,
        stop: Event | None = None,
        on_round: Callable[[ExpireReport | PersistenceError], object] | None = None,
    ) -> None:
        """Expire again and again, until the event `stop` is set.

        A round begins `every` so often, or up to a tenth earlier. Several programs may do so for
        one database: each round is done by one of them. `archive` is called first in each, such as
        `partial(archive_runs, persistence, "s3://bucket/prefix", older_than="7d")`; if it fails,
        nothing expires. `on_round` is called with the report of each round, or with the error that
        ended it, which is logged otherwise; the next round tries again.
        """
        period = checked_length("every", every)
        if not period:
            raise InvalidValueError("every is longer than no time.", field="every")
        stop, rounds = stop or Event(), Rounds(self._settings, self._clock, period)

        def work() -> ExpireReport:
            moved = None if archive is None else archive()
            report = self.expire(default=default, pace=pace, allow_all=allow_all)
            self._tidy_index()
            return report if moved is None else moved + report

        with rounds.planned():
            while not stop.is_set():
                outcome = rounds.do(work)
                (on_round or log_failure)(outcome)
                if not stop.is_set():
                    rounds.wait(stop)

    def _tidy_index(self) -> None:
        """Make the search index anew if most of it is words of records that expired."""
        indexing = Indexing(self._store)
        if indexing.is_mostly_forgotten():
            with suppress(BusyError):  # Another program is indexing: the next round tries again.
                indexing.clear()
                indexing.index_pending()

    def schedule(self) -> Schedule:
        """Return when runs last expired, when they will, and why the last round failed."""
        return schedule_of(self._settings, EXPIRING)

    def check(self) -> HealthCheck:
        """Return what policies there are, when runs last expired, and when they will."""
        return check_rounds(self._settings, self._clock, EXPIRING)


def _of_size(trees: Iterator[Counted], rows: int) -> Iterator[Counted]:
    """Yield trees until they have so many rows."""
    for tree, counts in trees:
        yield tree, counts
        rows -= sum(counts.values()) + len(tree.runs)
        if rows <= 0:
            return


def _checked_pace(pace: Any) -> float:
    if isinstance(pace, bool) or not isinstance(pace, int | float) or not 0 < pace <= 1:
        raise InvalidValueError(f"pace is above 0 and at most 1, not {pace!r}.", field="pace")
    return max(float(pace), _SLOWEST)
