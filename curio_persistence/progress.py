"""Reports of progress from long work to its caller."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None], object]
"""A function called with the number of records done, and of all; None if that is unknown."""


class Checkpoint:
    """Ends work between two batches, by what `check` raises; tells only callers who ask for it."""

    def __init__(self, check: Callable[[], object], progress: Progress | None) -> None:
        self._check = check
        self.progress = progress

    def __call__(self, done: int, total: int | None) -> None:
        self._check()
        if self.progress is not None:
            self.progress(done, total)


def is_told(progress: Progress | None) -> bool:
    """Return True if the caller asked for progress; the records are then counted first."""
    return (progress.progress if isinstance(progress, Checkpoint) else progress) is not None
