"""Find runs, events and model calls by their words, newest first.

Finds records that have all of the words, in any order. "a phrase" finds words that follow each
other, begin* any word that begins so, and -word leaves out records with that word. Anything else is
text. The shell removes the quotation marks of a phrase: put 'single ones' around the query. Put --
before a query that begins with a dash.

Records stored since the last search are indexed first. The reference of a hit, such as event:7, is
an argument of show --around. As JSON, a list of hits: `kind`, `run_id`, `agent_id`, `timestamp`,
`field`, `snippet`, `highlights` (where in the snippet), `score` and the `record`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.listing import archived_runs, nothing, plain
from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_options,
    add_window_options,
    count_or_all,
    database,
    open_for_reading,
    seconds,
)
from curio_persistence.cli.arguments.run_ids import resolve_run
from curio_persistence.cli.commands.events import STYLES
from curio_persistence.cli.commands.runs import STATUS_STYLES
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.run_view import fitted
from curio_persistence.cli.terminal.output import BOLD, DIM, RED, Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.cli.terminal.tables import Cell, cell
from curio_persistence.cli.terminal.text import folded, harmless
from curio_persistence.errors import AccessDeniedError, StorageFullError, UnavailableError
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import Persistence, SearchHit, SearchPage

EXAMPLES = """\
  curio-persistence search overflow
  curio-persistence search error rate limit --agent researcher --since 7d
  curio-persistence search '"rate limit" retr* -test' --level error
  curio-persistence search --rank --limit 5 -- -c flag of curl
  curio-persistence search vector databases --limit 100 --jsonl > hits.jsonl
"""

_INDENT = "    "


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("query", metavar="WORD", nargs="+", help="what to look for")
    add_filters(parser, "records", "agent_id", "run_id", "session_id")
    add_filters(parser, "events", "event_type", "level")
    add_filters(parser, "model calls", "model")
    add_window_options(parser)
    parser.add_argument(
        "--rank", action="store_true", help="the best of the newest 10,000 first, not the newest"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count_or_all,
        default=20,
        help="at most so many (default: 20), or 'all'",
    )
    parser.add_argument(
        "--cursor", help="go on where the last page ended: what it said, and the same options"
    )
    parser.add_argument(
        "--max-wait",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="how long to index what is new, before what is indexed is searched (default: 10)",
    )
    add_archive_option(parser)
    add_json_options(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        resolve_run(persistence, options)
        wanted = filters(options)
        _index_what_is_new(persistence, options)
        page = persistence.search_text(
            " ".join(options.query),
            **wanted,
            order="rank" if options.rank else "newest",
            limit=options.limit,
            cursor=options.cursor,
            max_wait=options.max_wait,
        )
        said = nothing(persistence, "records with these words", narrowed=any(wanted.values()))
        is_in_vain = not page and not options.cursor
        words = persistence.search.beginnings(" ".join(options.query)) if is_in_vain else []
        archived = archived_runs(persistence, options, page)
        if not output.for_people:
            output.json_list(plain(persistence, options, page))
    _show(page, said, output, archived)
    for word in words:
        say(f"No record has the word {word}. Words that begin so: search '{word}*'")
    if page.is_partial and not page:
        say("Of each text only the first 10,000 words are searched, and some texts have more.")
    if page.pending:
        say(f"{page.pending:,} records were not searched. To index them: curio-persistence index")
    return OK


def _index_what_is_new(persistence: Persistence, options: Namespace) -> None:
    """Index new records, unless this account cannot write, or the database is not writable now."""
    if not persistence.search.pending():
        return
    with (
        suppress(AccessDeniedError, StorageFullError, UnavailableError),
        database(options).get_persistence(initialize=False) as writing,
        progress_line("Indexing") as progress,
    ):
        writing.search.index_pending(max_wait=options.max_wait, progress=progress)


def _show(page: SearchPage, nothing: str, output: Output, archived: set[str | None]) -> None:
    if output.for_people:
        for hit in page:
            _show_one(hit, output, is_archived=hit.run_id in archived)
    if page.next_cursor is not None:
        say(f"There are more: add --cursor {page.next_cursor} for the next, or --limit all.")
    elif not page and output.for_people:
        say(nothing)


def _show_one(hit: SearchHit, output: Output, *, is_archived: bool) -> None:
    output.line(fitted(_head(hit, is_archived=is_archived), output.width, output))
    for line in _folded(_painted(hit), output.width - len(_INDENT)):
        output.line((_INDENT + "".join(output.paint(*text) for text in line)).rstrip())


def _head(hit: SearchHit, *, is_archived: bool) -> Iterator[Cell]:
    """Yield the time, run, reference, agent and kind of a hit."""
    yield cell(local_time(hit.timestamp, "milliseconds"), DIM)
    if is_archived:
        yield cell("archived", DIM)
    if hit.run_id is not None:
        yield cell(hit.run_id)
    yield cell("run" if hit.kind == "run" else f"{hit.kind}:{hit.record.id}", BOLD)
    yield cell(hit.agent_id)
    yield from _kind_of(hit)


def _kind_of(hit: SearchHit) -> Iterator[Cell]:
    from curio_persistence import AgentRun, AgentRunEvent

    record = hit.record
    if isinstance(record, AgentRunEvent):
        style = STYLES.get(record.level, "")
        yield cell(record.event_type, style)
        if record.level != "info":
            yield cell(record.level, style)
    elif isinstance(record, AgentRun):
        yield cell(record.status, STATUS_STYLES.get(record.status, ""))
        yield cell(hit.field, DIM)
    else:
        yield cell(record.model, "" if record.status == "success" else RED)
        yield cell(hit.field, DIM)


def _painted(hit: SearchHit) -> Iterator[Cell]:
    """Yield the snippet, with the words of the query in bold."""
    at = 0
    for start, end in hit.highlights:
        yield Cell(harmless(hit.snippet[at:start]), "")
        yield Cell(harmless(hit.snippet[start:end]), BOLD)
        at = end
    yield Cell(harmless(hit.snippet[at:]), "")


def _folded(texts: Iterator[Cell], width: int) -> Iterator[list[Cell]]:
    """Yield lines of this width, made of texts that follow each other."""
    parts = list(texts)
    for begin, end in folded("".join(text for text, _ in parts), width):
        line, at = [], 0
        for text, style in parts:
            line.append(Cell(text[max(begin - at, 0) : max(end - at, 0)], style))
            at += len(text)
        yield line
