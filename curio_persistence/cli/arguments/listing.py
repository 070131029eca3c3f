"""The options and the output of commands that list records."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.cli.arguments.filters import misspelt
from curio_persistence.cli.arguments.options import (
    add_archive_option,
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
    add_archive_option(parser)
    add_json_options(parser)


def show(
    persistence: Persistence,
    question: Question,
    options: Namespace,
    output: Output,
    rows: Rows,
    nothing: str,
    skip: int = 0,
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
        output.json_list(plain(persistence, options, chain(first, records)))
    elif first:
        found = [*first, *records]
        output.table(*_with_origins(persistence, options, found, *rows(found)))
    else:
        say(nothing)
    if not first and (hint := misspelt(question.filters)):
        say(hint)
    if cursor is not None:
        say(f"There are more: add --cursor {cursor} for the next, or --limit all.")


def plain(
    persistence: Persistence, options: Namespace, records: Iterable[Any]
) -> Iterator[dict[str, Any]]:
    """Yield records as plain values; with --archive each tells whether it is `archived`."""
    records = iter(records)
    while some := list(islice(records, _PAGE)):
        has_origins = _has_origins(options, some)
        archived = archived_runs(persistence, options, some) if has_origins else set()
        for record in some:
            origin = {"archived": record.run_id in archived} if has_origins else {}
            yield {**record.to_dict(), **origin}


def _has_origins(options: Namespace, records: Sequence[Any]) -> bool:
    """Return whether each record is told with where it is: with --archive, if runs have it."""
    return options.archive is not None and all(hasattr(each, "run_id") for each in records[:1])


def archived_runs(
    persistence: Persistence, options: Namespace, records: Iterable[Any]
) -> set[str | None]:
    """Return the runs of records that only the archive has, if there is one."""
    if options.archive is None:
        return set()
    return {*persistence.runs.archived({r.run_id for r in records if r.run_id is not None})}


def _with_origins(
    persistence: Persistence,
    options: Namespace,
    records: Sequence[Any],
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
) -> tuple[Sequence[Column], list[Sequence[Cell]]]:
    """Return a table; with --archive a second column tells where each record is."""
    from curio_persistence.cli.terminal.tables import Column, cell

    if not _has_origins(options, records):
        return columns, list(rows)
    archived = archived_runs(persistence, options, records)
    froms = [cell("archive" if r.run_id in archived else "database") for r in records]
    return (columns[0], Column("FROM"), *columns[1:]), [
        (row[0], origin, *row[1:]) for row, origin in zip(rows, froms, strict=True)
    ]


def nothing(persistence: Persistence, what: str, narrowed: bool) -> str:
    """Return the message for an empty answer."""
    return f"{persistence.location} has no {'such ' if narrowed else ''}{what}."
