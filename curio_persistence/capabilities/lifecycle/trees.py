"""Which trees of runs may expire: a run, with all the runs that it started, goes whole or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, NamedTuple

from curio_persistence.capabilities.lifecycle.policies import UNFINISHED, RetentionPolicy
from curio_persistence.capabilities.lifecycle.sizes import Sizes
from curio_persistence.capabilities.transfers.kinds import KINDS_BESIDE_RUNS
from curio_persistence.capabilities.windows import before
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.filters import COUNT, Filter, Order, Where
from curio_persistence.store.query import position_of_last
from curio_persistence.store.table import Columns
from curio_persistence.tables import RUNS

_PAGE = 500
_AT_ONCE = 100
"""The trees whose rows are counted by one query."""
_BY_FINISH = (Order("finished_at"), Order("id"))

Verdict = Literal["kept", "unfinished", "held", "expired"]


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
        return self.finished_at is not None and self.status not in UNFINISHED


_AT = [RUNS.names.index(name) for name in Member._fields]
_TAGS = Member._fields.index("tags")


def _members(columns: Columns) -> list[Member]:
    return [_member(values) for values in zip(*(columns[at] for at in _AT), strict=True)]


def _member(values: Sequence[Any]) -> Member:
    tags = frozenset(json.loads(values[_TAGS] or "[]"))
    return Member._make((*values[:_TAGS], tags, *values[_TAGS + 1 :]))


class Tree(NamedTuple):
    """A run that no stored run started, and its descendants."""

    runs: tuple[Member, ...]

    @property
    def root(self) -> Member:
        return self.runs[0]

    @property
    def run_ids(self) -> tuple[str, ...]:
        return tuple(run.run_id for run in self.runs)


Counted = tuple[Tree, dict[str, int]]
"""A tree, and the number of rows that it has in other tables."""


def counted(store: Store, trees: Iterable[Tree]) -> Iterator[Counted]:
    """Yield trees, with the number of rows that each has in other tables."""
    trees = iter(trees)
    while some := list(islice(trees, _AT_ONCE)):
        yield from zip(some, _count_rows(store, some), strict=True)


def _count_rows(store: Store, trees: Sequence[Tree]) -> list[dict[str, int]]:
    ids = tuple(run.run_id for tree in trees for run in tree.runs)
    where = (Filter("run_id", "in", ids),)
    counts: dict[str, dict[str, int]] = {}
    for name, table in KINDS_BESIDE_RUNS.items():
        groups = store.aggregate(table, (COUNT,), where, group_by=("run_id",))
        counts[name] = dict(groups)
    return [
        {
            name: sum(of_run.get(run.run_id, 0) for run in tree.runs)
            for name, of_run in counts.items()
        }
        for tree in trees
    ]


class Holds(NamedTuple):
    """Legal holds: runs, and tags of runs, that no policy deletes."""

    runs: frozenset[str]
    tags: frozenset[str]

    def keep(self, run: Member) -> bool:
        """Return whether a hold keeps a run."""
        return run.run_id in self.runs or not self.tags.isdisjoint(run.tags)


class Forest:
    """The trees of a database, judged by policies as of one moment, and by the holds there are.

    `on_page` is called between the pages of a walk, which may be long.
    """

    def __init__(
        self,
        store: Store,
        now: datetime,
        policies: Collection[RetentionPolicy],
        holds: Callable[[], Holds],
        sizes: Sizes,
        on_page: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._now = now
        self._policies = policies
        self._read_holds = holds
        self._holds = holds()
        self._sizes = sizes
        self._on_page = on_page
        self._oldest_kept: dict[RetentionPolicy, tuple[str, int]] = {}
        self._last_for_space: dict[RetentionPolicy, tuple[str, int]] = {}
        self.held = 0
        """Trees that only a hold keeps, among those walked so far."""
        self.unfinished = 0
        """Trees whose first run has finished and is old enough, but not all of its runs."""

    @property
    def cutoff(self) -> datetime | None:
        """The time before which a run has finished if it expires; None if none can."""
        by_count = [self._now for policy in self._policies if policy.max_runs is not None]
        ages = [policy.age for policy in self._policies if policy.age is not None]
        last = [self._last_for(policy)[0] or None for policy in self._policies]
        ends = [end + timedelta(microseconds=1) for each in last if (end := decode_time(each))]
        by_age = [before(self._now, age) for age in ages]
        return max([*by_count, *ends, *by_age], default=None)

    def takes_all(self) -> bool:
        """Return whether there are runs, and all of them expire."""
        if self.cutoff is None:
            return False
        cutoff = encode_time(self.cutoff)
        for rest in (Filter("finished_at", ">=", cutoff), Filter("finished_at", "is null")):
            if self._store.select(RUNS, (rest,), limit=1)[0]:
                return False
        trees = self._finished(cutoff)
        first = next(trees, None)
        return first is not None and all(self.verdict(t) == "expired" for t in (first, *trees))

    def expired(self, where: Where = (), *, climb: bool = False) -> Iterator[Tree]:
        """Yield the trees that neither a policy nor a hold keeps, the first to finish first.

        The caller may delete them meanwhile. A tree is found by its root, or with `climb` by any
        run of it that passes the filters.
        """
        if self.cutoff is None:
            return
        for tree in self._finished(encode_time(self.cutoff), where, climb=climb):
            match self.verdict(tree):
                case "expired":
                    yield tree
                case "held":
                    self.held += 1
                case "unfinished":
                    self.unfinished += 1

    def _finished(self, before: str, where: Where = (), *, climb: bool = False) -> Iterator[Tree]:
        """Yield the trees whose roots have finished before a time, the first to finish first."""
        where = (Filter("finished_at", "<", before), *where)
        after = None
        while True:
            columns = self._store.select(RUNS, where, order=_BY_FINISH, after=after, limit=_PAGE)
            runs = _members(columns)
            yield from self._trees_of(self._roots_of(runs) if climb else runs)
            if len(runs) < _PAGE:
                return
            after = position_of_last(RUNS, _BY_FINISH, columns)
            self._on_page()

    def confirmed(self, trees: Sequence[Tree]) -> list[Tree]:
        """Return the trees that still expire as they were read, and lock their runs.

        Call this in the transaction that changes them, under the lock under which holds are made.
        """
        locked = self._store.lock_rows(RUNS, [run.id for tree in trees for run in tree.runs])
        ids = tuple(run_id for tree in trees for run_id in tree.run_ids)
        now = set(self._select((Filter("run_id", "in", ids),)))
        children = self._select((Filter("parent_run_id", "in", ids),))
        known = set(ids)
        grown = {child.parent_run_id for child in children if child.run_id not in known}
        self._holds = self._read_holds()
        return [
            tree
            for tree in trees
            if now.issuperset(tree.runs)
            and locked.issuperset(run.id for run in tree.runs)
            and grown.isdisjoint(tree.run_ids)
            and not any(map(self._holds.keep, tree.runs))
        ]

    def takes(self, run_ids: Sequence[str]) -> bool:
        """Return whether all of these runs are stored, and the trees of all of them expire."""
        for first in range(0, len(run_ids), _PAGE):
            some = run_ids[first : first + _PAGE]
            roots = self._roots_of(self._select((Filter("run_id", "in", tuple(some)),)))
            trees = [tree for tree in self._trees_of(roots) if self.verdict(tree) == "expired"]
            if not {run_id for tree in trees for run_id in tree.run_ids}.issuperset(some):
                return False
            self._on_page()
        return True

    def holds_are_the_same(self) -> bool:
        """Return whether no hold was made or released since the last look."""
        return self._holds == self._read_holds()

    def rooted_in(self, run_ids: Collection[str]) -> list[Tree]:
        """Return the trees of these roots, those that are stored."""
        return [*self._trees_of(self._select((Filter("run_id", "in", tuple(run_ids)),)))]

    def verdict(self, tree: Tree) -> Verdict:
        """Return what becomes of a tree, and why it is kept although no policy keeps it."""
        policies = self._deciding(tree.root)
        if not policies or not all(self._is_over(policy, tree) for policy in policies):
            return "kept"
        if not all(run.is_finished for run in tree.runs):
            return "unfinished"
        return "held" if any(map(self._holds.keep, tree.runs)) else "expired"

    def cutoff_of_calls(self, agent_id: str | None) -> str | None:
        """Return the time before which model calls of an agent, without a run, have expired.

        Policies with a status or tags are not for them.
        """
        policies = _most_conditions(
            policy
            for policy in self._policies
            if policy.status is None and policy.tags is None and policy.fits(agent_id or "", "", ())
        )
        ages = [policy.age for policy in policies]
        if not ages or None in ages:
            return None
        return encode_time(min(before(self._now, age) for age in ages if age is not None))

    def _deciding(self, run: Member) -> list[RetentionPolicy]:
        """Return the policies that decide about a root: those that fit with most conditions."""
        return _most_conditions(
            policy for policy in self._policies if policy.fits(run.agent_id, run.status, run.tags)
        )

    def _is_over(self, policy: RetentionPolicy, tree: Tree) -> bool:
        """Return whether a policy does not keep a tree any more."""
        return (
            self._is_too_old(policy, tree)
            or self._is_one_too_many(policy, tree)
            or _end_of(tree) <= self._last_for(policy)
        )

    def _is_too_old(self, policy: RetentionPolicy, tree: Tree) -> bool:
        if policy.age is None:
            return False
        cutoff = encode_time(before(self._now, policy.age))
        return all((run.finished_at or "") < cutoff for run in tree.runs)

    def _is_one_too_many(self, policy: RetentionPolicy, tree: Tree) -> bool:
        if policy.max_runs is None:
            return False
        if policy not in self._oldest_kept:
            self._oldest_kept[policy] = self._oldest_kept_by(policy, policy.max_runs)
        return (tree.root.created_at, tree.root.id) < self._oldest_kept[policy]

    def _last_for(self, policy: RetentionPolicy) -> tuple[str, int]:
        """Return end and id of the last root that goes so that the database is small enough."""
        if policy not in self._last_for_space:
            most = policy.most_bytes
            excess = 0 if most is None else self._sizes.used - most
            self._last_for_space[policy] = self._last_within(policy, excess)
        return self._last_for_space[policy]

    def _last_within(self, policy: RetentionPolicy, excess: int) -> tuple[str, int]:
        """Return end and id of the last root that a policy lets go to free so many bytes.

        What has expired by its age anyway is freed too.
        """
        last = ("", 0)
        trees = self._finished(encode_time(self._now)) if excess > 0 else iter(())
        for tree, octets in self._measured(filter(self._can_go, trees)):
            policies = self._deciding(tree.root)
            if policy in policies:
                last = _end_of(tree)
            elif not policies or not all(self._is_too_old(each, tree) for each in policies):
                continue
            excess -= octets
            if excess <= 0:
                break
        return last

    def _measured(self, trees: Iterator[Tree]) -> Iterator[tuple[Tree, int]]:
        """Yield trees with the bytes that each takes."""
        while some := list(islice(trees, _AT_ONCE)):
            yield from zip(some, self._sizes.of_trees([t.run_ids for t in some]), strict=True)

    def _can_go(self, tree: Tree) -> bool:
        """Return whether a tree has finished and is not on hold."""
        finished = all(run.is_finished for run in tree.runs)
        return finished and not any(map(self._holds.keep, tree.runs))

    def _oldest_kept_by(self, policy: RetentionPolicy, left: int) -> tuple[str, int]:
        """Return creation time and id of the oldest of so many runs that a policy keeps.

        It keeps the newest finished roots that it decides about.
        """
        if left == 0:
            return ("~", 0)  # After every time.
        after = None
        while True:
            columns = self._store.select(RUNS, after=after, limit=_PAGE)
            runs = _members(columns)
            for run in self._without_parents(runs):
                if run.is_finished and policy in self._deciding(run):
                    left -= 1
                    if left == 0:
                        return (run.created_at, run.id)
            if len(runs) < _PAGE:
                return ("", 0)
            after = position_of_last(RUNS, RUNS.order, columns)
            self._on_page()

    # --- trees --------------------------------------------------------------------------------

    def _select(self, where: Where) -> list[Member]:
        return [*map(_member, self._store.select_columns(RUNS, Member._fields, where))]

    def _parents_of(self, runs: Iterable[Member]) -> list[Member]:
        """Return the stored parents of runs."""
        ids = tuple({run.parent_run_id for run in runs if run.parent_run_id is not None})
        return self._select((Filter("run_id", "in", ids),)) if ids else []

    def _without_parents(self, runs: list[Member]) -> list[Member]:
        """Return the runs whose parent is not stored, the roots of trees."""
        stored = {parent.run_id for parent in self._parents_of(runs)}
        return [run for run in runs if run.parent_run_id not in stored]

    def _roots_of(self, runs: list[Member]) -> list[Member]:
        """Return the roots of the trees to which runs belong, each once."""
        roots: dict[str, Member] = {}
        seen: set[str] = set()
        while runs:
            parents = {parent.run_id: parent for parent in self._parents_of(runs)}
            roots |= {run.run_id: run for run in runs if run.parent_run_id not in parents}
            seen.update(run.run_id for run in runs)
            runs = [parent for parent in parents.values() if parent.run_id not in seen]
        return [*roots.values()]

    def _trees_of(self, runs: list[Member]) -> Iterator[Tree]:
        """Yield the trees whose roots are among these runs; other trees come with their roots.

        Runs that are parents of each other in a circle have no root, and are kept.
        """
        trees = {run.run_id: [run] for run in self._without_parents(runs)}
        root_of = {run_id: run_id for run_id in trees}
        level = list(trees)
        while level:
            children = self._select((Filter("parent_run_id", "in", tuple(level)),))
            level = []
            for child in children:
                if child.run_id not in root_of:
                    root_of[child.run_id] = root_of[str(child.parent_run_id)]
                    trees[root_of[child.run_id]].append(child)
                    level.append(child.run_id)
        return (Tree(tuple(tree)) for tree in trees.values())


def _end_of(tree: Tree) -> tuple[str, int]:
    return (tree.root.finished_at or "", tree.root.id)


def _most_conditions(policies: Iterable[RetentionPolicy]) -> list[RetentionPolicy]:
    found = [*policies]
    most = max((policy.conditions for policy in found), default=0)
    return [policy for policy in found if policy.conditions == most]
