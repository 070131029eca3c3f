"""The log of a table of an archive, in the format of Delta Lake.

A version is a file of JSON lines that is created once and never changed; which of two writers
created it decides who has committed. Spark, Trino, ClickHouse, DuckDB, polars and others read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from curio_persistence.archive import checkpoints
from curio_persistence.archive.forms import PARQUET, Form
from curio_persistence.clock import utc_now
from curio_persistence.errors import (
    ConflictError,
    CorruptDatabaseError,
    NotFoundError,
    SchemaMismatchError,
)
from curio_persistence.places import Place
from curio_persistence.store.column import Kind
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Table

_READER, _WRITER = 1, 2
_TYPES: Mapping[Kind, str] = {
    "name": "string",
    "text": "string",
    "integer": "long",
    "real": "double",
    "time": "timestamp",
    "money": "decimal(20,12)",
}
_SAFE_PATH = re.compile(r"dt=\d{4}-\d\d-\d\d/[\w.-]+\.(parquet|ndjson\.gz)")
_TRIES = 20
_CHECKPOINT_EACH = 100
"""Versions between two checkpoints."""
_KNOWN = {"add", "remove", "metaData", "protocol", "commitInfo"}
_REMEMBERED = timedelta(days=7)
"""For how long checkpoints name a removed file. Its object is deleted long before."""
_LAST = "_last_checkpoint"


class ArchivedFile(NamedTuple):
    """A file of rows: its path below the folder of its table, and what is in it.

    The rows of a run that were archived together are in files of one batch, or of several that
    were merged; see `batches`. The first and the last time of the rows are stored times.
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

    def may_pass(self, table: Table[Any], f: Filter) -> bool:
        """Return False if no row, of this table, passes a filter."""
        if f.column == "run_id" and f.op in ("=", "in"):
            return any(map(self.may_have, (f.value,) if f.op == "=" else f.value))
        if f.column == table.ages_by and f.op in ("<", ">", ">="):
            return bool(self.first_time < f.value if f.op == "<" else self.last_time >= f.value)
        return True

    @property
    def batches(self) -> frozenset[str]:
        """The batches whose rows are in the file: of each run, those of one batch."""
        return batches_of(self.batch)


def batches_of(batch: str) -> frozenset[str]:
    """Return the batches that a merged one consists of, or the batch itself."""
    return frozenset(batch.split("+"))


