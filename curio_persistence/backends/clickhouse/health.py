"""The checks of a replica."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from curio_persistence.backends.clickhouse import ddl
from curio_persistence.backends.clickhouse.client import ClickHouseClient
from curio_persistence.backends.clickhouse.registry import seconds_behind, sources
from curio_persistence.store.base import HealthCheck

_PARTS = 300
"""Parts of a partition beyond which ClickHouse slows inserts down."""
_SIZE = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"
_MOST_PARTS = (
    "SELECT table, count() AS parts FROM system.parts "
    "WHERE active AND database = currentDatabase() "
    "GROUP BY table, partition ORDER BY parts DESC LIMIT 1"
)
_BROKEN = (
    "SELECT table, latest_fail_reason FROM system.mutations "
    "WHERE database = currentDatabase() AND NOT is_done AND latest_fail_reason <> '' LIMIT 1"
)


def checks(client: ClickHouseClient) -> list[HealthCheck]:
    """Return the state of the engine, the tables and the sources."""
    [(version,)] = client.rows("SELECT version()")
    return [
        HealthCheck("engine", "ok", f"ClickHouse {version}"),
        HealthCheck("schema", "ok", f"version {ddl.version(client)}"),
        _sources(client),
        *_parts(client),
        *_mutations(client),
    ]


def database_bytes(client: ClickHouseClient) -> int:
    """Return how many bytes the tables take on the disk."""
    [(size,)] = client.rows(_SIZE)
    return int(size)


def _sources(client: ClickHouseClient) -> HealthCheck:
    found = sources(client)
    if not found:
        return HealthCheck("sources", "warning", "none is replicated yet", "Run `replicate`.")
    behind = seconds_behind(client)
    told = (
        f"{each.name}: {each.location}, last replicated {_ago(behind.get(each.name))}"
        for each in found
    )
    return HealthCheck("sources", "ok", "; ".join(told))


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "never to its end"
    return f"{timedelta(seconds=max(round(seconds), 0))} ago"


def _parts(client: ClickHouseClient) -> Iterator[HealthCheck]:
    for table, parts in client.rows(_MOST_PARTS):
        level = "ok" if parts < _PARTS else "warning"
        yield HealthCheck(
            "parts",
            "warning" if level == "warning" else "ok",
            f"at most {parts:,} in a partition, of {table}",
            "Send more rows at a time; merges do not keep up." if level == "warning" else "",
        )


def _mutations(client: ClickHouseClient) -> Iterator[HealthCheck]:
    for table, reason in client.rows(_BROKEN):
        yield HealthCheck(
            "deletions", "error", f"{table}: {reason}", "See system.mutations of ClickHouse."
        )
