"""The table of operations as Markdown: `python -m curio_persistence.console.api.reference`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from curio_persistence.console.api.operation import Operation
from curio_persistence.console.api.operations import OPERATIONS

_HEAD = ("operation", "does", "role", "parameters")


def table(operations: Sequence[Operation]) -> str:
    """Return a line for each operation."""
    lines = [_line(_HEAD), _line("---" for _ in _HEAD), *map(_described, operations)]
    return "\n".join(lines)


def _described(operation: Operation) -> str:
    names = " ".join(f"`{each.name}`" for each in operation.parameters)
    route = f"`{operation.method} {operation.path}`"
    return _line((route, operation.summary, operation.role, names))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("  ", " ")


if __name__ == "__main__":
    print(table(OPERATIONS))
