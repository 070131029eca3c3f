"""Choose the model calls that count: each answer once, though nested steps repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from curio_persistence.importers.traces.steps import Step


def counted_calls(steps: Sequence[Step], *, outermost: bool = False) -> set[str]:
    """Return the steps that count as model calls.

    A library's call contains the call of the client that it uses: they are one answer. The inner
    one counts, or the outer one with `outermost`. If only one of them has tokens, that one counts.
    """
    by_id = {step.step_id: step for step in steps}
    above = {step.step_id: [*_calls_above(step, by_id)] for step in steps if step.call}
    containing = {outer for outers in above.values() for outer in outers}
    telling = {i for i in above if (call := by_id[i].call) is not None and call.is_counted}
    around_telling = {outer for i in telling for outer in above[i]}
    given_up = {
        outer
        for outer in containing
        if (outer in around_telling and not (outermost and outer in telling))
        or not (outermost or outer in telling)
    }
    kept = above.keys() - given_up
    return {i for i in kept if kept.isdisjoint(above[i])}


def _calls_above(step: Step, by_id: Mapping[str, Step]) -> Iterator[str]:
    for each in ancestors(step, by_id):
        if each.call is not None:
            yield each.step_id


def ancestors(step: Step, by_id: Mapping[str, Step]) -> Iterator[Step]:
    """Yield the known steps above one, the nearest first; a circle ends."""
    seen = {step.step_id}
    while step.parent_id is not None and step.parent_id not in seen:
        seen.add(step.parent_id)
        found = by_id.get(step.parent_id)
        if found is None:
            return
        yield found
        step = found


def first_step(steps: Iterable[Step]) -> Step | None:
    """Return the earliest step without a parent here; None if there are no steps."""
    known = [step for step in steps if not step.is_moment]
    ids = {step.step_id for step in known}
    roots = [step for step in known if step.parent_id is None]
    tops = roots or [step for step in known if step.parent_id not in ids] or known
    return min(tops, key=lambda step: step.started_at, default=None)
