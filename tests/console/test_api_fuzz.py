"""Requests that schemathesis makes of the OpenAPI document: answers are as it says, never a 5xx."""

from __future__ import annotations

from typing import Any

import pytest

from curio_persistence import ConsoleOptions, InMemoryPersistence, create_app
from curio_persistence.console.api.operations import OPERATIONS

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # Of the packages that schemathesis brings.
]
_EXAMPLES = 25
_HEADERS = {"Host": "localhost", "Authorization": "Bearer x"}
_ENDLESS = {each.path for each in OPERATIONS if each.answer.kind == "stream"}


def test_each_request_that_the_document_describes_is_answered_as_it_says() -> None:
    schemathesis = pytest.importorskip("schemathesis")
    with InMemoryPersistence() as persistence:
        for number in range(3):
            with persistence.record_run(agent_id="guide", run_id=f"run-{number}") as run:
                run.metric("distance", 1.5)
                run.llm_call(model="acme-1", prompt="Where?", response="There.")
        app = create_app(persistence, ConsoleOptions(allow_writes=True))
        schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=_HEADERS)
        operations = [each.ok() for each in schema.get_all_operations()]
        tried = [ask(each) for each in operations if each.path not in _ENDLESS]
    assert len(tried) == len(OPERATIONS) - len(_ENDLESS)


def ask(operation: Any) -> None:
    """Send the requests of an operation."""
    from hypothesis import HealthCheck, given, settings
    from schemathesis.specs.openapi import checks

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        suppress_health_check=[*HealthCheck],
        derandomize=True,
        database=None,
    )
    @given(case=operation.as_strategy())
    def asked(case: Any) -> None:
        answer = case.call(headers=_HEADERS)
        assert answer.status_code < 500, (operation.label, answer.text)
        as_described = (
            checks.response_schema_conformance,
            checks.status_code_conformance,
            checks.content_type_conformance,
        )
        case.validate_response(answer, checks=as_described)

    asked()