class DeltaLog:
    """The committed files of one table of an archive."""

    def __init__(self, place: Place, folder: str, table: Table[Any], form: Form = PARQUET) -> None:
        self._place = place
        self._folder = f"{folder}/{form.log}"
        self._table = table
        self._form = form
        self._version = -1
        self._files: dict[str, ArchivedFile] = {}
        self._orders: dict[str, int] = {}
        self._protocol: Mapping[str, Any] = {}
        self._metadata: Mapping[str, Any] = {}
        self._foreign: dict[str, int] = {}
        """The files of other programs, and the version before each."""
        self._is_ours = True
        self.removed: dict[str, datetime] = {}
        """The paths of the files that were removed, as far as the log was read, and when."""

    def files(self) -> dict[str, ArchivedFile]:
        """Return the files by their paths, in the order in which their batches were committed."""
        self._read()
        in_order = sorted(self._files.values(), key=lambda file: self._orders[file.batch])
        return {file.path: file for file in in_order}

    @property
    def exists(self) -> bool:
        """True if anything was committed: its first version is there, or a checkpoint."""
        first = (self._name(0), f"{self._folder}/{_LAST}")
        if self._version < 0 and any(map(self._place.has, first)):
            return True
        self._read()  # Which refuses later versions without these.
        return self._version >= 0

    @property
    def id(self) -> str:
        """The id of the table, the same wherever it is copied; empty before the first commit."""
        if not self._metadata:
            self._read()
        return str(self._metadata.get("id", ""))

    def commit(
        self,
        files: Sequence[ArchivedFile],
        removed: Sequence[ArchivedFile] = (),
        *,
        is_change: bool = True,
    ) -> None:
        """Add files and remove others, all or none; files that are in the log are left out.

        The first commit makes the log, even of no files: a log that is missing later was deleted.
        `is_change` is False if the rows stay the same. Raise ConflictError if another program has
        removed one of the others.
        """
        for _ in range(_TRIES):
            self._read()
            if any(each.path not in self._files for each in removed):
                raise ConflictError(f"{self._place.name}: another program changed it. Try again.")
            new = [each for each in files if each.path not in self._files]
            if not new and not removed and self._version >= 0:
                return
            actions = [*(self._beginning() if self._version < 0 else ())]
            actions += [*map(_remove, removed), *({"add": add} for add in self.additions(new))]
            for action in actions:
                for fields in action.values():
                    fields |= {"dataChange": is_change} if "dataChange" in fields else {}
            lines = "".join(f"{json.dumps(action)}\n" for action in [_info(), *actions])
            version = self._version + 1
            if self._place.put_new(self._name(version), lines.encode()):
                if version and version % _CHECKPOINT_EACH == 0:
                    self._checkpoint()
                return
        raise ConflictError(f"{self._place.name}: other programs commit all the time. Try again.")

    def additions(self, files: Iterable[ArchivedFile]) -> list[dict[str, Any]]:
        """Return the actions that add files, from which `file_of` makes them again."""
        return [_addition(file, self._table.ages_by) for file in files]

    # --- reading ------------------------------------------------------------------------------

    def _name(self, version: int) -> str:
        return f"{self._folder}/{version:020}.json"

    def _read(self) -> None:
        """Read the versions that were committed since the last time."""
        if self._version < 0:
            self._read_checkpoint()
        after = "" if self._version < 0 else self._name(self._version)
        for name in self._place.names(self._folder, after=after):
            if not re.fullmatch(r"\d{20}\.json", name.rpartition("/")[2]):
                continue
            version = int(name[-25:-5])
            if version <= self._version:
                continue
            if version != self._version + 1:
                raise self._damaged(name, ValueError(f"version {self._version + 1} is missing"))
            actions = [*self._actions(name)]
            if not actions:
                raise self._damaged(name, ValueError("it is empty"))
            for action in actions:
                self._apply(name, action)
            self._version = version
        if self._foreign:
            raise CorruptDatabaseError(
                f"{self._place.name}/{self._folder}: another program wrote "
                f"{', '.join(sorted(self._foreign)[:3])}, without a hash by which it could be "
                "verified. Undo its change by restoring version "
                f"{min(self._foreign.values())} of this Delta table, or archive to another place. "
                "Other programs may read an archive, not optimize or change it."
            )

    def _actions(self, name: str) -> Iterator[Mapping[str, Any]]:
        try:
            for line in self._place.get(name).decode().split("\n"):
                if line:
                    action = json.loads(line)
                    if not isinstance(action, dict):
                        raise TypeError(f"{line[:40]!r} is not an action")
                    yield action
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(name, error) from error

    def _apply(self, name: str, action: Mapping[str, Any]) -> None:
        try:
            self._is_ours &= _KNOWN.issuperset(action)
            if "protocol" in action:
                self._check_protocol(action["protocol"])
                self._protocol = action["protocol"]
            elif "metaData" in action:
                self._check_columns(action["metaData"])
                self._metadata = action["metaData"]
            elif "add" in action:
                self._add(action["add"])
            elif "remove" in action:
                path, when = action["remove"]["path"], action["remove"].get("deletionTimestamp", 0)
                self._files.pop(path, None)
                self._foreign.pop(path, None)
                self.removed[path] = datetime.fromtimestamp(when / 1000, UTC)
        except (
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise self._damaged(name, error) from error

    def _add(self, add: Mapping[str, Any]) -> None:
        if "path" in add and "sha256" not in (add.get("tags") or {}):
            self._foreign[str(add["path"])] = self._version
            return
        file = file_of(add)
        self._files[file.path] = file
        self.removed.pop(file.path, None)
        # A file that replaces others, without erased rows or merged, takes their place.
        known = (self._orders[batch] for batch in file.batches if batch in self._orders)
        self._orders.setdefault(file.batch, min(known, default=len(self._orders)))

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

    def _check_columns(self, metadata: Mapping[str, Any]) -> None:
        """Refuse a table whose columns are not those of this version."""
        found = {each["name"] for each in json.loads(metadata["schemaString"])["fields"]}
        wanted = {"dt", *self._table.names}
        if found != wanted:
            names = ", ".join(sorted(map(str, found ^ wanted)))
            raise SchemaMismatchError(
                f"{self._place.name}/{self._folder} is of another version: its columns differ by "
                f"{names}. Archive to another place, or use the version that wrote it.",
                found=", ".join(sorted(map(str, found))),
                wanted=", ".join(sorted(wanted)),
            )

    def _damaged(self, name: str, error: Exception) -> CorruptDatabaseError:
        return CorruptDatabaseError(
            f"{self._place.name}/{name} is damaged, or another program changed it: {error}."
        )

    # --- checkpoints --------------------------------------------------------------------------

    def _read_checkpoint(self) -> None:
        """Begin with the last checkpoint instead of version 0, if there is one."""
        name = f"{self._folder}/{_LAST}"
        try:
            version = json.loads(self._place.get(name))["version"]
            name = checkpoints.name_of(self._folder, int(version))
            actions = checkpoints.read(self._place.get(name))
        except NotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(name, error) from error
        for action in actions:
            self._apply(name, action)
        self._version = int(version)

    def _checkpoint(self) -> None:
        """Write a checkpoint, unless another program has stored what it would not contain."""
        self._read()
        if not self._is_ours:
            return
        actions: list[Mapping[str, Any]] = [
            {"protocol": self._protocol},
            {"metaData": self._metadata},
            *({"add": add} for add in self.additions(self.files().values())),
            *(
                _remove_action(path, when)
                for path, when in self.removed.items()
                if utc_now() - when < _REMEMBERED
            ),
        ]
        name = checkpoints.name_of(self._folder, self._version)
        self._place.put_new(name, checkpoints.write(actions))
        last = {"version": self._version, "size": len(actions)}
        self._place.put(f"{self._folder}/{_LAST}", json.dumps(last).encode())

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
                    "format": {"provider": self._form.name, "options": {}},
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
    action = _remove_action(file.path, utc_now())
    action["remove"] |= {"partitionValues": {"dt": file.day}, "size": file.size}
    return action


def _remove_action(path: str, when: datetime) -> dict[str, Any]:
    return {
        "remove": {
            "path": path,
            "deletionTimestamp": int(when.timestamp() * 1000),
            "dataChange": True,
        }
    }


def _milliseconds() -> int:
    return int(utc_now().timestamp() * 1000)


def _truncated(time: str) -> str:
    """Return a stored time in milliseconds, as the statistics of a log have it."""
    return f"{time[:23]}Z"
