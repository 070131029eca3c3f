"""Checkpoints of a log: the files of all versions up to one, in a Parquet file.

A reader begins with the last checkpoint instead of reading each version before it. The columns are
those that Delta Lake specifies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any

from curio_persistence.importers.exports.columnar import parquet_groups
from curio_persistence.results.arrow import pyarrow


def name_of(folder: str, version: int) -> str:
    """Return the name of the checkpoint of a version."""
    return f"{folder}/{version:020}.checkpoint.parquet"


def write(actions: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a checkpoint of these actions."""
    pa = pyarrow()  # Which says what to install where it is missing.
    from pyarrow.parquet import write_table

    content = BytesIO()
    write_table(pa.Table.from_pylist([*actions], schema=_schema(pa)), content)
    return content.getvalue()


def read(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the actions of a checkpoint, without the fields that are not set."""
    for group in parquet_groups(content):
        for row in group.to_pylist(maps_as_pydicts="strict"):
            yield {
                kind: {name: value for name, value in fields.items() if value is not None}
                for kind, fields in row.items()
                if fields is not None
            }


def _schema(pa: Any) -> Any:
    text, number, yes = pa.string(), pa.int64(), pa.bool_()
    texts = pa.map_(text, text)
    return pa.schema(
        {
            "protocol": pa.struct({"minReaderVersion": pa.int32(), "minWriterVersion": pa.int32()}),
            "metaData": pa.struct(
                {
                    "id": text,
                    "format": pa.struct({"provider": text, "options": texts}),
                    "schemaString": text,
                    "partitionColumns": pa.list_(text),
                    "configuration": texts,
                    "createdTime": number,
                }
            ),
            "add": pa.struct(
                {
                    "path": text,
                    "partitionValues": texts,
                    "size": number,
                    "modificationTime": number,
                    "dataChange": yes,
                    "stats": text,
                    "tags": texts,
                }
            ),
            "remove": pa.struct({"path": text, "deletionTimestamp": number, "dataChange": yes}),
        }
    )
