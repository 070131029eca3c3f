"""Numbers of runs: by how they ended, as a chart, and by their agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.console.http.paths import Paths
from curio_persistence.console.render.charts import Chart, Column, Series
from curio_persistence.console.render.times import minute_time
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.viewer import Viewer
from curio_persistence.console.request.windows import short_day
from curio_persistence.models import FAILED_STATUSES, AgentRunStatus
from curio_persistence.views.wording import number

if TYPE_CHECKING:
    from curio_persistence.capabilities.run_counts import RunCount
    from curio_persistence.persistence import Persistence

_COMPLETED = AgentRunStatus.COMPLETED.value
_DAY = timedelta(days=1)


class Outcomes(NamedTuple):
    """The number of some runs, and of those among them that failed."""

    runs: int
    failed: int


def outcomes_of(counts: Iterable[RunCount]) -> Outcomes:
    """Return the outcomes of all buckets together."""
    by = Counter[str]()
    for count in counts:
        by.update(count.by)
    return Outcomes(by.total(), sum(by[status] for status in FAILED_STATUSES))


def runs_by_agent(
    persistence: Persistence, since: datetime, until: datetime, **filters: Any
) -> Counter[str]:
    """Return how many runs each agent began."""
    by = Counter[str]()
    for count in persistence.runs.counts(
        bucket="1w", by="agent", since=since, until=until, **filters
    ):
        by.update(count.by)
    return by


def outcome_chart(
    paths: Paths, viewer: Viewer, counts: Sequence[RunCount], label: str, **filters: object
) -> Chart:
    """Return a chart of the runs of each bucket by their outcome; a column leads to its runs."""
    filters.update(since=None, until=None)
    url = paths.page("runs", **filters)  # Once for all columns: it takes long to encode.
    # The last period has begun, and is shorter than the others.
    of_days = max((each.end - each.begin for each in counts), default=_DAY) > _DAY / 2
    columns = [
        Column(_title(viewer, each), _label(viewer, each, of_days), _narrowed(url, each))
        for each in counts
    ]
    return Chart(label, "Time", columns, outcomes(counts), number)


def _narrowed(url: str, count: RunCount) -> str:
    """Return a URL of runs with the time of a bucket."""
    time = f"since={instant(count.begin)}&until={instant(count.end)}".replace(":", "%3A")
    return f"{url}{'&' if '?' in url else '?'}{time}"


def outcomes(counts: Sequence[RunCount]) -> list[Series]:
    """Return the numbers of completed, failed and other runs, which did not end or were ended."""
    completed, failed, rest = {}, {}, {}
    for column, each in enumerate(counts):
        completed[column] = each.by.get(_COMPLETED, 0)
        failed[column] = sum(each.by.get(status, 0) for status in FAILED_STATUSES)
        rest[column] = each.runs - completed[column] - failed[column]
    return [
        Series(name, {column: count for column, count in found.items() if count}, colour)
        for name, found, colour in (
            ("completed", completed, "s-ok"),
            ("other", rest, "s-rest"),
            ("failed", failed, "s-bad"),
        )
    ]


def _title(viewer: Viewer, count: RunCount) -> str:
    """Return `28 Nov 10:12 to 10:30`; of whole days the first one, and the last one."""
    begin, end = viewer.local(count.begin), viewer.local(count.end)
    if (begin.hour, begin.minute, end.hour, end.minute) == (0, 0, 0, 0):
        last = (end - _DAY).date()
        days = short_day(begin.date())
        return days if last <= begin.date() else f"{days} to {short_day(last)}"
    is_one_day = begin.date() == end.date()
    until = f"{end:%H:%M}" if is_one_day else minute_time(viewer, count.end)
    return f"{minute_time(viewer, count.begin)} to {until}"


def _label(viewer: Viewer, count: RunCount, of_days: bool) -> str:
    begin = viewer.local(count.begin)
    is_day = of_days and (begin.hour, begin.minute) == (0, 0)
    return short_day(begin.date()) if is_day else f"{begin:%H:%M}"
