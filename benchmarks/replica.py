"""Measures questions to a replica of ten million events: `python benchmarks/replica.py`.

It takes three gigabytes and some minutes. `--quick` shows in some seconds that it works. A full run
writes REPLICA.md; others write only with `--output`.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks`, from any working directory.

from benchmarks.support import replicated, report  # noqa: E402
from benchmarks.support.workspace import disk  # noqa: E402
from curio_persistence import Persistence, SQLitePersistence, connect  # noqa: E402
from curio_persistence.backends.clickhouse.client import ClickHouseClient, open_client  # noqa: E402

PAGE = Path(__file__).with_name("REPLICA.md")
_LISTING, _NUMBERS, _WORDS = 500, 300, 800
"""Floors of the 95th percentile, in milliseconds."""
_TEXT = """\
# Questions to a replica

Written by `make bench-replica`. {facts}.

{events:,} events of {days} days, {calls:,} model calls and {runs:,} runs, in chdb. A tenth of them
was replicated from a SQLite file, and copied with other ids, each some seconds later. Every
question is asked {queries} times through a persistence, with other values where it has some. *CPU*
is the processor's time of all threads, which other programs on the machine hardly change. The load
of the {processors} processors was {load:.0f}: above their number, the times are longer than they
need be.

{table}

Replicated at {rate:.0f} thousand rows in a second of the processor, reading included. The replica
takes {replica_mb:,} MB where the SQLite file takes {source_mb:,} MB: {size:.2f} of it, with the
indexes of words, which the file does not have.
"""
Question = tuple[str, int, Callable[[], object]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="curio-bench-", dir=options.directory) as folder:
        text = _measured(Path(folder), options.events, options.queries)
    print(text)
    if output := options.output or (PAGE if options.is_full else None):
        output.write_text(text, encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a replica of twenty thousand events")
    add("--events", type=int, metavar="N", help="how many events the replica has")
    add("--output", type=Path, metavar="FILE", help="the page to write")
    add("--directory", type=Path, default=disk(), help="for the files (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.is_full = not options.quick and options.events is None
    options.events = options.events or (20_000 if options.quick else 10_000_000)
    options.queries = 2 if options.quick else 20
    return options


def _measured(folder: Path, events: int, queries: int) -> str:
    source, url = folder / "source.db", f"chdb://{folder / 'replica'}"
    replicated.fill_source(source, events // replicated.COPIES)
    _say("source made")
    sent, seconds = _replicate(source, url)
    _say("replicated")
    client = open_client(url)
    small, before = _sizes(source, client)
    replicated.copy_rows(client)
    client.close()
    _say("copied")
    with connect(url) as replica:
        answers = [*_asked(_questions(replica, events), queries)]
    return _TEXT.format(
        facts=" · ".join(report.facts(folder, None)),
        events=events,
        calls=events // 10,
        runs=events // replicated.OF_A_RUN,
        days=replicated.DAYS,
        queries=queries,
        load=os.getloadavg()[1],
        processors=os.cpu_count(),
        table="\n".join(answers),
        rate=sent / seconds / 1000,
        size=before / small,
        source_mb=small // 10**6,
        replica_mb=before // 10**6,
    )


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _replicate(source: Path, url: str) -> tuple[int, float]:
    """Replicate a file; return how many rows that were, and the processor's seconds for each."""
    with SQLitePersistence(source) as persistence:
        begin = _busy()
        persistence.replicate(url, once=True, source="source")
        seconds = _busy() - begin
        rows = persistence.count_events() + persistence.usage.count()
    return rows, seconds


