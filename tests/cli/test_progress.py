"""Progress is shown on a terminal, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from itertools import count
from pathlib import Path

import pytest

from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import Progress, progress_line
from tests.cli.program import until_it_is_closed

WIPED = "\r\x1b[K"
MARK = "\0"


class Screen:
    """A terminal, and a clock that moves only on request."""

    def __init__(self, columns: int) -> None:
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.file = os.fdopen(there, "w", encoding="utf-8")
        self.now = 100.0

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        with (
            redirect_stdout(self.file),
            redirect_stderr(self.file),
            progress_line(what, clock=lambda: self.now) as progress,
        ):
            yield progress

    def shown(self) -> str:
        """Return what was written since the last call."""
        self.file.write(MARK)  # Earlier output arrives earlier.
        self.file.flush()
        seen = b""
        while MARK.encode() not in seen:
            seen += os.read(self._here, 4096)
        return seen.decode().removesuffix(MARK)

    def close_window(self) -> None:
        os.close(self._here)


@pytest.fixture
def columns() -> int:
    return 100


@pytest.fixture
def screen(columns: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    screen = Screen(columns)
    monkeypatch.setenv("TERM", "xterm-256color")
    yield screen
    with suppress(OSError):
        screen.file.close()
        screen.close_window()


def test_the_line_shows_the_amount_the_rate_and_the_time_left(screen: Screen) -> None:
    with screen.progress("Importing events") as progress:
        progress(0, 2_000_000)
        screen.now += 50
        progress(500_000, 2_000_000)
        assert screen.shown() == (
            f"{WIPED}Importing events: 500,000 of 2,000,000  25 %  10,000/s  2m 30s left"
        )


def test_without_a_total_it_shows_the_amount_and_the_rate(screen: Screen) -> None:
    with screen.progress("Reading") as progress:
        progress(1000, None)
        screen.now += 2
        progress(7000, None)
        assert screen.shown() == f"{WIPED}Reading: 7,000  3,000/s"


def test_the_rate_of_resumed_work_excludes_earlier_work(screen: Screen) -> None:
    with screen.progress("Copying") as progress:
        progress(900_000, 1_000_000)
        screen.now += 10
        progress(910_000, 1_000_000)
        assert "  1,000/s  1m 30s left" in screen.shown()


def test_each_part_of_the_work_has_its_own_rate(screen: Screen) -> None:
    with screen.progress("Copying") as progress:
        progress(0, 5000)
        screen.now += 1
        progress(5000, 5000)
        assert screen.shown().endswith("5,000 of 5,000  100 %  5,000/s")
        screen.now += 1
        progress(0, 90)
        assert screen.shown().endswith("0 of 90  0 %")
        screen.now += 1
        progress(30, 90)
        assert screen.shown().endswith("30 of 90  33 %  30/s  2.0 s left")


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [(0, 0, "0 of 0"), (0, None, "0"), (5, 0, "5 of 0"), (30, 20, "30 of 20  100 %")],
)
def test_a_total_may_be_zero_or_too_low(
    screen: Screen, done: int, total: int | None, said: str
) -> None:
    with screen.progress("Counting") as progress:
        screen.now += 1
        progress(done, total)
        assert screen.shown() == f"{WIPED}Counting: {said}"


def test_short_work_shows_nothing(screen: Screen) -> None:
    with screen.progress("Blinking") as progress:
        progress(1, 2)
        screen.now += 0.49
        progress(2, 2)
    assert screen.shown() == ""


def test_it_is_written_ten_times_a_second_at_most(screen: Screen) -> None:
    with screen.progress("Hurrying") as progress:
        screen.now += 1
        for done in range(1000):
            screen.now += 0.001
            progress(done, 1000)
        assert 9 <= screen.shown().count("Hurrying") <= 10


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_it_is_wiped_when_the_work_fails(screen: Screen, failure: type[BaseException]) -> None:
    def work() -> None:
        with screen.progress("Working") as progress:
            screen.now += 1
            progress(1, 2)
            raise failure

    with pytest.raises(failure):
        work()
    assert screen.shown() == f"{WIPED}Working: 1 of 2  50 %{WIPED}"


@pytest.mark.parametrize("columns", [1, 2, 20, 40])
def test_it_never_fills_the_terminals_line(screen: Screen, columns: int) -> None:
    """A full line wraps to the next one, where it could not be wiped."""
    with screen.progress("Importing 日本 events from a folder") as progress:
        screen.now += 1
        progress(500_000, 2_000_000)
        line = screen.shown().removeprefix(WIPED)
        assert len(line) <= max(columns - 1, 1)


@pytest.mark.parametrize("columns", [0])
def test_a_terminal_may_have_no_known_width(screen: Screen) -> None:
    with screen.progress("Working") as progress:
        screen.now += 1
        progress(1, None)
        assert screen.shown() == f"{WIPED}Working: 1"


def test_it_has_no_colours(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks the same with NO_COLOR."""
    monkeypatch.setenv("NO_COLOR", "1")
    with screen.progress("Working") as progress:
        screen.now += 1
        progress(1, None)
    assert screen.shown() == f"{WIPED}Working: 1{WIPED}"


def test_a_dumb_terminal_gets_no_progress_because_it_cannot_rewrite_lines(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with screen.progress("Working") as progress:
        screen.now += 1
        progress(1, None)
    assert screen.shown() == ""


def test_a_pipe_gets_no_progress() -> None:
    said = StringIO()
    with redirect_stderr(said), progress_line("Working", clock=count().__next__) as progress:
        progress(1, None)
    assert said.getvalue() == ""


def test_a_terminal_that_was_closed_does_not_end_the_work(screen: Screen) -> None:
    with screen.progress("Working") as progress:
        screen.now += 1
        screen.close_window()
        progress(1, None)
    with pytest.raises(OSError, match="Input/output"):
        screen.file.flush()


def test_messages_printed_meanwhile_are_on_their_own_line(screen: Screen) -> None:
    with screen.progress("Working") as progress:
        screen.now += 1
        progress(1, None)
        say("A line is broken.")
        Output(as_json=False).line("An answer.")
        screen.now += 0.1
        progress(2, None)
    assert screen.shown() == (
        f"{WIPED}Working: 1{WIPED}A line is broken.\r\nAn answer.\r\n{WIPED}Working: 2  10/s{WIPED}"
    )


def test_output_to_a_pipe_does_not_change_the_line(screen: Screen) -> None:
    with screen.progress("Working") as progress, redirect_stdout(StringIO()) as piped:
        screen.now += 1
        progress(1, None)
        Output(as_json=False).line("An answer.")
        assert screen.shown() == f"{WIPED}Working: 1"
    assert piped.getvalue() == "An answer.\n"


INTERRUPTED = """
import itertools
from curio_persistence.cli.terminal.interrupts import leave_when_interrupted
from curio_persistence.cli.terminal.progress import progress_line

leave_when_interrupted()
with progress_line("Working") as progress:
    for done in itertools.count():
        progress(done, None)
"""


def test_ctrl_c_wipes_it(tmp_path: Path) -> None:
    screen, there = pty.openpty()
    with (
        os.fdopen(screen, "rb", buffering=0) as shown,
        subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED],
            stdin=there,
            stderr=there,
            env=os.environ | {"TERM": "xterm"},
            cwd=tmp_path,
        ) as it,
    ):
        os.close(there)
        seen = b""
        while b"Working" not in seen:
            seen += shown.read(4096)
        it.send_signal(signal.SIGINT)
        seen += b"".join(until_it_is_closed(shown))
    assert it.returncode == 130
    assert seen.endswith(WIPED.encode())
