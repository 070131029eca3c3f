"""The options and the output of commands that list records."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.cli.arguments.filters import misspelt
from curio_persistence.cli.arguments.options import (
    add_json_options,
    add_window_options,
    count_or_all,
)
from curio_persistence.cli.terminal.output import Output, say

if TYPE_CHECKING:
    from curio_persistence import Page, Persistence, Stream
    from curio_persistence.cli.terminal.tables import Cell, Column

_PAGE = 1000
"""Records read at a time where all are wanted from a cursor on."""


class Question(NamedTuple):
    """A query, which is run for one page or for all records."""

    query: Callable[..., Page[Any]]
    iterate: Callable[..., Stream[Any]]
    filters: dict[str, Any]
    order: str = "newest"

    def page(self, limit: int, cursor: str | None) -> Page[Any]:
        return self.query(**self.filters, order=self.order, limit=limit, cursor=cursor)

    def all(self, cursor: str | None) -> Iterator[Any]:
        """Yield all records from a cursor on, in constant memory."""
        if cursor is None:
            with self.iterate(**self.filters, order=self.order) as records:
                yield from records
            return
        while cursor is not None:
            page = self.page(_PAGE, cursor)
            yield from page
            cursor = page.next_cursor

    @property
    def is_narrowed(self) -> bool:
        return any(value is not None for value in self.filters.values())


Rows = Callable[[Sequence[Any]], tuple[Sequence["Column"], Sequence[Sequence["Cell"]]]]
"""Returns the columns and rows of a table of records."""


def add_listing_options(parser: ArgumentParser, *, default: str = "20") -> None:
    """Add `--since`, `--until`, `--limit`, `--cursor`, `--json` and `--jsonl`."""
    add_window_options(parser)
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count_or_all,
        default=default,
        help=f"at most so many (default: {default}), or 'all'",
    )
    parser.add_argument(
        "--cursor", help="go on where the last page ended: what it said, and the same options"
    )
    add_json_options(parser)


def show(
    question: Question, options: Namespace, output: Output, rows: Rows, nothing: str, skip: int = 0
) -> None:
    """Write the records; say on stderr if there are more."""
    limit, cursor = options.limit, None
    records: Iterable[Any]
    if limit is None:
        records = islice(question.all(options.cursor), skip, None)
    else:
        page = question.page(skip + limit, options.cursor)
        records, cursor = page[skip:], page.next_cursor
    records = iter(records)
    first = list(islice(records, 1))
    if not output.for_people:
        output.json_list(record.to_dict() for record in chain(first, records))
    elif first:
        output.table(*rows([*first, *records]))
    else:
        say(nothing)
    if not first and (hint := misspelt(question.filters)):
        say(hint)
    if cursor is not None:
        say(f"There are more: add --cursor {cursor} for the next, or --limit all.")


def nothing(persistence: Persistence, what: str, narrowed: bool) -> str:
    """Return the message for an empty answer."""
    return f"{persistence.location} has no {'such ' if narrowed else ''}{what}."
