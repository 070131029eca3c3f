"""Export by OTLP: our traces, sent to a receiver of OpenTelemetry, once or again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from threading import Event
from typing import Any, Unpack, cast

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.deletions import audit_reading
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.errors import (
    AccessDeniedError,
    InvalidValueError,
    NotFoundError,
    PersistenceError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.export.records import checked_persistence
from curio_persistence.interop.otel.export.following import Due, Following
from curio_persistence.interop.otel.export.mark import Mark, StoredMark
from curio_persistence.interop.otel.export.report import OtlpReport
from curio_persistence.interop.otel.export.sending import Sender, checked_seconds
from curio_persistence.interop.otel.export.target import Outgoing, Target, TargetOptions
from curio_persistence.interop.otel.untraced import untraced
from curio_persistence.models import SpanStatus
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress
from curio_persistence.store.filters import refuse_unknown
from curio_persistence.views.traces.listing import Listing, TraceFilters, choice_of
from curio_persistence.views.traces.reading import Seed, TraceReader
from curio_persistence.views.traces.trace import Trace

_AT_ONCE = 20
"""The traces that are in memory at a time."""
_LEAST_ROUNDS = 2
_OF_ENDED = ("status", "min_duration_ms", "max_duration_ms")
"""The filters that tell nothing of a trace before it has ended."""

OtlpOutcome = OtlpReport | UnavailableError
"""The outcome of a round of `follow_otlp`."""


class OtlpOptions(TargetOptions, TraceFilters, total=False):
    """The options of an export by OTLP, and its filters, which are those of `traces.query`."""


def export_otlp(
    persistence: Persistence,
    url: str,
    *,
    name: str | None = None,
    run_id: str | None = None,
    running: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Unpack[OtlpOptions],
) -> OtlpReport:
    """Send the traces that have ended to a receiver of OTLP over HTTP, such as Phoenix or MLflow.

    They are those that pass the filters of `traces.query`, or that of one run, oldest first.
    `/v1/traces` is added to `url` unless it ends so. `headers` may have a key. With `content=False`
    no words are sent; with `running=True` also those spans of running traces that have ended. A
    `project` is that of Phoenix. A receiver that is away or busy is asked again for `retry_for`
    seconds (60), and has `timeout` seconds (10) for an answer.

    With a `name`, what was sent is stored under it: the next export of that name sends what ended,
    or came, since. After a kill it sends at most a few traces again, whose spans have the same ids.
    It is filtered by agent, session, user and time only.

    Needs the extra `otlp`. The audit log gets a line; one for all exports of a name.
    """
    export = _Export(persistence, url, name, options)
    if run_id is not None:
        return export.one(checked_id("run_id", run_id), running, dry_run, progress)
    if name is not None:
        return export.what_is_new(running, dry_run, progress)
    return export.all(running, dry_run, progress)


def follow_otlp(
    persistence: Persistence,
    url: str,
    every: float | timedelta | str = 5,
    *,
    name: str = "otlp",
    stop: Event | None = None,
    on_round: Callable[[OtlpOutcome], object] | None = None,
    **options: Unpack[OtlpOptions],
) -> None:
    """Send each trace once it has ended, until the event `stop` is set.

    It is `export_otlp` with a `name`, `every` so many seconds. `on_round` is called with the report
    of each round, or with the UnavailableError that ended it, which is logged otherwise: the next
    round tries again. Any other error is raised.
    """
    export = _Export(persistence, url, checked_id("name", name), options)
    pause, stop = _checked_every(every), stop or Event()
    while not stop.is_set():
        try:
            outcome: OtlpOutcome = export.what_is_new(stop=stop)
        except UnavailableError as error:
            outcome = error
        if on_round is not None:
            on_round(outcome)
        elif isinstance(outcome, PersistenceError):
            _log(outcome)
        stop.wait(pause)


def _log(error: PersistenceError) -> None:
    import logging  # On use: the import is slow.

    logging.getLogger("curio_persistence.otlp").warning("Traces were not exported: %s", error)


def _checked_every(every: Any) -> float:
    if not isinstance(every, int | float):
        every = checked_length("every", every).total_seconds()
    return checked_seconds("every", every)


class _Export:
    """An export with its arguments checked."""

    def __init__(
        self, persistence: Persistence, url: str, name: str | None, options: OtlpOptions
    ) -> None:
        self._persistence = checked_persistence(persistence)
        self._store = persistence._store
        given = {n: value for n, value in options.items() if value is not None}
        own = {n: given.pop(n) for n in TargetOptions.__annotations__ if n in given}
        self._target = Target.of(url, cast(TargetOptions, own))
        refuse_unknown(given, TraceFilters)
        self._filters = given
        self._choice = choice_of(given, persistence.clock)
        self._name = None if name is None else checked_id("name", name)
        self._reader = TraceReader(self._store, brief=False)
        self._sender: Sender | None = None

    # --- once ---------------------------------------------------------------------------------

    def one(
        self, run_id: str, running: bool, dry_run: bool, progress: Progress | None
    ) -> OtlpReport:
        """Send the trace of one run."""
        if self._filters or self._name is not None:
            raise InvalidValueError(
                "run_id names one trace: leave out the name and the other filters.", field="run_id"
            )
        seed = self._reader.seed_of(run_id)
        if seed is None:
            raise NotFoundError(f"There is no trace of run {run_id!r}.")
        self._tell(dry_run, run_id=run_id)
        return self._send_all([seed], running, dry_run, progress)

    def all(self, running: bool, dry_run: bool, progress: Progress | None) -> OtlpReport:
        """Send all traces that pass the filters."""
        self._tell(dry_run, **self._filters)
        listing = Listing(self._store, self._choice, descending=False)
        seeds = (root.seed for root in listing.roots())
        return self._send_all(seeds, running, dry_run, progress)

    def _send_all(
        self, seeds: Iterable[Seed], running: bool, dry_run: bool, progress: Progress | None
    ) -> OtlpReport:
        waiting, seeds = 0, iter(seeds)
        with self._outgoing(dry_run) as outgoing:
            while some := [*islice(seeds, _AT_ONCE)]:
                traces = self._read(some)
                ended = [trace for trace in traces if running or _has_ended(trace)]
                waiting += len(traces) - len(ended)
                outgoing.send(ended)
                _report_progress(progress, outgoing)
            return outgoing.report(waiting)

    # --- again and again ----------------------------------------------------------------------

    def what_is_new(
        self,
        running: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
        stop: Event | None = None,
    ) -> OtlpReport:
        """Send what has ended, or came, since the last export of the name."""
        self._check_can_go_on(running)
        following = Following(self._store, self._persistence.clock, self._choice)
        stored = StoredMark(self._store, self._name or "")
        mark = stored.read()
        if mark is None:
            self._tell(dry_run, name=self._name, **self._filters)
            mark = following.begin()
        rounds, more = 0, True
        with self._outgoing(dry_run, stop) as outgoing:
            # What is new in one round is sent in the next.
            while (more or rounds < _LEAST_ROUNDS) and not (stop is not None and stop.is_set()):
                history = mark.history
                due = following.next(mark, _AT_ONCE)
                rounds, more = rounds + 1, len(due) >= _AT_ONCE or history is not None
                outgoing.send(self._ended(due, mark))
                if not dry_run:
                    stored.write(mark)
                _report_progress(progress, outgoing)
            return outgoing.report(len(mark.runs) + len(mark.spans))

    def _check_can_go_on(self, running: bool) -> None:
        """Refuse what an export that stores its position cannot do."""
        unfit = [name for name in _OF_ENDED if name in self._filters] + ["running"] * running
        if unfit:
            raise InvalidValueError(
                f"A named export cannot have {unfit[0]}: it sees traces before they have ended.",
                field=unfit[0],
            )
        if self._store.read_only:
            raise AccessDeniedError(
                "A named export stores what was sent: open the database for writing."
            )
        if self._store._is_inside():
            raise UnsupportedError(
                "A transaction is open in this thread, which sees rows that are not committed: end "
                "it before you export by name."
            )

    def _ended(self, due: Sequence[Due], mark: Mark) -> list[Trace]:
        """Return the traces that have ended; the others wait in the mark."""
        traces = {trace.trace_id: trace for trace in self._read([each.seed for each in due])}
        for each in due:
            trace = traces.get(each.seed.trace_id)
            if trace is not None and not _has_ended(trace):
                Following.wait(mark, each)
        return [trace for trace in traces.values() if _has_ended(trace)]

    # --- both ---------------------------------------------------------------------------------

    def _read(self, seeds: Sequence[Seed]) -> list[Trace]:
        """Return the traces of some seeds, except those that were deleted meanwhile."""
        run_ids: dict[str, tuple[str, ...]] = {}
        for seed in seeds:  # Several outermost runs may have one trace.
            run_ids[seed.trace_id] = (*run_ids.get(seed.trace_id, ()), *seed.run_ids)
        merged = [Seed(trace_id, tuple(dict.fromkeys(ids))) for trace_id, ids in run_ids.items()]
        return [trace for trace in self._reader.read(merged) if trace.spans]

    @contextmanager
    def _outgoing(self, dry_run: bool, stop: Event | None = None) -> Iterator[Outgoing]:
        if self._sender is None and not dry_run:  # It knows when to ask the receiver again.
            self._sender = self._target.sender(stop or Event())
        sender = None if dry_run else self._sender
        try:
            with untraced():
                yield Outgoing(self._persistence, self._target, sender)
        finally:
            if sender is not None:
                sender.close()

    def _tell(self, dry_run: bool, **filters: Any) -> None:
        """Add a line to the audit log."""
        if not dry_run:
            about = {"format": "otlp", "filters": filters}
            clock = self._persistence.clock
            audit_reading(self._store, clock, "export", self._target.place, "server", **about)


def _has_ended(trace: Trace) -> bool:
    root = trace.root
    if root.ended_at is not None:
        return True
    return root.is_run and root.status != SpanStatus.RUNNING.value


def _report_progress(progress: Progress | None, outgoing: Outgoing) -> None:
    if progress is not None:
        progress(outgoing.traces, None)
