"""Record the calls of a client of OpenAI's SDK: `client = wrap_openai(OpenAI())`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from curio_persistence.interop.adapters.clients import Calls, recording

if TYPE_CHECKING:
    from curio_persistence.aio import AsyncPersistence
    from curio_persistence.base import BasePersistence

C = TypeVar("C")

_PATHS = frozenset({"/chat/completions", "/completions", "/embeddings", "/responses"})


def wrap_openai(
    client: C,
    persistence: BasePersistence | AsyncPersistence | None = None,
    *,
    agent_id: str | None = None,
    provider: str | None = None,
) -> C:
    """Return a client like this one, blocking or awaited, that records its model calls.

    A call belongs to the run in whose block it is made. Outside of all runs it is recorded in
    `persistence`, as a model call of this agent and of no run; without a persistence it is not
    recorded. With a persistence only runs that are recorded in it count. `provider` is needed for
    other providers with OpenAI's interface: `"openai"`, or Azure's name, is assumed.
    """
    if provider is None:
        provider = "azure.ai.openai" if "Azure" in type(client).__name__ else "openai"
    return recording("openai", client, Calls(persistence, agent_id, provider, _PATHS))
