"""The lifecycle of records: how long they are kept, and what outlives them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from random import uniform
from threading import Event
from typing import Any

from curio_persistence.capabilities.arguments import check_progress, checked_run_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.lifecycle.expiring import (
    Archiver,
    Expiry,
    Steps,
    count_rows,
    give_space_back,
    runs_of_sessions,
)
from curio_persistence.capabilities.lifecycle.policies import RetentionPolicy
from curio_persistence.capabilities.lifecycle.report import ExpireReport
from curio_persistence.capabilities.lifecycle.settings import Lease, Settings
from curio_persistence.capabilities.lifecycle.stripping import Stripping
from curio_persistence.capabilities.lifecycle.trees import Forest, Holds, Tree
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    InvalidValueError,
    PersistenceError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.progress import Progress
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

__all__ = ["EXPIRING", "ExpireReport", "Lifecycle", "RetentionPolicy"]

EXPIRING = "expire"
Counted = tuple[Tree, dict[str, int]]
"""A tree, and the number of rows that it has in other tables."""

_ARCHIVED = 20_000
"""About how many rows are archived together."""
_AT_ONCE = 100
"""The trees, or sessions, whose rows are counted by one query."""
_SLOWEST = 0.001
_LONG_AGO = timedelta(days=7)
_ADVICE = "To expire runs each day: curio-persistence lifecycle"
_WITH_CONTENT = (Filter("stripped", "is null"),)
_JUMP = timedelta(days=366)
"""A database that stored nothing for longer than this was rather opened with a wrong clock."""


class Lifecycle(Capability):
    """Policies and legal holds, stored in the database; and the deletion of what they let go."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, clock)
        self._settings = Settings(store, clock)

    # --- policies and holds -------------------------------------------------------------------

    def policies(self) -> list[RetentionPolicy]:
        """Return the stored policies, in the order in which they were made."""
        return [
            RetentionPolicy.from_dict({**settings, "name": name})
            for name, settings in self._settings.of("policy").items()
        ]

    def set_policy(self, policy: RetentionPolicy) -> None:
        """Store a policy in place of an earlier one of its name."""
        [policy] = _checked_policies([policy])
        with self._settings.changing():
            self._settings.put("policy", policy.name, policy.to_dict())
            audit(self._store, self._clock, "set policy", policy.name, **policy.to_dict())

    def remove_policy(self, name: str) -> bool:
        """Remove a policy; return False if there is none of this name."""
        return self._remove("policy", name)

    def hold(
        self, name: str, *, run_id: str | None = None, tag: str | None = None, reason: str = ""
    ) -> None:
        """Keep a run, or all runs with a tag, and their trees, whatever the policies say.

        What is held under one name adds up. Runs on hold can still be deleted one by one, by
        `delete_agent_run`.
        """
        if (run_id is None) is (tag is None):
            raise InvalidValueError("A hold is of a run_id or of a tag.", field="run_id")
        if not isinstance(name, str) or not name or not isinstance(reason, str):
            raise InvalidValueError("A hold has a name, and its reason is a text.", field="name")
        runs = [] if run_id is None else [checked_run_id(run_id)]
        tags = [] if tag is None else [_checked_tag(tag)]
        with self._settings.changing():
            known = self.holds().get(name, {"run_ids": [], "tags": [], "reason": ""})
            held = {
                "run_ids": sorted({*known["run_ids"], *runs}),
                "tags": sorted({*known["tags"], *tags}),
                "reason": reason or known["reason"],
            }
            self._settings.put("hold", name, held)
            audit(self._store, self._clock, "hold", name, **held)

    def release(self, name: str) -> bool:
        """Remove a hold; return False if there is none of this name."""
        return self._remove("hold", name)

    def holds(self) -> dict[str, dict[str, Any]]:
        """Return the holds by name: each has `run_ids`, `tags` and a `reason`."""
        return self._settings.of("hold")

    def _remove(self, kind: str, name: str) -> bool:
        with self._settings.changing():
            removed = self._settings.remove(kind, name)
            if removed:
                action = "release" if kind == "hold" else f"remove {kind}"
                audit(self._store, self._clock, action, name)
        return removed

    def _held(self) -> Holds:
        holds = self.holds().values()
        return Holds(
            frozenset(run_id for hold in holds for run_id in hold["run_ids"]),
            frozenset(tag for hold in holds for tag in hold["tags"]),
        )

    # --- expiring -----------------------------------------------------------------------------

    def expire(
        self,
        older_than: timedelta | str | None = None,
        *,
        policies: Collection[RetentionPolicy] | None = None,
        default: RetentionPolicy | None = None,
        dry_run: bool = False,
        pace: float = 0.05,
        check_clock: bool = True,
        progress: Progress | None = None,
        archiver: Archiver | None = None,
    ) -> ExpireReport:
        """Delete finished runs that no policy keeps, with their events, model calls and scores.

        `older_than`, such as `"90d"`, is the age from a run's end; without it the `policies` given
        decide, or else those that are stored, or else `default`. A run goes together with the runs
        that it started, and only when all of them are finished and old enough. Model calls that
        belong to no run go by their own age. The numbers of all stay in statistics and totals, and
        a tombstone tells programs that keep copies of each run.

        The work is done in transactions of some hundred rows. `pace` is the share of the time for
        which other writers may be kept waiting: 1 is as fast as possible. An expiry that was
        killed continues when it is called again; while another program expires, BusyError is
        raised. A database into which nothing was stored for a year is refused, unless
        `check_clock` is False: its clock is probably wrong. With `dry_run` nothing is changed.
        An `archiver` stores runs before they are deleted, and nothing else then; see
        `archive_runs`.
        """
        check_progress(progress)
        share, chosen = _checked_pace(pace), self._chosen(older_than, policies, default)
        report = ExpireReport(dry_run)
        if check_clock and any(policy.expires for policy in chosen):
            self._check_clock()
        if dry_run:
            forest = self._forest(chosen)
            self._plan(forest, report, progress)
            if archiver is None:
                self._plan_rest(forest, chosen, report)
            return report
        with self._settings.lease(EXPIRING) as lease:
            self._audit(policies=[policy.to_dict() for policy in chosen])
            steps = Steps(self._store, lease, share)
            forest = self._forest(chosen, lease.keep)
            report.cutoff = forest.cutoff
            expiry = Expiry(self._store, self._clock, forest, steps, report, archiver)
            for group in self._groups(forest, archiver, lease):
                self._delete(group, expiry, report, progress)
            report.held, report.unfinished = forest.held, forest.unfinished
            if archiver is None:
                for where in self._loose_calls(forest):
                    expiry.delete_calls(where)
                self._strip(chosen, steps, lease, report)
            report.bytes_freed = give_space_back(self._store, steps)
            with steps.transaction():
                self._audit(**report.to_dict())
                told = {**report.to_dict(), "ended_at": self._clock.now().isoformat()}
                self._settings.put("report", EXPIRING, told)
        return report

    def _audit(self, **details: Any) -> None:
        audit(self._store, self._clock, EXPIRING, "", **details)

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
            return _checked_policies(policies)
        return self.policies() or _checked_policies([] if default is None else [default])

    def _forest(
        self, policies: list[RetentionPolicy], on_page: Callable[[], object] = lambda: None
    ) -> Forest:
        return Forest(self._store, self._clock.now(), policies, self._held, on_page)

    def _plan(self, forest: Forest, report: ExpireReport, progress: Progress | None) -> None:
        """Fill in the report of a dry run."""
        report.cutoff = forest.cutoff
        sessions: Counter[str] = Counter()
        for tree, rows in self._counted(forest.expired()):
            report.trees += 1
            report.runs += len(tree.runs)
            report.events += rows["events"]
            report.usage += rows["usage"]
            report.scores += rows["scores"]
            sessions.update(run.session_id for run in tree.runs if run.session_id is not None)
            if progress is not None:
                progress(report.runs, None)
        names = iter(sessions)
        while some := list(islice(names, _AT_ONCE)):
            stored = runs_of_sessions(self._store, some)
            report.sessions += sum(stored.get(name) == sessions[name] for name in some)
        report.held, report.unfinished = forest.held, forest.unfinished

    def _plan_rest(
        self, forest: Forest, policies: list[RetentionPolicy], report: ExpireReport
    ) -> None:
        """Add to the report of a dry run what is deleted besides trees."""
        calls = (self._store.count(USAGE, where) for where in self._loose_calls(forest))
        report.usage += sum(calls)
        contents = self._forest([policy.of_content() for policy in policies])
        report.stripped = sum(
            len(tree.runs)
            for tree in _each_once(contents.expired(_WITH_CONTENT, climb=True))
            if forest.verdict(tree) != "expired"
        )

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
            yield self._counted(forest.expired())
            return
        left = forest.rooted_in(archiver.unfinished())
        yield self._counted(tree for tree in left if forest.verdict(tree) == "expired")
        archiver.done()
        trees = self._counted(forest.expired())
        while group := list(_of_size(trees, _ARCHIVED)):
            archiver.store([tree for tree, _ in group], lease)
            yield group
            archiver.done()

    def _counted(self, trees: Iterable[Tree]) -> Iterator[Counted]:
        """Yield trees, with the number of rows that each has in other tables."""
        trees = iter(trees)
        while some := list(islice(trees, _AT_ONCE)):
            yield from zip(some, count_rows(self._store, some), strict=True)

    def _loose_calls(self, forest: Forest) -> Iterator[Where]:
        """Yield filters for the expired model calls that belong to no run, agent by agent."""
        if forest.cutoff is None:
            return
        loose = (Filter("run_id", "is null"),)
        for (agent_id,) in self._store.aggregate(USAGE, (), loose, group_by=("agent_id",)):
            if (cutoff := forest.cutoff_of_calls(agent_id)) is not None:
                agent = Filter("agent_id", "is null" if agent_id is None else "=", agent_id)
                yield (*loose, agent, Filter("created_at", "<", cutoff))

    def _strip(
        self,
        policies: list[RetentionPolicy],
        steps: Steps,
        lease: Lease,
        report: ExpireReport,
    ) -> None:
        """Remove the texts of trees that are old enough."""
        forest = self._forest([policy.of_content() for policy in policies], lease.keep)
        stripping = Stripping(self._store, forest, steps)
        for tree in _each_once(forest.expired(_WITH_CONTENT, climb=True)):
            report.stripped += len(tree.runs) if stripping.strip(tree) else 0

    def run_forever(
        self,
        every: timedelta | str = "1d",
        *,
        default: RetentionPolicy | None = None,
        pace: float = 0.05,
        stop: Event | None = None,
        on_round: Callable[[ExpireReport | PersistenceError], object] | None = None,
    ) -> None:
        """Expire again and again, until the event `stop` is set.

        A round begins `every` so often, or up to a tenth earlier, so that many programs do not
        begin at once. Of several programs one works at a time. `on_round` is called with the report
        of each round, or with the error that ended it, after which the next round tries again.
        """
        period = checked_length("every", every)
        if not period:
            raise InvalidValueError("every is longer than no time.", field="every")
        stop = stop or Event()
        while not stop.is_set():
            try:
                outcome: ExpireReport | PersistenceError = self.expire(default=default, pace=pace)
            except (UnavailableError, UnsupportedError, StorageFullError) as error:
                outcome = error
            if on_round is not None:
                on_round(outcome)
            stop.wait(period.total_seconds() * uniform(0.9, 1))

    def check(self) -> HealthCheck:
        """Return what policies there are, and when runs last expired."""
        count = len(self._settings.of("policy"))
        policies = f"{count:,} policies" if count else "no policy is stored"
        report = self._settings.of("report").get(EXPIRING)
        if report is None:
            if not count:
                return HealthCheck("retention", "ok", f"{policies}: runs are kept for ever")
            return HealthCheck("retention", "warning", f"{policies}, but none was used", _ADVICE)
        ended = datetime.fromisoformat(report["ended_at"])
        said = f"{policies}; {report['runs_deleted']:,} runs expired on {ended:%Y-%m-%d %H:%M} UTC"
        if count and self._clock.now() - ended > _LONG_AGO:
            return HealthCheck("retention", "warning", said, _ADVICE)
        return HealthCheck("retention", "ok", said)

    def _check_clock(self) -> None:
        """Refuse to work if the clock is far ahead of all that is stored."""
        newest = max(
            filter(None, (self._newest(RUNS), self._newest(EVENTS), self._newest(USAGE))),
            default=None,
        )
        now = self._clock.now()
        if newest is not None and now - newest > _JUMP:
            raise UnsupportedError(
                f"Nothing was deleted: the clock says {now:%Y-%m-%d}, but the newest record is of "
                f"{newest:%Y-%m-%d}. Set the clock right; if it is, pass check_clock=False "
                "(--no-clock-check)."
            )

    def _newest(self, table: Table[Any]) -> datetime | None:
        """Return the time of the newest row of a table that is older than a day.

        Newer ones may have been stored under a wrong clock already.
        """
        yesterday = encode_time(self._clock.now() - timedelta(days=1))
        newest = (Order(table.ages_by, descending=True), Order("id", descending=True))
        old = (Filter(table.ages_by, "<", yesterday),)
        columns = self._store.select(table, old, order=newest, limit=1)
        stored = columns[table.names.index(table.ages_by)]
        return decode_time(stored[0]) if stored else None


