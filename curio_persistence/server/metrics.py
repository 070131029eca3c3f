"""The numbers of the database and of this process, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curio_persistence.interop.prometheus import CurioCollector
from curio_persistence.persistence import Persistence

PATH = "/metrics"


def routes(persistence: Persistence) -> list[Route]:
    """Return the route that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(CurioCollector(persistence))
    ProcessCollector(registry=registry)

    def answer(request: Request) -> Response:  # Not async: called in a thread.
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": kind})

    return [Route(PATH, answer)]
