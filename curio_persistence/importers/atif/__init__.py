"""ATIF, the Agent Trajectory Interchange Format: versions 1.0 to 1.8."""

from __future__ import annotations

import re
from pathlib import Path

from curio_persistence.importers.atif.trajectory import records
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import beginning
from curio_persistence.importers.sessions.records import Found, SessionSource, nowhere
from curio_persistence.importers.traces.reading import finder, recognizer
from curio_persistence.importers.traces.rows import read_rows

_BEGIN = 1 << 16
_is_trajectory = re.compile(rb'"schema_version"\s*:\s*"ATIF-v\d').search


def _is_ours(path: Path) -> bool:
    return _is_trajectory(beginning(path, _BEGIN)) is not None


def _read(context: SessionContext) -> Found:
    for file in context.files():
        if context.is_read([file]):
            continue
        for row, location in read_rows(file.path, file.name, context.report):
            yield from records(context, row, location, file)
        context.has_read([file])


SOURCE = SessionSource("atif", nowhere, recognizer(_is_ours), finder(_is_ours), _read)
