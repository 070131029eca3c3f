"""What spans have of those above them: a session, a user, and whether their run may yet come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from curio_persistence.interop.otel.neighbours import CALLS, Key, Neighbourhood, Node


class Inheritance(NamedTuple):
    """What a span has of those above it, and of itself.

    `is_lost` tells that a span above has not come. `run` is a span above that is stored as a run,
    and is not read anew. `in_call` tells that a call of a model is above.
    """

    session_id: str | None = None
    user_id: str | None = None
    is_lost: bool = False
    run: Key | None = None
    in_call: bool = False
    is_call: bool = False


def inheritances(around: Neighbourhood) -> dict[Key, Inheritance]:
    """Return what each span of a neighbourhood has of those above it."""
    found: dict[Key, Inheritance] = {}
    for node in around.nodes.values():
        for each, is_top in _downwards(_way_up(node, around, found)):
            above = Inheritance(is_lost=each.above is not None)
            if not is_top and each.above is not None:
                above = found.get(each.above, above)
            found[each.key] = _with_own(each, above, around)
    return found


def _way_up(node: Node, around: Neighbourhood, known: Iterable[Key]) -> list[Node]:
    """Return a span and those above it that are not known yet; in a circle, its begin again."""
    path: dict[Key, Node] = {}
    at: Node | None = node
    while at is not None and at.key not in known:
        if at.key in path:
            return [*path.values(), at]
        path[at.key] = at
        at = None if at.above is None else around.nodes.get(at.above)
    return [*path.values()]


def _downwards(path: list[Node]) -> Iterable[tuple[Node, bool]]:
    """Yield the spans of a way up from its top; of a circle, the one with the least id is it."""
    if len(path) > 1 and path[-1] in path[:-1]:
        *path, again = path
        begin = path.index(again)
        circle = path[begin:]
        top = circle.index(min(circle, key=lambda each: each.span_id))
        yield circle[top], True
        yield from ((each, False) for each in (*circle[:top][::-1], *circle[:top:-1]))
        path = path[:begin]
    yield from ((each, False) for each in reversed(path))


def _with_own(node: Node, above: Inheritance, around: Neighbourhood) -> Inheritance:
    own = node.meaning
    # The calls that make a root a run may not have been loaded.
    is_run = node.key not in around.decided and node.run_id == node.own_run_id
    return Inheritance(
        own.session_id or above.session_id,
        own.user_id or above.user_id,
        above.is_lost,
        node.key if is_run else above.run,
        above.in_call or above.is_call,
        own.kind in CALLS,
    )
