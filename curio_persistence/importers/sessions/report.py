"""Reports of imported sessions: by source, what was found, stored, left out and refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from curio_persistence.importers.common.report import ImportReport, Problem, ReportBuilder

WITHOUT_WORDS = "runs whose calls and events were stored without words"


class SessionPlace(NamedTuple):
    """A folder or file with sessions of one source."""

    source: str
    path: Path
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SourceReport:
    """The outcome of one source.

    Sessions, calls, tokens and costs are those in the files that were read, also where they were
    stored before; `stored` counts what is new. `cost_told_usd` is what the source itself told;
    `cost_priced_usd` was computed from prices; of `unpriced` calls neither is known.
    """

    source: str
    places: tuple[SessionPlace, ...]
    sessions: int
    runs: int
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    unknown_input: int
    cost_told_usd: Decimal | None
    cost_priced_usd: Decimal | None
    unpriced: int
    stored: ImportReport

    @property
    def unchanged(self) -> int:
        """Return the number of files that were not read again."""
        return self.stored.also.get("unchanged files", 0)

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, ready for JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        places = [{**place._asdict(), "path": str(place.path)} for place in self.places]
        costs = {name: values[name] for name in ("cost_told_usd", "cost_priced_usd")}
        costs = {name: None if cost is None else str(cost) for name, cost in costs.items()}
        stored = self.stored.to_dict()
        return {**values, "places": places, **costs, "unchanged": self.unchanged, "stored": stored}


@dataclass(frozen=True, slots=True)
class SessionImportReport:
    """Reports of the sources, in the order they were read."""

    sources: tuple[SourceReport, ...]
    dry_run: bool

    @property
    def ok(self) -> bool:
        """Return True if there were no problems."""
        return all(source.stored.ok for source in self.sources)

    @property
    def runs(self) -> int:
        """Return the number of runs that are new or changed."""
        return sum(source.stored.runs for source in self.sources)

    @property
    def events(self) -> int:
        """Return the number of new events."""
        return sum(source.stored.events for source in self.sources)

    @property
    def usage(self) -> int:
        """Return the number of new model calls."""
        return sum(source.stored.usage for source in self.sources)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of all sources; of each the first thousand."""
        return tuple(problem for source in self.sources for problem in source.stored.problems)

    @property
    def incomplete(self) -> tuple[Problem, ...]:
        """Return the last lines of growing files that were cut off, and are read later."""
        return tuple(each for source in self.sources for each in source.stored.incomplete)

    @property
    def without_words(self) -> int:
        """Return the number of runs of which a metrics-only import stored calls and events before.

        These keep no words: what is stored of them is never changed.
        """
        return self.skipped.get(WITHOUT_WORDS, 0)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Return the numbers of what was left out on purpose, by the reason."""
        every: dict[str, int] = {}
        for source in self.sources:
            for why, count in source.stored.skipped.items():
                every[why] = every.get(why, 0) + count
        return every

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, ready for JSON."""
        sources = [source.to_dict() for source in self.sources]
        return {"ok": self.ok, "dry_run": self.dry_run, "sources": sources}


@dataclass(slots=True)
class Tally:
    """Adds up what one source's reader yields."""

    sessions: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    unknown_input: int = 0
    told: int | None = None
    priced: int | None = None
    unpriced: int = 0

    def add_call(self, row: Mapping[str, Any]) -> None:
        """Add an encoded model call."""
        self.calls += 1
        self.unknown_input += row.get("input_tokens") is None
        for name in _TOKENS:
            setattr(self, name, getattr(self, name) + (row.get(name) or 0))
        cost = row.get("cost_usd")
        if cost is None:
            self.unpriced += 1
        elif row.get("price_version") is None:
            self.told = (self.told or 0) + cost
        else:
            self.priced = (self.priced or 0) + cost

    def build(
        self, source: str, places: tuple[SessionPlace, ...], report: ReportBuilder, *, dry_run: bool
    ) -> SourceReport:
        values = asdict(self) | {"sessions": len(self.sessions), "runs": len(self.runs)}
        told, priced = _dollars(values.pop("told")), _dollars(values.pop("priced"))
        return SourceReport(
            source=source,
            places=places,
            cost_told_usd=told,
            cost_priced_usd=priced,
            stored=report.build(dry_run=dry_run),
            **values,
        )


_TOKENS = (
    *("input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
)


def _dollars(picodollars: int | None) -> Decimal | None:
    """Return an exact sum of costs."""
    return None if picodollars is None else (Decimal(picodollars) / 10**12).normalize() + 0
