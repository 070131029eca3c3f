"""Count the records that an expiry would delete, for the report of a dry run."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from curio_persistence.capabilities.lifecycle.expiring import runs_of_sessions
from curio_persistence.capabilities.lifecycle.loose import loose_calls, loose_spans
from curio_persistence.capabilities.lifecycle.report import ExpireReport
from curio_persistence.capabilities.lifecycle.stripping import with_content
from curio_persistence.capabilities.lifecycle.trees import Forest, counted
from curio_persistence.progress import Progress
from curio_persistence.store.base import Store
from curio_persistence.tables import SPANS, USAGE

_AT_ONCE = 100
"""The sessions whose runs are counted by one query."""


def plan_trees(
    store: Store, forest: Forest, report: ExpireReport, progress: Progress | None
) -> None:
    """Add to a report the trees that would be deleted."""
    report.cutoff = forest.cutoff
    sessions: Counter[str] = Counter()
    for tree, rows in counted(store, forest.expired()):
        report.trees += 1
        report.runs += len(tree.runs)
        report.count(rows)
        sessions.update(run.session_id for run in tree.runs if run.session_id is not None)
        if progress is not None:
            progress(report.runs, None)
    names = iter(sessions)
    while some := list(islice(names, _AT_ONCE)):
        stored = runs_of_sessions(store, some)
        report.sessions += sum(stored.get(name) == sessions[name] for name in some)
    report.held, report.unfinished = forest.held, forest.unfinished


def plan_rest(store: Store, forest: Forest, contents: Forest, report: ExpireReport) -> None:
    """Add to a report what would be deleted besides trees; `contents` lose their texts only."""
    report.usage += sum(store.count(USAGE, where) for where in loose_calls(store, forest))
    report.spans += sum(store.count(SPANS, where) for where in loose_spans(store, forest))
    report.stripped = sum(
        len(tree.runs) for tree in with_content(contents) if forest.verdict(tree) != "expired"
    )