def _of_size(trees: Iterator[Counted], rows: int) -> Iterator[Counted]:
    """Yield trees until they have so many rows."""
    for tree, counts in trees:
        yield tree, counts
        rows -= sum(counts.values()) + len(tree.runs)
        if rows <= 0:
            return


def _each_once(trees: Iterable[Tree]) -> Iterator[Tree]:
    """Yield trees that may be found by several of their runs."""
    seen: set[int] = set()
    for tree in trees:
        if tree.root.id not in seen:
            seen.add(tree.root.id)
            yield tree


def _checked_policies(policies: Any) -> list[RetentionPolicy]:
    found = list(policies) if isinstance(policies, Iterable) else [policies]
    for policy in found:
        if not isinstance(policy, RetentionPolicy):
            raise InvalidValueError(
                f"A policy is a RetentionPolicy, not a {type(policy).__name__}.", field="policies"
            )
    return found


def _checked_pace(pace: Any) -> float:
    if isinstance(pace, bool) or not isinstance(pace, int | float) or not 0 < pace <= 1:
        raise InvalidValueError(f"pace is above 0 and at most 1, not {pace!r}.", field="pace")
    return max(float(pace), _SLOWEST)


def _checked_tag(tag: Any) -> str:
    [*tags] = json.loads(str(RUNS.encode_value("tags", [tag]) or "[]"))
    if len(tags) != 1:
        raise InvalidValueError(f"tag is a text, not {tag!r}.", field="tag")
    return str(tags[0])
