"""Show the progress of long work: one line on stderr, rewritten, and wiped at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from curio_persistence.cli.terminal.output import PASSING
from curio_persistence.cli.terminal.text import shortened
from curio_persistence.progress import Progress
from curio_persistence.views.wording import span

_QUIET = 0.5
_BETWEEN = 0.1
_WIPE = "\r\x1b[K"


@contextmanager
def progress_line(what: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """Yield a function to call after each batch; it shows nothing unless stderr is a terminal.

    Work that ends within half a second shows nothing. `clock` returns seconds.
    """
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _untold
        return
    line = _Line(what, clock)
    PASSING.append(line.wipe)
    try:
        yield line.show
    finally:
        PASSING.remove(line.wipe)
        line.wipe()


def _untold(done: int, total: int | None) -> None:
    """Show nothing."""


class _Line:
    """The line; it counts the rate from its first call, as resumed work begins with much done."""

    def __init__(self, what: str, clock: Callable[[], float]) -> None:
        self._what = what
        self._clock = clock
        self._due = clock() + _QUIET
        self._begin: tuple[float, int] | None = None
        self._done = 0
        self._is_there = False

    def show(self, done: int, total: int | None) -> None:
        now = self._clock()
        if self._begin is None or done < self._done:  # Fewer than before: the next part of it.
            self._begin = (now, done)
        self._done = done
        if now < self._due:
            return
        self._due = now + _BETWEEN
        self._is_there = True
        began, begun_with = self._begin
        rate = (done - begun_with) / (now - began) if now > began else 0.0
        _write(_WIPE + shortened(f"{self._what}: {_told(done, total, rate)}", _width() - 1))

    def wipe(self) -> None:
        if self._is_there:
            self._is_there = False
            self._due = self._clock() + _BETWEEN  # Not at once again: the process may be ending.
            _write(_WIPE)


def _told(done: int, total: int | None, rate: float) -> str:
    parts = [f"{done:,}" if total is None else f"{done:,} of {total:,}"]
    if total:
        parts.append(f"{min(100 * done // total, 100)} %")
    if rate:
        parts.append(f"{rate:,.0f}/s")
    if rate and total is not None and total > done:
        parts.append(f"{span(1000 * (total - done) / rate)} left")
    return "  ".join(parts)


def _width() -> int:
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80


def _write(text: str) -> None:
    with suppress(OSError):  # Work goes on without its terminal.
        sys.stderr.write(text)
        sys.stderr.flush()
