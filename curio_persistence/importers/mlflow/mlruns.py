"""The folders of `mlruns`, in which older versions of MLflow keep each trace by itself.

`<experiment>/traces/<trace>/artifacts/traces.json` has the spans. Beside `artifacts` there are
folders with a small file for each name that is told of the trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.common.folders import listed
from curio_persistence.importers.common.json_lines import open_ordinary, read_object
from curio_persistence.importers.mlflow.traces import records_of_trace, spans_in
from curio_persistence.importers.sessions.records import Found, SourceLocation

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext
    from curio_persistence.importers.sessions.files import SessionFile

_LONGEST = 1 << 16


def is_in_mlruns(path: Path) -> bool:
    """Return whether a file is that of a trace in such a folder."""
    parents = [parent.name for parent in path.parents[:3]]
    return path.name == "traces.json" and parents[:1] + parents[2:] == ["artifacts", "traces"]


def read_folder(file: SessionFile, context: SessionContext) -> Found:
    """Yield the records of the trace of a file, with what lies beside it."""
    row = read_object(file.path, file.name, context.report)
    if row is None:
        return
    folder = file.path.parent.parent
    info: dict[str, Any] = {
        "experiment_id": folder.parent.parent.name,
        "trace_metadata": dict(_told(folder / "request_metadata", folder, context)),
        "tags": dict(_told(folder / "tags", folder, context)),
    }
    location = SourceLocation(file.name)
    yield from records_of_trace(context, folder.name, info, spans_in(row), location)


def _told(folder: Path, root: Path, context: SessionContext) -> Iterator[tuple[str, str]]:
    if not folder.is_dir() or folder.is_symlink():
        return
    for name, entry in listed(folder, root, context.report).items():
        if entry.is_file(follow_symlinks=False):
            with open_ordinary(Path(entry.path)) as file:
                yield name, file.read(_LONGEST).decode("utf-8", "replace")
