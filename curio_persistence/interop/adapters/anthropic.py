"""Record the calls of a client of Anthropic's SDK: `client = wrap_anthropic(Anthropic())`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from curio_persistence.interop.adapters.clients import Calls, recording

if TYPE_CHECKING:
    from curio_persistence.aio import AsyncPersistence
    from curio_persistence.base import BasePersistence

C = TypeVar("C")

_PATHS = frozenset({"/v1/complete", "/v1/messages"})
_CLOUDS = {"Bedrock": "aws.bedrock", "Vertex": "gcp.vertex_ai"}
"""Providers by what is in the names of their clients."""


def wrap_anthropic(
    client: C,
    persistence: BasePersistence | AsyncPersistence | None = None,
    *,
    agent_id: str | None = None,
    provider: str | None = None,
) -> C:
    """Return a client like this one, blocking or awaited, that records its model calls.

    A call belongs to the run in whose block it is made. Outside of all runs it is recorded in
    `persistence`, as a model call of this agent and of no run; without a persistence it is not
    recorded. With a persistence only runs that are recorded in it count.
    """
    if provider is None:
        name = type(client).__name__
        provider = next((_CLOUDS[part] for part in _CLOUDS if part in name), "anthropic")
    return recording("anthropic", client, Calls(persistence, agent_id, provider, _PATHS))
