"""The OpenAPI document, and the reference that is made of the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curio_persistence import ConsoleOptions, InMemoryPersistence, create_app
from curio_persistence.console.api.openapi import document
from curio_persistence.console.api.operations import OPERATIONS
from curio_persistence.console.api.reference import table
from tests.support.console import client_of, record

ROOT = Path(__file__).parents[2]


def test_the_document_is_served_with_the_path_below_which_it_is() -> None:
    with InMemoryPersistence() as persistence:
        app = create_app(persistence, ConsoleOptions(base_path="/curio"))
        client = TestClient(app, base_url="http://localhost")
        served = client.get("/curio/api/v1/openapi.json").json()
    assert served == document(OPERATIONS, base="/curio/api/v1")


def test_each_operation_has_a_role_an_answer_and_problems() -> None:
    described: dict[str, Any] = document(OPERATIONS, base="/api/v1")
    for each in OPERATIONS:
        said = described["paths"][each.path][each.method.lower()]
        assert said["x-role"] == each.role
        assert any(status.startswith("2") for status in said["responses"])
        assert "400" in said["responses"]


def test_all_columns_of_records_are_described() -> None:
    schemas = document(OPERATIONS, base="")["components"]["schemas"]
    assert schemas["AgentRun"]["properties"]["finished_at"] == {
        "type": ["string", "null"],
        "format": "date-time",
    }
    assert schemas["AgentLLMUsage"]["properties"]["cost_usd"]["type"] == ["string", "null"]
    assert set(schemas["HealthCheck"]["properties"]) == {"name", "level", "message", "advice"}


@pytest.mark.slow
def test_the_document_is_valid() -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(document(OPERATIONS, base="/api/v1"))


def test_the_reference_has_the_table_of_operations() -> None:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert table(OPERATIONS) in text, "python -m curio_persistence.console.api.reference prints it"


def test_answers_have_the_fields_of_the_document() -> None:
    schemas = document(OPERATIONS, base="")["components"]["schemas"]
    with InMemoryPersistence() as persistence:
        record(persistence, runs=3)
        persistence.keys.create("Ada")
        client = client_of(persistence, allow_writes=True)
        for path, name in (
            *(("/runs", "AgentRun"), ("/events", "AgentRunEvent"), ("/usage", "AgentLLMUsage")),
            *(("/traces", "TraceSummary"), ("/agents", "Agent"), ("/health", "HealthCheck")),
            *(("/keys", "ApiKey"), ("/spend", "UsageTotals"), ("/audit", "AuditEntry")),
        ):
            first = client.get(f"/api/v1{path}").json()["items"][0]
            assert set(first) == set(schemas[name]["properties"]), name
    assert schemas["AgentRun"]["required"] == ["agent_id", "run_id"]
    assert set(schemas["Agent"]["required"]) == set(schemas["Agent"]["properties"])
    assert schemas["ApiKey"]["properties"]["role"]["enum"] == ["read", "write", "admin"]
    assert schemas["AlertSettings"]["properties"]["window"]["type"] == "string"
