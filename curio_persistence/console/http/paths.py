"""The only place that makes URLs.

Ids may hold anything but NUL. In a path they are percent-encoded twice: servers and proxies decode
a path once before it is routed, and would take `%2F` for a slash and `..` for the parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

if TYPE_CHECKING:
    from curio_persistence.views.steps import RecordRef

_PAGES = {
    "overview": "/",
    "metrics": "/custom-metrics",  # `/metrics` is for Prometheus.
}


@dataclass(frozen=True)
class Paths:
    """The URLs of one console below a base path, "" or as `/curio`; `release` is of its files."""

    base_path: str = ""
    release: str = "0"

    def page(self, name: str, /, **query: Any) -> str:
        """Return the URL of a page by its name, such as `runs`; None in a query is left out."""
        path = _PAGES.get(name, f"/{name}")
        return f"{self.base_path}{path}{query_text(query)}"

    def run(self, run_id: str, step: RecordRef | str | None = None, **query: Any) -> str:
        """Return the URL of a run, or of one of its steps, such as `event:7`."""
        return self.record("runs", run_id, step=None if step is None else str(step), **query)

    def session(self, session_id: str, **query: Any) -> str:
        return self.record("sessions", session_id, **query)

    def trace(self, trace_id: str, **query: Any) -> str:
        return self.record("traces", trace_id, **query)

    def agent(self, agent_id: str, **query: Any) -> str:
        return self.record("agents", agent_id, **query)

    def record(self, page: str, ident: str, *rest: str, **query: Any) -> str:
        """Return the URL of what has this id below a page; `rest` are further parts of the path."""
        parts = "/".join((self.page(page), encoded_id(ident), *rest))
        return parts + query_text(query)

    def api(self, *parts: str, **query: Any) -> str:
        """Return a URL of the API: `api("runs")`, `api("runs", run_id, "steps")`.

        The second part is an id, and is encoded.
        """
        encoded = (encoded_id(part) if number == 1 else part for number, part in enumerate(parts))
        return f"{self.base_path}/api/v1/{'/'.join(encoded)}{query_text(query)}"

    def static(self, name: str) -> str:
        """Return the URL of a file that never changes under this URL."""
        return f"{self.base_path}/static/{self.release}/{name}"

    def here(self, path: str, **query: Any) -> str:
        """Return the URL of a path of the console, such as `/preferences`."""
        return f"{self.base_path}{path}{query_text(query)}"


def query_text(query: Mapping[str, Any]) -> str:
    """Return `?name=value&…`, a list as several values; "" without any."""
    pairs = [pair for name, value in query.items() for pair in _pairs(name, value)]
    return f"?{urlencode(pairs)}" if pairs else ""


def _pairs(name: str, value: Any) -> Iterable[tuple[str, str]]:
    if value is None:
        return ()
    values = value if isinstance(value, list | tuple | set | frozenset) else (value,)
    return [(name, str(each)) for each in values]


def encoded_id(ident: str) -> str:
    """Return an id as a part of a path."""
    once = quote(ident, safe="", errors="surrogatepass")
    if once in (".", ".."):
        once = once.replace(".", "%2E")
    return quote(once, safe="")


def decoded_id(part: str) -> str:
    """Return the id of a part of a path that the server has decoded once."""
    return unquote(part)


def way_back(path: str) -> str:
    """Return a path of the console; the root for what would lead to another host."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_path and path.isprintable() else "/"
