"""Hash chains: what a link costs, and how long a chain takes to verify."""

from __future__ import annotations

from benchmarks.cases.sides import Case, apart, check, events_to_write
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Chunk, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence

_SIZE = 1_000
_LINKS = 50_000
_A_LINK = Goal(25_000, 20_000, "over")
_VERIFIED = Goal(5e9, 2e9, "alone")
_KEY = "a key of the auditors"


def sqlite_chains(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first) as plain,
        SQLitePersistence(second, chain=True, audit_key=_KEY) as chained,
    ):
        return _lines("SQLite", work, plain, chained)


def postgres_chains(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (first, second),
        PostgresPersistence(dsn=work.dsn, schema=first) as plain,
        PostgresPersistence(dsn=work.dsn, schema=second, chain=True, audit_key=_KEY) as chained,
        apart(work),
    ):
        return _lines("PostgreSQL", work, plain, chained)


CASES: dict[str, Case] = {"sqlite-chains": sqlite_chains, "postgres-chains": postgres_chains}


def _lines(name: str, work: Workspace, plain: Persistence, chained: Persistence) -> list[Line]:
    def written_by(persistence: Persistence) -> Chunk:
        stream = events_to_write(work)

        def write() -> int:
            events = stream.take(_SIZE)
            for event in events:
                event.run_id = f"chained {event.run_id}"  # The others have events without links.
            return timed(persistence.log_agent_run_events, [events])

        return write

    written = interleave(
        written_by(plain),
        written_by(chained),
        calls=_SIZE,
        chunks=max(work.sizes.batched // _SIZE, 1),
        repetitions=work.sizes.repetitions,
    )
    links = chained.audit.verify().links
    check(chained.audit.verify().ok, True)

    def read(persistence: Persistence) -> int:
        return sum(1 for event in persistence.iter_agent_run_events() if event.hash)

    def verify(persistence: Persistence) -> int:
        return persistence.audit.verify().links

    check(verify(chained), read(chained))
    verified = interleave(
        lambda: timed(read, [chained]) * _LINKS // links,
        lambda: timed(verify, [chained]) * _LINKS // links,
        chunks=1,
        repetitions=work.sizes.repetitions,
    )
    return [
        Line(f"{name}, an event in a batch of {_SIZE:,} as a signed link", _A_LINK, written),
        Line(
            f"{name}, verifying {_LINKS:,} links",
            _VERIFIED,
            verified,
            remark="raw reads all events; from the time for those that were written",
        ),
    ]
