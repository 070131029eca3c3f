"""The lifecycle of records: how long they are kept, and what outlives them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from itertools import islice
from random import uniform
from threading import Event
from typing import Any

from curio_persistence.capabilities.arguments import check_progress, checked_run_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.lifecycle.expiring import (
    Expiry,
    Pace,
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
from curio_persistence.store.codecs import decode_time
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS

__all__ = ["ExpireReport", "Lifecycle", "RetentionPolicy"]

_EXPIRE = "expire"
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
        if not isinstance(policy, RetentionPolicy):
            raise InvalidValueError(
                f"A policy is a RetentionPolicy, not a {type(policy).__name__}.", field="policy"
            )
        with self._store.transaction():
            self._settings.put("policy", policy.name, policy.to_dict())
            audit(self._store, self._clock, "policy", policy.name, **policy.to_dict())

    def remove_policy(self, name: str) -> bool:
        """Remove a policy; return False if there is none of this name."""
        return self._remove("policy", name)

    def hold(
        self, name: str, *, run_id: str | None = None, tag: str | None = None, reason: str = ""
    ) -> None:
        """Keep a run, or all runs with a tag, and their trees, whatever the policies say.

        Runs on hold can still be deleted one by one, by `delete_agent_run`.
        """
        if (run_id is None) is (tag is None):
            raise InvalidValueError("A hold is of a run_id or of a tag.", field="run_id")
        held = {"run_id": checked_run_id(run_id)} if tag is None else {"tag": _checked_tag(tag)}
        with self._store.transaction():
            self._settings.put("hold", name, {**held, "reason": reason})
            audit(self._store, self._clock, "hold", name, **held, reason=reason)

    def release(self, name: str) -> bool:
        """Remove a hold; return False if there is none of this name."""
        return self._remove("hold", name)

    def holds(self) -> dict[str, dict[str, Any]]:
        """Return the holds by name: each has `run_id` or `tag`, and `reason`."""
        return self._settings.of("hold")

    def _remove(self, kind: str, name: str) -> bool:
        with self._store.transaction():
            removed = self._settings.remove(kind, name)
            if removed:
                audit(self._store, self._clock, f"remove {kind}", name)
        return removed

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
    ) -> ExpireReport:
        """Delete finished runs that no policy keeps, with their events, model calls and scores.

        `older_than`, such as `"90d"`, is the age from a run's end; without it the `policies` given
        decide, or else those that are stored, or else `default`. A run goes together with the runs
        that it started, and only when all of them are finished and old enough. Their numbers stay
        in statistics and totals. Other programs that keep copies find a tombstone for each run.

        The work is done in transactions of some hundred rows. `pace` is the share of the time for
        which other writers may be kept waiting: 1 is as fast as possible. An expiry that was
        killed continues when it is called again; while another program expires, BusyError is
        raised. A database into which nothing was stored for a year is refused, unless
        `check_clock` is False: its clock is probably wrong. With `dry_run` nothing is changed.
        """
        if older_than is not None and policies is not None:
            raise InvalidValueError("Give older_than or policies, not both.", field="older_than")
        if older_than is not None:
            policies = [RetentionPolicy("older_than", older_than)]
        check_progress(progress)
        share = _checked_pace(pace)
        if policies is None:
            policies = self.policies() or list(filter(None, [default]))
        now, holds = self._clock.now(), self._held()
        forest = Forest(self._store, now, policies, holds)
        contents = Forest(
            self._store, now, [p.of_content() for p in policies], holds, _WITH_CONTENT
        )
        report = ExpireReport(dry_run, forest.cutoff)
        if check_clock and (forest.cutoff or contents.cutoff) is not None:
            self._check_clock()
        if dry_run:
            self._plan(forest, report, progress)
            report.stripped = sum(
                len(tree.runs) for tree in contents.expired() if forest.verdict(tree) != "expired"
            )
        else:
            with self._settings.lease(_EXPIRE) as lease:
                self._delete(forest, lease, Pace(share), report, progress)
                stripping = Stripping(self._store, lease, Pace(share))
                for tree in contents.expired():
                    report.stripped += len(tree.runs) if stripping.strip(tree) else 0
            with self._store.transaction():
                audit(self._store, self._clock, _EXPIRE, "", **report.to_dict())
                told = {**report.to_dict(), "ended_at": self._clock.now().isoformat()}
                self._settings.put("report", _EXPIRE, told)
        return report

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
        report = self._settings.of("report").get(_EXPIRE)
        if report is None:
            if not count:
                return HealthCheck("retention", "ok", f"{policies}: runs are kept for ever")
            return HealthCheck("retention", "warning", f"{policies}, but none was used", _ADVICE)
        ended = datetime.fromisoformat(report["ended_at"])
        said = f"{policies}; {report['runs_deleted']:,} runs expired on {ended:%Y-%m-%d %H:%M} UTC"
        if count and self._clock.now() - ended > _LONG_AGO:
            return HealthCheck("retention", "warning", said, _ADVICE)
        return HealthCheck("retention", "ok", said)

    def _plan(self, forest: Forest, report: ExpireReport, progress: Progress | None) -> None:
        """Fill in the report of a dry run."""
        sessions: Counter[str] = Counter()
        for tree, rows in self._counted(forest):
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

    def _delete(
        self,
        forest: Forest,
        lease: Lease,
        pace: Pace,
        report: ExpireReport,
        progress: Progress | None,
    ) -> None:
        """Delete what has expired, and fill in the report."""
        expiry = Expiry(self._store, self._clock, lease, pace, report)
        for tree, rows in self._counted(forest):
            expiry.delete(tree, sum(rows.values()))
            if progress is not None:
                progress(report.runs, None)
        expiry.flush()
        report.held, report.unfinished = forest.held, forest.unfinished
        report.bytes_freed = give_space_back(self._store, pace, lease)

    def _counted(self, forest: Forest) -> Iterator[tuple[Tree, dict[str, int]]]:
        """Yield the expired trees, with the number of rows that each has in other tables."""
        trees = forest.expired()
        while some := list(islice(trees, _AT_ONCE)):
            yield from zip(some, count_rows(self._store, some), strict=True)

    def _held(self) -> Holds:
        holds = self.holds().values()
        return Holds(
            frozenset(hold["run_id"] for hold in holds if "run_id" in hold),
            frozenset(hold["tag"] for hold in holds if "tag" in hold),
        )

    def _check_clock(self) -> None:
        """Refuse to work if the clock is far ahead of all that is stored."""
        newest = max(filter(None, (self._newest(RUNS), self._newest(EVENTS))), default=None)
        now = self._clock.now()
        if newest is not None and now - newest > _JUMP:
            raise UnsupportedError(
                f"Nothing was deleted: the clock says {now:%Y-%m-%d}, but the newest record is of "
                f"{newest:%Y-%m-%d}. Set the clock right; if it is, pass check_clock=False "
                "(--no-clock-check)."
            )

    def _newest(self, table: Table[Any]) -> datetime | None:
        """Return the time of the newest row of a table."""
        newest = (Order(table.ages_by, descending=True), Order("id", descending=True))
        columns = self._store.select(table, order=newest, limit=1)
        stored = columns[table.names.index(table.ages_by)]
        return decode_time(stored[0]) if stored else None


def _checked_pace(pace: Any) -> float:
    if isinstance(pace, bool) or not isinstance(pace, int | float) or not 0 < pace <= 1:
        raise InvalidValueError(f"pace is above 0 and at most 1, not {pace!r}.", field="pace")
    return max(float(pace), _SLOWEST)


def _checked_tag(tag: Any) -> str:
    [*tags] = json.loads(str(RUNS.encode_value("tags", [tag]) or "[]"))
    if len(tags) != 1:
        raise InvalidValueError(f"tag is a text, not {tag!r}.", field="tag")
    return str(tags[0])
