"""Entries of run logs: any of them is read back from JSON as it was written."""

from __future__ import annotations

import json
from dataclasses import fields

from hypothesis import given

from curio_persistence.runlog.codecs import decode, encode
from curio_persistence.runlog.entries import RunLogEntry
from tests.support import run_logs

COMMON = [each.name for each in fields(RunLogEntry)]


def again(entry: RunLogEntry) -> RunLogEntry:
    """Return what is read back of an entry that was written."""
    return decode(entry.kind, encode(entry), **{name: getattr(entry, name) for name in COMMON})


@given(run_logs.entries())
def test_an_entry_of_any_kind_is_read_back_as_it_was(entry: RunLogEntry) -> None:
    assert again(entry) == entry


@given(run_logs.entries())
def test_an_entry_is_stored_as_an_object_of_its_own_fields(entry: RunLogEntry) -> None:
    stored = json.loads(encode(entry))
    assert stored.keys() <= {each.name for each in fields(entry)} - {*COMMON}
