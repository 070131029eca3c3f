"""MLflow: traces in its database, in files of JSON, and in the folders of `mlruns`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from curio_persistence.importers.mlflow.database import is_mlflow, read_database
from curio_persistence.importers.mlflow.mlruns import is_in_mlruns, read_folder
from curio_persistence.importers.mlflow.traces import is_trace, records, split
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.records import Found, SessionSource
from curio_persistence.importers.traces.reading import finder, read_mixed, recognizer
from curio_persistence.importers.traces.rows import first_row

_SQLITE = "sqlite:///"


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield what MLflow makes where it is started, and the database that the environment names."""
    address = environment.get("MLFLOW_TRACKING_URI", "")
    if address.startswith(_SQLITE):
        yield Path(address.removeprefix(_SQLITE))
    yield Path("mlflow.db")
    yield Path("mlruns")


def _holds_traces(path: Path) -> bool:
    return is_trace(first_row(path) or {})


def _read(context: SessionContext) -> Found:
    files = [*context.files()]
    folders = [file for file in files if is_in_mlruns(file.path)]
    for file in folders:
        if not context.is_read([file]):
            yield from read_folder(file, context)
            context.has_read([file])
    others = [file for file in files if file not in folders]
    yield from read_mixed(context, others, is_mlflow, read_database, split, records)


SOURCE = SessionSource(
    "mlflow",
    _places,
    recognizer(_holds_traces, is_mlflow),
    finder(_holds_traces, is_mlflow),
    _read,
)
