"""Health: the checks with what to do, runs left behind, sizes, and what expires when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.archive import check_archive
from curio_persistence.capabilities.lifecycle import RetentionPolicy
from curio_persistence.config.lifecycle import LifecycleConfig
from curio_persistence.console.parts.belongings import SILENT
from curio_persistence.console.site import Site
from curio_persistence.errors import ConfigurationError, UnsupportedError
from curio_persistence.persistence import Persistence
from curio_persistence.store.base import HealthCheck
from curio_persistence.views import wording

_LOOKED_AT, _SHOWN = 1_000, 20
"""The running runs that are examined, the oldest ones, and those that are named."""
_WORST_FIRST = ("error", "warning", "ok")
_DAYS = timedelta(days=1)


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/health", _health)]


def _health(site: Site, request: Request) -> Response:
    persistence, deep = site.persistence, request.query_params.get("deep") == "1"
    checks = [*persistence.diagnose(deep=deep), *_archive_checks(persistence, deep=deep)]
    checks.sort(key=lambda check: _WORST_FIRST.index(check.level))
    return site.render(
        request,
        "health.html",
        deep=deep,
        checks=checks,
        levels=Counter(check.level for check in checks),
        left_behind=persistence.runs.stale(older_than=SILENT, limit=_LOOKED_AT),
        shown=_SHOWN,
        pending=persistence.search.pending(),
        counts=_counts(persistence),
        space=next((check.message for check in checks if check.name == "space"), ""),
        **_care(persistence),
        archive=_archive_destination() is not None,
    )


def _care(persistence: Persistence) -> Mapping[str, Any]:
    """Return what deletes and keeps old runs; a replica does neither, and has no schedule."""
    try:
        policies = persistence.lifecycle.policies()
        return {
            "policies": [(policy.name, _in_words(policy)) for policy in policies],
            "holds": persistence.lifecycle.holds(),
            "schedule": persistence.lifecycle.schedule(),
            "backup": next(iter(persistence.audit.query(action="backup", limit=1)), None),
        }
    except UnsupportedError:
        return {"schedule": None}


def _counts(persistence: Persistence) -> Mapping[str, int]:
    return {
        "Runs": persistence.count_agent_runs(),
        "Events": persistence.count_events(),
        "Model calls": persistence.count_llm_usage(),
        "Sessions": persistence.sessions.count(),
        "Agents": persistence.agents.count(),
    }


def _archive_destination() -> str | None:
    try:
        return LifecycleConfig.from_env().archive_destination
    except ConfigurationError:  # The environment of this program says something else wrong.
        return None


def _archive_checks(persistence: Persistence, *, deep: bool) -> list[HealthCheck]:
    """Return the check of the archive: only a deep one, as the archive may be far away."""
    destination = _archive_destination()
    return [check_archive(persistence, destination)] if deep and destination else []


# --- policies in words ----------------------------------------------------------------------------


def _in_words(policy: RetentionPolicy) -> str:
    """Return a policy as `runs go after 90 days · of status error`."""
    rules = [say(value) for name, say in _RULES.items() if (value := getattr(policy, name))]
    scope = [
        f"of {word} {' or '.join(values)}"
        for word, name in (("agent", "agent_id"), ("status", "status"), ("tag", "tags"))
        if (values := getattr(policy, name))
    ]
    return " · ".join([*(rules or ["runs are kept for ever"]), *scope])


def _length(length: timedelta) -> str:
    if length >= _DAYS and length % _DAYS == timedelta(0):
        return wording.counted(length // _DAYS, "day")
    return wording.span(length / timedelta(milliseconds=1))


_RULES: Mapping[str, Callable[[Any], str]] = {
    "keep": lambda length: f"runs go after {_length(length)}",
    "max_runs": lambda count: f"the newest {wording.counted(count, 'run')} stay",
    "max_bytes": lambda count: f"at most {wording.size(count)}",
    "keep_content": lambda length: f"texts go after {_length(length)}",
}
