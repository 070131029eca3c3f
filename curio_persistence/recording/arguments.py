"""Values of `record_run` that a persistence names before anything is recorded."""

from __future__ import annotations

from enum import Enum
from typing import Literal

OnError = Literal["log", "raise"]


class Parent(Enum):
    """The parent of a run where none is named."""

    ENCLOSING = "enclosing"
    """The run in whose block the new one begins, if there is one."""
