"""What traces do not show of runs and model calls, and receivers do: read for many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_tags, decode_text
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS, USAGE
from curio_persistence.views.traces.records import of_values
from curio_persistence.views.traces.trace import Trace, TraceSpan
from curio_persistence.views.values import parsed

Json = Mapping[str, Any]
_NOTHING: Json = MappingProxyType({})


class RunDetails(NamedTuple):
    """The status of a run in its own word, and what people noted about it."""

    status: str = ""
    tags: Sequence[str] = ()
    metadata: str | None = None


class CallDetails(NamedTuple):
    """The parameters of a model call, and the metrics that came with its answer."""

    params: Json = _NOTHING
    metrics: Json = _NOTHING


class Details:
    """The details of the runs and model calls of some traces."""

    def __init__(self, store: Store, traces: Iterable[Trace]) -> None:
        spans = [span for trace in traces for span in trace.spans]
        runs = [span.run_id for span in spans if span.run_id is not None]
        loose = [s.trace_id for s in spans if s.run_id is None and s.model_calls]
        self._runs = {
            run_id: RunDetails(status, _tags(tags), decode_text(metadata))
            for run_id, status, tags, metadata in _rows(
                store, RUNS, ("run_id", "status", "tags", "metadata"), "run_id", runs
            )
        }
        self._calls: dict[tuple[str | None, str], CallDetails] = {}
        for column, ids in (("run_id", runs), ("trace_id", loose)):
            columns = ("run_id", "id", "span_id", "input_params", "usage_metrics")
            for run_id, ident, span_id, params, metrics in _rows(
                store, USAGE, columns, column, ids
            ):
                told = CallDetails(_object(params), _object(metrics))
                self._calls.setdefault((run_id, span_id or f"usage:{ident}"), told)

    def run(self, span: TraceSpan) -> RunDetails:
        """Return the details of the run that a span is; none for what is no run."""
        return self._runs.get(span.run_id or "", RunDetails()) if span.is_run else RunDetails()

    def call(self, span: TraceSpan) -> CallDetails:
        """Return the details of the model call that a span shows."""
        return self._calls.get((span.run_id, span.span_id), CallDetails())


def _rows(
    store: Store, table: Table[Any], columns: tuple[str, ...], column: str, values: Sequence[str]
) -> Iterable[Any]:
    for where in of_values(column, values):
        yield from store.select_columns(table, columns, where)


def _tags(text: str | None) -> list[str]:
    [tags] = decode_tags([text])
    return tags or []


def _object(text: str | None) -> Json:
    value = parsed(decode_text(text))
    return value if isinstance(value, dict) else _NOTHING
