"""Which trees of runs may expire: a run, with all the runs that it started, goes whole or not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from curio_persistence.capabilities.lifecycle.policies import RetentionPolicy, by_rank
from curio_persistence.models import AgentRunStatus
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.query import position_of_last
from curio_persistence.store.table import Columns
from curio_persistence.tables import RUNS

_PAGE = 500
_BY_FINISH = (Order("finished_at"), Order("id"))
_UNFINISHED = (AgentRunStatus.RUNNING.value, AgentRunStatus.PENDING.value)


class Member(NamedTuple):
    """A run of a tree; its times are stored texts, which sort as the times do."""

    run_id: str
    id: int
    parent_run_id: str | None
    agent_id: str
    session_id: str | None
    status: str
    tags: frozenset[str]
    created_at: str
    finished_at: str | None

    @property
    def is_finished(self) -> bool:
        return self.finished_at is not None and self.status not in _UNFINISHED


_AT = [RUNS.names.index(name) for name in Member._fields]
_TAGS = Member._fields.index("tags")


def _members(columns: Columns) -> list[Member]:
    return [_member(values) for values in zip(*(columns[at] for at in _AT), strict=True)]


def _member(values: Sequence[Any]) -> Member:
    tags = frozenset(json.loads(values[_TAGS] or "[]"))
    return Member._make((*values[:_TAGS], tags, *values[_TAGS + 1 :]))


Verdict = Literal["kept", "unfinished", "held", "expired"]


class Tree(NamedTuple):
    """A run that no stored run started, and its descendants."""

    runs: tuple[Member, ...]

    @property
    def root(self) -> Member:
        return self.runs[0]


class Holds(NamedTuple):
    """Legal holds: runs, and tags of runs, that no policy deletes."""

    runs: frozenset[str]
    tags: frozenset[str]

    def keep(self, run: Member) -> bool:
        """Return whether a hold keeps a run."""
        return run.run_id in self.runs or not self.tags.isdisjoint(run.tags)


class Forest:
    """The trees of a database, judged by policies and holds as of one moment."""

    def __init__(
        self,
        store: Store,
        now: datetime,
        policies: Collection[RetentionPolicy],
        holds: Holds,
        where: Where = (),
    ) -> None:
        self._store = store
        self._where = where
        self._now = now
        self._policies = by_rank(policies)
        self._holds = holds
        self._oldest_kept = {p.name: self._oldest_kept_by(p) for p in policies}
        self.held = 0
        """Trees that only a hold keeps, among those walked so far."""
        self.unfinished = 0
        """Trees that are old enough, but have a run that is not finished."""

    @property
    def cutoff(self) -> datetime | None:
        """The time before which a run has finished if it expires; None if none can."""
        by_count = [self._now for policy in self._policies if policy.max_runs is not None]
        ages = [policy.age for policy in self._policies if policy.age is not None]
        return max([*by_count, *(_before(self._now, age) for age in ages)], default=None)

    def expired(self) -> Iterator[Tree]:
        """Yield the trees that neither a policy nor a hold keeps, the first to finish first.

        The caller may delete them meanwhile.
        """
        if self.cutoff is None:
            return
        where = (Filter("finished_at", "<", encode_time(self.cutoff)), *self._where)
        after = None
        while True:
            columns = self._store.select(RUNS, where, order=_BY_FINISH, after=after, limit=_PAGE)
            runs = _members(columns)
            for tree in self._trees_of(runs):
                match self.verdict(tree):
                    case "expired":
                        yield tree
                    case "held":
                        self.held += 1
                    case "unfinished":
                        self.unfinished += 1
            if len(runs) < _PAGE:
                return
            after = position_of_last(RUNS, _BY_FINISH, columns)

    def _trees_of(self, runs: list[Member]) -> Iterator[Tree]:
        """Yield the trees whose roots are among these runs; other trees come with their roots."""
        parents = tuple({run.parent_run_id for run in runs if run.parent_run_id is not None})
        stored = self._run_ids((Filter("run_id", "in", parents),)) if parents else set()
        trees = {run.run_id: [run] for run in runs if run.parent_run_id not in stored}
        root_of = {run_id: run_id for run_id in trees}
        level = list(trees)
        while level:
            where = (Filter("parent_run_id", "in", tuple(level)),)
            children = map(_member, self._store.select_columns(RUNS, Member._fields, where))
            level = []
            for child in children:
                if child.run_id not in root_of:
                    root_of[child.run_id] = root_of[str(child.parent_run_id)]
                    trees[root_of[child.run_id]].append(child)
                    level.append(child.run_id)
        return (Tree(tuple(tree)) for tree in trees.values())

    def _run_ids(self, where: tuple[Filter, ...]) -> set[str]:
        return {run_id for (run_id,) in self._store.select_columns(RUNS, ("run_id",), where)}

    def verdict(self, tree: Tree) -> Verdict:
        """Return what becomes of a tree, and why it is kept although no policy keeps it."""
        policy = next((each for each in self._policies if _fits(each, tree.root)), None)
        if policy is None or not self._is_over(policy, tree):
            return "kept"
        if not all(run.is_finished for run in tree.runs):
            return "unfinished"
        return "held" if any(map(self._holds.keep, tree.runs)) else "expired"

    def _is_over(self, policy: RetentionPolicy, tree: Tree) -> bool:
        """Return whether a policy does not keep a tree any more."""
        if policy.age is not None:
            cutoff = encode_time(_before(self._now, policy.age))
            if all((run.finished_at or "") < cutoff for run in tree.runs):
                return True
        return (tree.root.created_at, tree.root.id) < self._oldest_kept[policy.name]

    def _oldest_kept_by(self, policy: RetentionPolicy) -> tuple[str, int]:
        """Return creation time and id of the oldest run that the policy's `max_runs` keeps."""
        left = policy.max_runs
        if left is None:
            return ("", 0)
        if left == 0:
            return ("~", 0)  # After every time.
        after = None
        while True:
            columns = self._store.select(RUNS, after=after, limit=_PAGE)
            runs = _members(columns)
            for run in runs:
                if run.parent_run_id is None and _fits(policy, run):
                    left -= 1
                    if left == 0:
                        return (run.created_at, run.id)
            if len(runs) < _PAGE:
                return ("", 0)
            after = position_of_last(RUNS, RUNS.order, columns)


def unchanged(store: Store, trees: Sequence[Tree]) -> list[Tree]:
    """Return the trees that no program has changed since they were read."""
    ids = tuple(run.run_id for tree in trees for run in tree.runs)
    of_these = (Filter("run_id", "in", ids),)
    now = set(store.select_columns(RUNS, ("run_id", "status", "finished_at"), of_these))
    started = (Filter("parent_run_id", "in", ids),)
    children = store.select_columns(RUNS, ("parent_run_id", "run_id"), started)
    known = set(ids)
    grown = {parent for parent, run_id in children if run_id not in known}
    return [
        tree
        for tree in trees
        if all((run.run_id, run.status, run.finished_at) in now for run in tree.runs)
        and grown.isdisjoint(run.run_id for run in tree.runs)
    ]


def _fits(policy: RetentionPolicy, run: Member) -> bool:
    return policy.fits(run.agent_id, run.status, run.tags)


def _before(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
