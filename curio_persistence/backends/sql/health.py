"""The health checks common to all SQL databases: size, indexes, views and references."""

from __future__ import annotations

from collections.abc import Set

from curio_persistence.backends.sql import migrations
from curio_persistence.store.base import HealthCheck

SMALL = 64_000_000
"""The bytes that every check-up reads, in a tenth of a second or two; where there are
more, only those that are asked to go deep read them."""

NAMED = 5
"""The number of damaged rows, or places, to name."""


def size(octets: int) -> str:
    return f"{octets / 1_000_000:,.1f} MB"


def unread(check: str, octets: int) -> HealthCheck:
    """Report a check that was skipped, as it would have to read everything."""
    return HealthCheck(
        check,
        "ok",
        f"not looked at: that reads all {size(octets)}",
        "To look all the same: curio-persistence doctor --deep",
    )


def indexes(found: Set[str], dialect: str) -> HealthCheck:
    """Report missing indexes."""
    missing = sorted(migrations.indexes(dialect) - found)
    if not missing:
        return HealthCheck("indexes", "ok", "all there")
    return HealthCheck(
        "indexes",
        "warning",
        f"missing: {', '.join(missing)}; what they are for reads whole tables",
        f"Make them again with their CREATE INDEX statements in schema/{dialect}/.",
    )


def views(found: Set[str]) -> HealthCheck:
    """Check the views that people read; nothing else depends on them."""
    missing = [name for name in migrations.VIEWS if name not in found]
    if not missing:
        return HealthCheck("views", "ok", ", ".join(migrations.VIEWS))
    return HealthCheck(
        "views",
        "ok",
        f"without {', '.join(missing)}: dropped, or the name is that of another program's table",
    )


def orphans(events: int, one_run: str | None, calls: int, children: int) -> HealthCheck:
    """Report rows whose run does not exist; `one_run` is one that events name.

    Model calls and child runs may: a call can stand alone, a parent be recorded elsewhere.
    """
    if events:
        return HealthCheck(
            "orphans",
            "warning",
            f"{events:,} events are of runs that do not exist, {one_run} for one: a program wrote "
            "or deleted without foreign keys",
            "Create these runs with create_agent_run(); then their events can be read, and go "
            "with them by delete_agent_run().",
        )
    others = [
        f"{count:,} {of_what} name one that is not here, as they may"
        for count, of_what in ((calls, "model calls"), (children, "child runs"))
        if count
    ]
    return HealthCheck("orphans", "ok", "; ".join(["every event has its run", *others]))
