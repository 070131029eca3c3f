"""The numbers of the database and of this process, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curio_persistence.interop.prometheus import CurioCollector
from curio_persistence.persistence import Persistence
from curio_persistence.server.intake import Intake

PATH = "/metrics"


def routes(persistence: Persistence, intake: Intake) -> list[Route]:
    """Return the route that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(CurioCollector(persistence))
    registry.register(IntakeCollector(intake))
    ProcessCollector(registry=registry)

    def answer(request: Request) -> Response:  # Not async: called in a thread.
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": kind})

    return [Route(PATH, answer)]


class IntakeCollector(Collector):
    """Collects the numbers of an intake: records received, bodies refused and waiting."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        records = CounterMetricFamily(
            "curio_intake_records",
            "Records received as OpenTelemetry.",
            labels=("signal", "outcome"),
        )
        for labels, count in [*self._intake.records.items()]:
            records.add_metric(labels, count)
        refused = CounterMetricFamily(
            "curio_intake_refused_bodies",
            "Bodies of OpenTelemetry that were refused.",
            labels=("signal", "status"),
        )
        for labels, count in [*self._intake.refused.items()]:
            refused.add_metric(labels, count)
        yield from (records, refused)
        yield GaugeMetricFamily(
            "curio_intake_waiting_bodies", "Bodies that wait to be stored.", self._intake.waiting
        )
        yield GaugeMetricFamily(
            "curio_intake_waiting_bytes", "Bytes that bodies hold.", self._intake.room.taken
        )
