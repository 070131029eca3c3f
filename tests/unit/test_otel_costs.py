"""Received calls cost what the prices of genai-prices say, to the last digit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from curio_persistence import InMemoryPersistence
from curio_persistence.interop.otel.receiving import Receiver
from tests.support.otlp_corpus import CAPTURES, spans, telemetry


def in_order(costs: Iterable[Decimal | None]) -> list[Decimal | None]:
    return sorted(costs, key=lambda cost: (cost is None, cost or 0))


@pytest.mark.parametrize("capture", CAPTURES)
def test_the_cost_of_each_call(capture: str) -> None:
    persistence = InMemoryPersistence()
    Receiver(persistence).spans(spans(capture))
    calls = persistence.iter_llm_usage()
    models = [
        call for call in calls if call.get_input_params_dict().get("operation") != "embeddings"
    ]
    told = [call["cost_usd"] for call in telemetry(capture)["llm_calls"]]
    assert in_order(call.cost_usd for call in models) == in_order(
        None if cost is None else Decimal(cost) for cost in told
    )
    known = [call.cost_usd for call in models if call.cost_usd is not None]
    assert sum(known, Decimal(0)) == Decimal(telemetry(capture)["cost_usd"])
