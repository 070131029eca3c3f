"""An operation of the API: its route, the call it makes, the role it needs, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from curio_persistence.console.api.bodies import Body
from curio_persistence.console.api.parameters import Parameter, read_all
from curio_persistence.console.http.paths import decoded_id
from curio_persistence.errors import NotFoundError
from curio_persistence.persistence import Persistence
from curio_persistence.tables.keys import Role

AnswerKind = Literal["page", "items", "record", "value", "created", "nothing", "lines", "stream"]
"""The forms of answers: see `answers`."""
Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True)
class Answer:
    """The answer of an operation: its form, and the model or the schema of its records."""

    kind: AnswerKind
    model: type | str | None = None


@dataclass(frozen=True)
class Operation:
    """One line of the table of operations.

    `call` is the method of the façade, by its path on a persistence, or a function that takes the
    persistence first. It gets the ids of the path by position, then the body, and the parameters
    by name. What it returns is converted by `answer`; None and False are a 404.
    """

    method: Method
    path: str
    call: str | Callable[..., Any]
    answer: Answer
    summary: str
    parameters: tuple[Parameter, ...] = ()
    role: Role = "read"
    body: Body | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the call that a request cannot change."""

    @property
    def name(self) -> str:
        """Return the name that is unique among operations: `list_runs`, `get_runs`."""
        words = [part for part in self.path.split("/") if part and "{" not in part]
        return "_".join((self._verb, *words))

    @property
    def _verb(self) -> str:
        if self.method != "GET":
            return {"POST": "create", "PUT": "replace", "DELETE": "delete"}[self.method]
        is_list = self.answer.kind in ("page", "items") and not self.path.endswith("}")
        return "list" if is_list else "get"

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the names of the ids in the path."""
        parts = self.path.split("/")
        return tuple(part[1:-1] for part in parts if part.startswith("{"))

    def arguments(self, path: Mapping[str, str], query: str) -> tuple[list[str], dict[str, Any]]:
        """Return the ids and the parameters of a request.

        Ids are percent-encoded twice in URLs, and the server has decoded them once.
        """
        ids = [decoded_id(path[name]) for name in self.ids]
        return ids, {**read_all(self.parameters, query), **self.fixed}

    def run(self, persistence: Persistence, *ids: Any, **arguments: Any) -> Any:
        """Call the façade, and return what it returns; raise NotFoundError for nothing."""
        call = self.call
        if isinstance(call, str):
            found = attrgetter(call)(persistence)(*ids, **arguments)
        else:
            found = call(persistence, *ids, **arguments)
        if self.ids and (found is None or found is False):
            raise NotFoundError(f"{self.ids[0]} {ids[0]!r} was deleted or never recorded.")
        return found
