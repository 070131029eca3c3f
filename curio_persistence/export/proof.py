"""The proof beside an export: the heads of its hash chains, and a program that verifies them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curio_persistence.atomic_files import file_in
from curio_persistence.capabilities.chains import CHAINED, EVENT_CHAINS, IN_ORDER
from curio_persistence.capabilities.transfers.reading import Reading
from curio_persistence.errors import InvalidValueError
from curio_persistence.export.formats import json_line
from curio_persistence.hash_chain import AUDIT, FORMAT, Head
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import AUDIT_LOG, CHAIN_HEADS

_OF_HEADS = ("kind", "name", *Head._fields, "signature")


def check_whole_chains(
    tables: Mapping[str, Table[Any]], format: str | None, filters: Mapping[str, Any]
) -> None:
    """Refuse a selection of records that has only parts of chains."""
    given = {name for name, value in filters.items() if value is not None}
    if "events" not in tables or given - {"run_id"}:
        raise InvalidValueError(
            "A proof is of all events of runs: export events, and choose runs by run_id only.",
            field="with_proof",
        )
    if format not in (None, "jsonl"):
        raise InvalidValueError(
            f"A proof is of JSON lines, not of {format}: drop format.", field="with_proof"
        )


def write_proof(folder: Path, reading: Reading, run_id: Any = None) -> None:
    """Write the audit log, the heads of chains and the program into a folder of records.

    With runs, only the heads of theirs are written, and no audit log.
    """
    from importlib.resources import files  # Importing the package must not take longer for it.

    if run_id is None:
        with file_in(folder, "audit.jsonl") as file:
            for record in _records(reading, AUDIT_LOG, CHAINED):
                file.write(json_line({"kind": AUDIT, **record}))
    with file_in(folder, "proof.json") as file:
        heads = [
            {name: head.get(name) for name in _OF_HEADS}
            for head in _records(reading, CHAIN_HEADS, _heads_of(run_id))
            if head["position"] > head["anchor_position"]  # Otherwise all of it has expired.
        ]
        file.write(json_line({"format": FORMAT, "heads": heads}))
    with file_in(folder, "verify.py") as file:
        file.write(files("curio_persistence").joinpath("hash_chain.py").read_bytes())


def _heads_of(run_id: Any) -> Where:
    if run_id is None:
        return ()
    return (
        Filter("kind", "=", EVENT_CHAINS),
        CHAIN_HEADS.filter_any("name", run_id),
    )


def _records(reading: Reading, table: Table[Any], where: Where) -> Iterator[dict[str, Any]]:
    """Yield records with their values as they are stored, without those that are None."""
    order = IN_ORDER if table is AUDIT_LOG else table.order
    for columns in reading.stream(table, where, order=order):
        for values in zip(*columns, strict=True):
            named = zip(table.names, values, strict=True)
            yield {name: value for name, value in named if value is not None}