def _questions(replica: Persistence, events: int) -> Iterator[Question]:
    """Yield questions, the longest that each may take, and how they are asked."""
    chosen = random.Random(2)
    count = events // replicated.COPIES // replicated.OF_A_RUN
    now = replicated.END
    a_day = {"since": now - timedelta(days=31), "until": now - timedelta(days=30)}

    def run_id() -> str:
        return f"{replicated.run_id(chosen.randrange(count))}-{chosen.randrange(1, 9)}"

    def agent() -> str:
        return f"agent-{chosen.randrange(20)}"

    far = replica.query_events(limit=5_000).next_cursor
    yield "newest 100 events of all", _LISTING, lambda: replica.query_events(limit=100)
    yield "a page behind 5,000 of them", _LISTING, lambda: replica.query_events(cursor=far)
    yield (
        "newest 100 events of an agent and type",
        _LISTING,
        lambda: replica.query_events(agent_id=agent(), event_type="log"),
    )
    yield (
        "newest 100 errors of a day",
        _LISTING,
        lambda: replica.query_events(min_level="error", **a_day),
    )
    yield "a run's events", _LISTING, lambda: replica.get_agent_run_events(run_id())
    yield (
        "an event by its id",
        _LISTING,
        lambda: replica.events.get(chosen.randrange(1, events)),
    )
    yield "a run by its id", _LISTING, lambda: replica.get_agent_run(run_id())
    yield "newest 100 runs of all", _LISTING, lambda: replica.query_agent_runs()
    yield (
        "newest 100 runs of an agent",
        _LISTING,
        lambda: replica.query_agent_runs(agent_id=agent()),
    )
    yield (
        "newest 100 failed runs of an agent",
        _LISTING,
        lambda: replica.query_agent_runs(agent_id=agent(), status="error"),
    )
    yield (
        "newest 100 calls of an agent",
        _LISTING,
        lambda: replica.query_llm_usage(agent_id=agent()),
    )
    yield "statistics of all", _NUMBERS, lambda: replica.get_agent_run_stats()
    yield "statistics of an agent", _NUMBERS, lambda: replica.get_agent_run_stats(agent())
    yield "totals by model", _NUMBERS, lambda: replica.usage.totals(group_by="model")
    yield "how many events an agent has", _NUMBERS, lambda: replica.count_events(agent_id=agent())
    month = {"since": now - timedelta(days=40), "until": now - timedelta(days=10)}
    yield (
        "analytics of a month by day",
        _NUMBERS,
        lambda: replica.analytics(bucket="day", **month),
    )
    yield "newest 50 with two frequent words", _WORDS, lambda: replica.search_text("memory agent")
    yield (
        "newest 50 with a word in one of 5,000",
        _WORDS,
        lambda: replica.search_text(f"rare{chosen.randrange(replicated.RARE)}"),
    )
    yield "a word that is nowhere", _WORDS, lambda: replica.search_text("unicorn", max_wait=60)
    yield (
        "newest 100 with a payload",
        _WORDS,
        lambda: replica.query_events(payload={"rare": f"rare{chosen.randrange(replicated.RARE)}"}),
    )


def _asked(questions: Iterator[Question], queries: int) -> Iterator[str]:
    yield "| | p50 | p95 | CPU | floor of p95 | |"
    yield "|---|---|---|---|---|---|"
    for name, floor, ask in questions:
        ask()
        taken = [_taken(ask) for _ in range(queries)]
        times, busy = (sorted(each) for each in zip(*taken, strict=True))
        p95 = times[len(times) * 95 // 100]
        middle = len(taken) // 2
        verdict = "ok" if p95 <= floor else "missed"
        line = f"| {name} | {times[middle]:.0f} ms | {p95:.0f} ms | {busy[middle]:.0f} ms "
        line += f"| {floor} ms | {verdict} |"
        _say(line)
        yield line


def _taken(ask: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds of a question, and those of the processor."""
    begin, busy = time.perf_counter(), _busy()
    ask()
    return (time.perf_counter() - begin) * 1000, (_busy() - busy) * 1000


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _sizes(source: Path, client: ClickHouseClient) -> tuple[int, int]:
    return source.stat().st_size, _merged_bytes(client)


def _merged_bytes(client: ClickHouseClient) -> int:
    for name in ("agent_runs", "agent_run_events", "agent_llm_usage"):
        client.command(f"OPTIMIZE TABLE {name} FINAL")
    [(size,)] = client.rows(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"
    )
    return int(size)


if __name__ == "__main__":
    main()
