"""The costs of model calls: by model, agent, provider or tag, and by the reader's days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from curio_persistence.console.http.paths import Paths
from curio_persistence.console.render.charts import Chart, Column, stacked_bars, with_others
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.windows import Period, Window
from curio_persistence.persistence import Persistence
from curio_persistence.views.wording import number, price

if TYPE_CHECKING:
    from curio_persistence.capabilities.totals import UsageTotals

ORIGINS = ("project", "branch", "source")
GROUPS = {
    "model": "model",
    "agent": "agent_id",
    "provider": "provider",
    "tag": "tag",
    **{name: name for name in ORIGINS},
}
"""The words by which costs are grouped, and the field of each in the totals."""


@dataclass
class Spent:
    """Model calls of one group, added up.

    `cost_usd` is None where no cost is known; `unpriced` counts the calls without one. `by_period`
    has the costs of those periods, by number, in which there were calls.
    """

    name: str | None = None
    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced: int = 0
    by_period: dict[int, Decimal | None] = field(default_factory=dict)

    def add(self, row: UsageTotals, period: int | None = None) -> None:
        self.calls += row.calls
        self.errors += row.errors
        self.input_tokens += row.input_tokens
        self.output_tokens += row.output_tokens
        self.unpriced += row.unpriced
        cost = row.cost_usd if row.calls > row.unpriced else None
        self.cost_usd = _added(self.cost_usd, cost)
        if period is not None:
            self.by_period[period] = _added(self.by_period.get(period), cost)

    @property
    def per_call(self) -> Decimal | None:
        """Return what a call of known cost cost on average."""
        priced = self.calls - self.unpriced
        return None if self.cost_usd is None or not priced else self.cost_usd / priced

    @property
    def in_per_out(self) -> float | None:
        """Return how many tokens were read for one that was written."""
        return round(self.input_tokens / self.output_tokens, 1) if self.output_tokens else None


class Spending(NamedTuple):
    """The costs of a window: those of each group, the dearest first, and of all together."""

    groups: Sequence[Spent]
    total: Spent


def spending(
    persistence: Persistence,
    window: Window,
    by: str,
    periods: Sequence[Period],
    filters: Mapping[str, Any],
) -> Spending:
    """Return the costs of a window by group and period."""
    rows = period_rows(persistence, window, by, filters)
    numbers = {period.name: number for number, period in enumerate(periods)}
    groups: dict[str | None, Spent] = {}
    for row in rows:
        name = getattr(row, GROUPS[by])
        groups.setdefault(name, Spent(name)).add(row, numbers.get(row.period or ""))
    total = _all(rows) if by != "tag" else _sum(persistence, window.since, window.until, filters)
    return Spending(sorted(groups.values(), key=_dearest_first), total)


def spent_before(persistence: Persistence, window: Window, filters: Mapping[str, Any]) -> Spent:
    """Return the costs of the time before a window."""
    return _sum(persistence, *window.before, filters)


def period_rows(
    persistence: Persistence, window: Window, by: str, filters: Mapping[str, Any]
) -> list[UsageTotals]:
    """Return the totals of each period and group in which there were calls."""
    return list(
        persistence.usage.totals(
            group_by=(window.bucket, by),
            timezone=window.zone,
            since=window.since,
            until=window.until,
            **filters,
        )
    )


def _all(rows: Iterable[UsageTotals]) -> Spent:
    spent = Spent()
    for row in rows:
        spent.add(row)
    return spent


def _sum(persistence: Persistence, since: Any, until: Any, filters: Mapping[str, Any]) -> Spent:
    """Return the costs without groups: a call whose run has two tags counts once."""
    return _all(persistence.usage.totals(since=since, until=until, **filters))


def _added(known: Decimal | None, more: Decimal | None) -> Decimal | None:
    return more if known is None else known + (more or 0)


def _dearest_first(spent: Spent) -> tuple[Any, ...]:
    return -(spent.cost_usd or 0), spent.cost_usd is None, -spent.calls, spent.name or ""


def cost_chart(
    paths: Paths,
    window: Window,
    by: str,
    periods: Sequence[Period],
    spent: Spending,
    agent_id: str | None,
) -> Markup:
    """Return the costs of each period by group; a bar leads to the runs of its period."""
    columns = [
        Column(
            each.title,
            each.label,
            paths.page(
                "runs", since=instant(each.begin), until=instant(each.end), agent_id=agent_id
            ),
        )
        for each in periods
    ]
    series = [(name_of(group.name, by), group.by_period) for group in spent.groups]
    label = f"Cost by {window.bucket} and {by}"
    return stacked_bars(Chart(label, window.bucket.title(), columns, with_others(series), price))


def name_of(name: str | None, by: str) -> str:
    """Return the name of a group; calls of which nothing is known have one too."""
    return f"no {by}" if name is None else name


def compared(total: Spent, before: Spent, that: str) -> str:
    """Return how a cost differs from that of the time before, such as "the 30 days before"."""
    if not before.calls:
        return f"no calls in {that}"
    if total.cost_usd is None or not before.cost_usd:
        return f"{price(before.cost_usd)} in {that}"
    ratio = total.cost_usd / before.cost_usd
    if ratio >= 2:
        return f"{number(round(ratio)) if ratio >= 10 else _one_place(ratio)} times {that}"
    percent = round(100 * abs(ratio - 1))
    if not percent:
        return f"as much as {that}"
    return f"{percent} % {'more' if ratio > 1 else 'less'} than {that}"


def _one_place(ratio: Decimal) -> str:
    return f"{ratio:.1f}".removesuffix(".0")
