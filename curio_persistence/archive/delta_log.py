"""The log of a table of an archive, in the format of Delta Lake.

A version is a file of JSON lines that is created once and never changed; which of two writers
created it decides who has committed. Spark, Trino, ClickHouse, DuckDB, polars and others read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from curio_persistence.clock import utc_now
from curio_persistence.errors import (
    ConflictError,
    CorruptDatabaseError,
    SchemaMismatchError,
)
from curio_persistence.places import Place
from curio_persistence.store.table import Kind, Table

_READER, _WRITER = 1, 2
_TYPES: Mapping[Kind, str] = {
    "name": "string",
    "text": "string",
    "integer": "long",
    "real": "double",
    "time": "timestamp",
    "money": "decimal(20,12)",
}
_SAFE_PATH = re.compile(r"dt=\d{4}-\d\d-\d\d/[\w.-]+\.parquet")
_TRIES = 20


class ArchivedFile(NamedTuple):
    """A Parquet file: its path below the folder of its table, and what is in it.

    The rows of a run that were archived together are in files of one batch. The first and the last
    time of the rows are stored times.
    """

    path: str
    day: str
    size: int
    rows: int
    sha256: str
    batch: str
    first_run: str
    last_run: str
    first_time: str
    last_time: str

    def may_have(self, run_id: str) -> bool:
        """Return False if no row is of this run."""
        return self.first_run <= run_id <= self.last_run


class DeltaLog:
    """The committed files of one table of an archive."""

    def __init__(self, place: Place, folder: str, table: Table[Any]) -> None:
        self._place = place
        self._folder = f"{folder}/_delta_log"
        self._table = table
        self._version = -1
        self._id = ""
        self._files: dict[str, ArchivedFile] = {}
        self.removed: set[str] = set()
        """The paths of the files that were removed, as far as the log was read."""

    def files(self) -> dict[str, ArchivedFile]:
        """Return the files by their paths, in the order in which they were committed."""
        self._read()
        return dict(self._files)

    @property
    def exists(self) -> bool:
        """True if anything was committed."""
        self._read()
        return self._version >= 0

    @property
    def id(self) -> str:
        """The id of the table, the same wherever it is copied; empty before the first commit."""
        if not self._id:
            self._read()
        return self._id

    def commit(self, files: Sequence[ArchivedFile], removed: Sequence[ArchivedFile] = ()) -> None:
        """Add files and remove others, all or none; files that are in the log are left out.

        Raise ConflictError if another program has removed one of the others.
        """
        for _ in range(_TRIES):
            self._read()
            if any(each.path not in self._files for each in removed):
                raise ConflictError(f"{self._place.name}: another program changed it. Try again.")
            new = [each for each in files if each.path not in self._files]
            if not new and not removed:
                return
            actions = [*(self._beginning() if self._version < 0 else ())]
            actions += [*map(_remove, removed), *({"add": add} for add in self.additions(new))]
            lines = "".join(f"{json.dumps(action)}\n" for action in [_info(), *actions])
            if self._place.put_new(f"{self._folder}/{self._version + 1:020}.json", lines.encode()):
                return
        raise ConflictError(f"{self._place.name}: other programs commit all the time. Try again.")

    def additions(self, files: Sequence[ArchivedFile]) -> list[dict[str, Any]]:
        """Return the actions that add files, from which `file_of` makes them again."""
        return [_addition(file, self._table.ages_by) for file in files]

    def _read(self) -> None:
        """Read the versions that were committed since the last time."""
        for name in self._place.names(self._folder):
            if not re.fullmatch(r"\d{20}\.json", name.rpartition("/")[2]):
                continue
            version = int(name[-25:-5])
            if version <= self._version:
                continue
            if version != self._version + 1:
                raise self._damaged(name, ValueError(f"version {self._version + 1} is missing"))
            for action in self._actions(name):
                self._apply(name, action)
            self._version = version

    def _actions(self, name: str) -> Iterator[Mapping[str, Any]]:
        try:
            for line in self._place.get(name).decode().split("\n"):
                if line:
                    action = json.loads(line)
                    if not isinstance(action, dict):
                        raise TypeError(f"{line[:40]!r} is not an action")
                    yield action
        except (ValueError, TypeError) as error:
            raise self._damaged(name, error) from error

    def _apply(self, name: str, action: Mapping[str, Any]) -> None:
        try:
            if "protocol" in action:
                self._check_protocol(action["protocol"])
            elif "metaData" in action:
                self._id = str(action["metaData"]["id"])
            elif "add" in action:
                file = file_of(action["add"])
                self._files[file.path] = file
                self.removed.discard(file.path)
            elif "remove" in action:
                path = action["remove"]["path"]
                self._files.pop(path, None)
                self.removed.add(path)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise self._damaged(name, error) from error

    def _check_protocol(self, protocol: Mapping[str, Any]) -> None:
        reader, writer = protocol.get("minReaderVersion"), protocol.get("minWriterVersion")
        if (reader, writer) != (_READER, _WRITER):
            raise SchemaMismatchError(
                f"{self._place.name}/{self._folder} was changed by another program to the Delta "
                f"protocol {reader}/{writer}; this version understands {_READER}/{_WRITER}. "
                "Archive to another place.",
                found=f"{reader}/{writer}",
                wanted=f"{_READER}/{_WRITER}",
            )

    def _damaged(self, name: str, error: Exception) -> CorruptDatabaseError:
        return CorruptDatabaseError(
            f"{self._place.name}/{name} is damaged, or another program changed it: {error}."
        )

    def _beginning(self) -> list[dict[str, Any]]:
        from uuid import uuid4  # On use: the import takes longer than that of this module.

        columns = [("dt", "date")]
        columns += [(name, _TYPES[kind]) for name, kind in self._table.kinds.items()]
        fields = [
            {"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in columns
        ]
        return [
            {"protocol": {"minReaderVersion": _READER, "minWriterVersion": _WRITER}},
            {
                "metaData": {
                    "id": str(uuid4()),
                    "format": {"provider": "parquet", "options": {}},
                    "schemaString": json.dumps({"type": "struct", "fields": fields}),
                    "partitionColumns": ["dt"],
                    "configuration": {},
                    "createdTime": _milliseconds(),
                }
            },
        ]


def file_of(add: Mapping[str, Any]) -> ArchivedFile:
    """Return the file that an action adds."""
    stats, tags = json.loads(add["stats"]), add["tags"]
    file = ArchivedFile(
        str(add["path"]),
        str(add["partitionValues"]["dt"]),
        int(add["size"]),
        int(stats["numRecords"]),
        str(tags["sha256"]),
        str(tags["batch"]),
        str(stats["minValues"]["run_id"]),
        str(stats["maxValues"]["run_id"]),
        str(tags["first_time"]),
        str(tags["last_time"]),
    )
    if not _SAFE_PATH.fullmatch(file.path):
        raise ValueError(f"the path {file.path!r} is not one of an archive")
    return file


def _info() -> dict[str, Any]:
    return {
        "commitInfo": {
            "timestamp": _milliseconds(),
            "operation": "WRITE",
            "operationParameters": {"mode": "Append"},
            "engineInfo": "curio_persistence",
        }
    }


def _addition(file: ArchivedFile, time: str) -> dict[str, Any]:
    """Return the action that adds a file; `time` is the column of the times of its rows."""
    stats = {
        "numRecords": file.rows,
        "minValues": {"run_id": file.first_run, time: _truncated(file.first_time)},
        "maxValues": {"run_id": file.last_run, time: _truncated(file.last_time)},
    }
    return {
        "path": file.path,
        "partitionValues": {"dt": file.day},
        "size": file.size,
        "modificationTime": _milliseconds(),
        "dataChange": True,
        "stats": json.dumps(stats),
        "tags": {
            "sha256": file.sha256,
            "batch": file.batch,
            "first_time": file.first_time,
            "last_time": file.last_time,
        },
    }


def _remove(file: ArchivedFile) -> dict[str, Any]:
    return {
        "remove": {
            "path": file.path,
            "partitionValues": {"dt": file.day},
            "size": file.size,
            "deletionTimestamp": _milliseconds(),
            "dataChange": True,
        }
    }


def _milliseconds() -> int:
    return int(utc_now().timestamp() * 1000)


def _truncated(time: str) -> str:
    """Return a stored time in milliseconds, as the statistics of a log have it."""
    return f"{time[:23]}Z"
