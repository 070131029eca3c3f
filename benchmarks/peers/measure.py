"""Every side does the same in turn, so that disturbances affect all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.crew import Peer
from benchmarks.peers.sides.base import Kind, Task
from benchmarks.support.timing import Timing

RAW, OURS = "raw", "ours"
IN_A_ROW = {1: 250, 100: 500, 1000: 1000}
"""The number of events that a side writes in its turn, by the size of the batches."""
ASKED_IN_A_ROW = 5


@dataclass(frozen=True)
class Sizes:
    """The numbers of events and calls in the files, and of those written in a repetition."""

    repetitions: int
    written_to: int
    listed: int
    usage_rows: int
    singles: int
    in_hundreds: int
    in_thousands: int


@dataclass(frozen=True)
class Results:
    """Timings by side. In them `raw` is the bare driver, when writing into the side's own tables;
    where it does not take part, `raw` is this package."""

    singles: Mapping[str, Timing]
    hundreds: Mapping[str, Timing]
    thousands: Mapping[str, Timing]
    pages: Mapping[str, Timing]
    statistics_of_one: Mapping[str, Timing]
    statistics_of_all: Mapping[str, Timing]
    newest: Mapping[str, Timing]
    found: Mapping[str, Timing]
    about: Mapping[str, Mapping[str, Any]]
    setups: Mapping[str, Mapping[str, Any]]


class Comparison:
    """The sides, and the folder in which their files are created and removed."""

    def __init__(
        self, peers: Sequence[Peer], sizes: Sizes, directory: Path, tell: Callable[[str], None]
    ) -> None:
        self._peers = peers
        self._sizes = sizes
        self._directory = directory
        self._tell = tell
        self._about = {peer.name: peer.ask("introduce") for peer in peers}

    def run(self) -> Results:
        setups, thousands, hundreds, singles = self._measure_writing()
        pages = self._measure_pages()
        calls = self._measure_calls()
        return Results(singles, hundreds, thousands, pages, *calls, self._about, setups)

    def _measure_writing(self) -> tuple[Any, ...]:
        sizes = self._sizes
        with self._at_work(["batch"], "written", sizes.written_to, "start_writing") as peers:
            before = {peer.name: peer.ask("setup") for peer in peers}
            check_durability(before)
            thousands = self._writing(peers, sizes.in_thousands, 1000)
            hundreds = self._writing(peers, sizes.in_hundreds, 100)
            # Last, because not all sides take part, and until here their files grow alike.
            singles = self._writing(self._able(peers, "single"), sizes.singles, 1)
            _check_same([before, {peer.name: peer.ask("setup") for peer in peers}])
            return before, thousands, hundreds, singles

    def _measure_pages(self) -> Mapping[str, Timing]:
        with self._at_work(["page"], "listed", self._sizes.listed, "start_reading") as peers:
            ours = [peer for peer in peers if self._about[peer.name]["tables"] == "ours"]
            _check_same([peer.ask("page_ids") for peer in ours])
            return self._asking(peers, "page", chunks=4, count=ASKED_IN_A_ROW)

    def _measure_calls(self) -> tuple[Mapping[str, Timing], ...]:
        rows = self._sizes.usage_rows
        tasks: tuple[Task, ...] = ("statistics", "newest", "search")
        with self._at_work(tasks, "summed", rows, "start_reading") as peers:
            summing, listing, searching = (self._able(peers, task) for task in tasks)
            _check_same([peer.ask("statistics") for peer in summing])
            _check_same([peer.ask("newest_prompts") for peer in listing])
            _check_same([peer.ask("found_prompts") for peer in searching])
            return (
                self._asking(summing, "statistics_of_one", chunks=2, count=ASKED_IN_A_ROW),
                self._asking(summing, "statistics_of_all", chunks=1, count=1),
                self._asking(listing, "newest", chunks=2, count=1),
                self._asking(searching, "search", chunks=2, count=1),
            )

    def _able(self, peers: Sequence[Peer], *tasks: Task) -> list[Peer]:
        """Return the sides that can do one of these."""
        calls = {peer: self._about[peer.name]["calls"] for peer in peers}
        return [peer for peer in peers if any(calls[peer][task] for task in tasks)]

    @contextmanager
    def _at_work(
        self, tasks: Sequence[Task], kind: Kind, size: int, start: str
    ) -> Iterator[list[Peer]]:
        """Return the sides that can do one of these, with files of this kind open."""
        peers = self._able(self._peers, *tasks)
        self._make(peers, kind, size)
        for peer in peers:
            peer.ask(start, kind=kind, size=size)
        os.sync()  # Filled files must not be written to the disk while others are measured.
        self._tell(f"measuring {kind} files …")
        yield peers
        for peer in peers:
            peer.ask("close")
        for file in self._directory.glob("*.db*"):
            file.unlink()

    def _make(self, peers: Sequence[Peer], kind: Kind, size: int) -> None:
        """Create the files at the same time, one for all sides that have the same tables."""
        self._tell(f"creating files of {size:,} rows …")
        makers = {self._about[peer.name]["tables"]: peer for peer in reversed(peers)}
        for peer in makers.values():
            peer.send("make", kind=kind, size=size)
        for peer in makers.values():
            peer.receive()

    def _writing(self, peers: Sequence[Peer], events: int, each: int) -> Mapping[str, Timing]:
        count = min(IN_A_ROW[each], events)

        def chunk(peer: Peer) -> tuple[int, int]:
            own = peer.ask("write", count=count, each=each)
            return peer.ask("replay", each=each), own

        return self._interleaved(peers, chunk, chunks=max(events // count, 1), calls=count)

    def _asking(
        self, peers: Sequence[Peer], question: str, *, chunks: int, count: int
    ) -> Mapping[str, Timing]:
        def chunk(peer: Peer) -> tuple[int, int]:
            return 0, peer.ask(question, count=count)

        timings = self._interleaved(peers, chunk, chunks=chunks, calls=count)
        raw = timings[RAW if RAW in timings else OURS].ours
        return {name: Timing(raw, timing.ours) for name, timing in timings.items()}

    def _interleaved(
        self,
        peers: Sequence[Peer],
        chunk: Callable[[Peer], tuple[int, int]],
        *,
        chunks: int,
        calls: int,
    ) -> Mapping[str, Timing]:
        for peer in peers:
            chunk(peer)
        timings = {peer.name: Timing([], []) for peer in peers}
        for _ in range(self._sizes.repetitions):
            for peer in peers:
                peer.ask("rest")
            sums = {peer.name: [0, 0] for peer in peers}
            for first in range(chunks):
                # Each side is first in turn, so that none is always after the slowest.
                begin = first % len(peers)
                for peer in (*peers[begin:], *peers[:begin]):
                    for position, taken in enumerate(chunk(peer)):
                        sums[peer.name][position] += taken
            for name, (raw, own) in sums.items():
                timings[name].raw.append(raw / chunks / calls)
                timings[name].ours.append(own / chunks / calls)
        return timings


def check_durability(setups: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to compare a side that survives a crash with one that does not."""
    for name, setup in setups.items():
        settings = setup["settings"]
        if (settings["journal_mode"], settings["synchronous"]) != ("wal", 1):
            raise RuntimeError(f"{name} is not as durable as the others: {settings}")


def _check_same(answers: Sequence[Any]) -> None:
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError(f"The sides do not do the same:\n{answers}")
