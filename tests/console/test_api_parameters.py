"""Parameters of the API: what each reads, and what is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from curio_persistence.capabilities.events import EventFilters
from curio_persistence.capabilities.runs import RunFilters
from curio_persistence.console.api.operations import OPERATIONS
from curio_persistence.console.api.parameters import PAGES, of_filters, read_all
from curio_persistence.errors import InvalidValueError

_RUNS = (*of_filters(RunFilters), *PAGES)
_EVENTS = of_filters(EventFilters)


def runs(query: str) -> dict[str, Any]:
    return read_all(_RUNS, query)


def test_what_is_not_given_has_its_default() -> None:
    assert runs("") == {"order": "newest", "limit": 100}


def test_lists_are_repeated_and_words_may_have_commas_between_them() -> None:
    assert runs("status=error,timeout&status=completed")["status"] == [
        "error",
        "timeout",
        "completed",
    ]
    assert runs("tags=a,b&tags=c")["tags"] == ["a,b", "c"], "a tag may hold a comma"


def test_objects_are_json() -> None:
    wanted = {"http.status": 503, "ok": None}
    query = urlencode({"payload": '{"http.status": 503, "ok": null}'})
    assert read_all(_EVENTS, query)["payload"] == wanted


def test_values_are_read_as_they_were_encoded() -> None:
    for text in ("a/b", "..", "100%", "é😀", "\u202e", " ", "", "+", "a\0b"):
        assert runs(urlencode({"agent_id": text}))["agent_id"] == text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("agent=x", "agent"),
        ("agent_id=x&agent_id=y", "agent_id"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=²", "limit"),
        (f"limit={'9' * 5_000}", "limit"),
        ("order=random", "order"),
        ("metadata=plan=pro", "metadata"),
        ("metadata=[1]", "metadata"),
        (f"metadata={'[' * 100_000}", "metadata"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_named(query: str, field: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        runs(query)
    assert caught.value.field == field
    assert len(str(caught.value)) < 500


def test_thousands_of_parameters_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="at most"):
        runs("&".join("tags=x" for _ in range(2_000)))


def test_each_parameter_of_each_operation_says_what_it_does() -> None:
    for operation in OPERATIONS:
        names = [each.name for each in operation.parameters]
        assert len(names) == len(set(names)), operation.path
        assert all(each.about.endswith((".", "…")) for each in operation.parameters)


def test_names_and_routes_of_operations_are_unique() -> None:
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)
