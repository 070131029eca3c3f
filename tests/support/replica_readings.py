"""Which tests of the contract a replica answers: all that read, but for those that are named here.

What a test writes is replicated before it reads; see `mirrored`.
"""

from __future__ import annotations

from collections.abc import Mapping

_REASONS: Mapping[str, str] = {
    "writes are what it tests, and they are made in the source": """
        agentlens_writers agentlens_writing audit audit_of_imports batches buffered chains
        concurrent_imports content_deletion curio_agent curio_components decorators event_ids
        fill_in keys lifecycle model_calls prices price_payloads proof read_only recorder
        recorder_begin recorder_context recorder_ends recorder_values redaction retention
        retention_by_bytes rounds stale_runs switched_off third_party transactions transfers aio
        aio_transfers agdd_backend contracts
    """,
    "imports and receivers write; what they wrote is read by others": """
        codex_sessions coding_agents growing_sessions import_agdd import_agentlens import_agiwo
        import_atif import_costs import_growing_sessions import_sessions import_traces otel_hostile
        otel_logs otlp_round_trip otlp_server session_telemetry
    """,
    "a replica has no rules of alerts, no archive, no backups and no vectors": """
        agentlens_alerts alert_sinks alerts archive archive_checks archive_copies archive_reading
        archive_sql archive_trouble backup similarity
    """,
    "streams follow the commits of the source": "changes follow live serve served_streams",
    "long texts are whole in a replica": "content",
    "it has tests of its own: backends/test_replica_answers": "replication sql",
    "it reads in transactions and exports from snapshots, which a source has": "export_otlp",
}
"""The modules that a replica is not asked, by the reason."""
_APART: Mapping[str, str] = {
    "test_listings::test_a_persistence_gives_its_location_and_schema_version": "memory has neither",
    "test_search_texts::test_every_script_is_found_as_people_type_it": (
        "it writes and asks for minutes; test_replica_answers compares the words of these texts"
    ),
    "test_search::test_indexing_checks_the_clock_between_two_long_records": "it has no index",
    "test_search::test_indexing_checks_the_clock_and_the_size_of_texts": "it has no index",
}
"""Tests of other modules, `test_module::test_name`, and why a replica does not answer them."""
NOT_ASKED = frozenset(f"test_{name}" for names in _REASONS.values() for name in names.split())


def is_answered_by_a_replica(module: str, test: str) -> bool:
    """Return whether a test may run on a replica as well."""
    return module not in NOT_ASKED and f"{module}::{test}" not in _APART
