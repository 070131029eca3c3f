"""Errors can be pickled completely, so that worker processes can raise them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from curio_persistence import InvalidValueError, PersistenceError, SchemaMismatchError
from curio_persistence.importers.exports import files  # noqa: F401  # Its errors count as well.


def kinds(root: type[PersistenceError] = PersistenceError) -> Iterator[type[PersistenceError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def one_of(kind: type[PersistenceError]) -> PersistenceError:
    if issubclass(kind, SchemaMismatchError):
        return kind("old", found="1", wanted="4", command="migrate")
    if issubclass(kind, InvalidValueError):
        return kind("bad", field="AgentRun.run_id")
    return kind("message")


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=lambda kind: kind.__name__))
def test_every_error_can_be_pickled_and_copied(kind: type[PersistenceError]) -> None:
    error = one_of(kind)
    error.add_note("note")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), vars(again)) == (str(error), vars(error))


def refuse() -> None:
    raise SchemaMismatchError("old", found="1", wanted="4", command="migrate")


@pytest.mark.slow
def test_a_worker_process_may_end_with_any_error() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(refuse).exception(timeout=60)
    assert isinstance(error, SchemaMismatchError)
    assert (error.found, error.wanted, error.command) == ("1", "4", "migrate")
