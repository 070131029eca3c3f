"""Find texts that mean much the same, whatever words they use: prompts, outputs, errors, messages.

Put a text, the id of a run, or last for the newest run. A run is compared by its error, or else its
objective, with the texts of others. Each hit begins with how similar it is: 1 is the same text,
about 0 an unrelated one. Filters of runs are passed by the events and model calls of such a run
too; only events have a type, a level and a payload, only model calls a model and a provider.

Texts stored since the last time are embedded first. The model is the small English one of the extra
"similar", which works offline, or the one that --embed or CURIO_EMBED names: a callable that turns
a list of texts into vectors. As JSON, a list of hits: `kind`, `run_id`, `agent_id`, `timestamp`,
`field`, `snippet`, `score` and the `record`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import suppress
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.filters import add_filters, filters, resolve_projects
from curio_persistence.cli.arguments.listing import nothing
from curio_persistence.cli.arguments.options import (
    add_embed_option,
    add_json_options,
    add_window_options,
    count,
    database,
    open_for_reading,
    seconds,
)
from curio_persistence.cli.arguments.run_ids import full_id, is_short, resolve_run
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.run_view import fitted
from curio_persistence.cli.terminal.output import BOLD, DIM, RED, Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.cli.terminal.tables import cell
from curio_persistence.cli.terminal.text import folded, harmless
from curio_persistence.errors import AccessDeniedError, StorageFullError, UnavailableError
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import Persistence, SimilarHit, SimilarHits

EXAMPLES = """\
  curio-persistence similar the request took too long
  curio-persistence similar rate limited --kind error --since 7d --top 5
  curio-persistence similar run-42 --status error
  curio-persistence similar it was refused --kind error --payload tool_name=search
  curio-persistence similar a trip by plane --kind prompt --model acme-1
  curio-persistence similar book a flight --agent researcher --jsonl > hits.jsonl
"""

_INDENT = "      "


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("to", metavar="TEXT", nargs="+", help="a text, the id of a run, or last")
    parser.add_argument(
        "--kind",
        choices=("prompt", "output", "error", "message"),
        help="only prompts and objectives, outputs, errors, or messages of events",
    )
    parser.add_argument(
        "--top", metavar="N", type=count, default=20, help="at most so many (default: 20)"
    )
    names = ("agent_id", "run_id", "session_id", "user_id", "source", "project")
    add_filters(parser, "texts", *names)
    add_filters(parser, "texts of runs", "status", "tags", "any_tags", "parent_run_id", "metadata")
    add_filters(parser, "texts of events", "event_type", "level", "min_level", "payload")
    add_filters(parser, "texts of model calls", "model", "provider")
    add_window_options(parser)
    parser.add_argument(
        "--max-wait",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="how long to embed what is new, before what is embedded is compared (default: 10)",
    )
    add_embed_option(parser)
    add_json_options(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        resolve_run(persistence, options)
        resolve_projects(persistence, options)
        wanted = filters(options, "runs")
        to = _meant(persistence, options.to)
        _embed_what_is_new(persistence, options)
        hits = persistence.similar(
            to, top=options.top, kind=options.kind, max_wait=options.max_wait, **wanted
        )
        narrowed = options.kind is not None or any(wanted.values())
        said = nothing(persistence, "texts to compare", narrowed=narrowed)
    if output.for_people:
        _show(hits, output)
    else:
        output.json_list(hits.to_dicts())
    if not hits and output.for_people:
        say(said)
    if hits.pending:
        say(
            f"{hits.pending:,} records were not compared. To embed them: "
            "curio-persistence index --similar"
        )
    return OK


def _meant(persistence: Persistence, words: list[str]) -> str:
    """Return the text that was typed; of a short id the whole one."""
    [first, *more] = words
    if not more and (first == "last" or is_short(first)):
        return full_id(persistence, first)
    return " ".join(words)


def _embed_what_is_new(persistence: Persistence, options: Namespace) -> None:
    """Embed new texts, unless this account cannot write, or the database is not writable now."""
    if not persistence.similarity.pending():
        return
    with (
        suppress(AccessDeniedError, StorageFullError, UnavailableError),
        database(options).get_persistence(initialize=False) as writing,
        progress_line("Embedding") as progress,
    ):
        writing.similarity.index_pending(max_wait=options.max_wait, progress=progress)


def _show(hits: SimilarHits, output: Output) -> None:
    for hit in hits:
        _show_one(hit, output)


def _show_one(hit: SimilarHit, output: Output) -> None:
    head = [
        cell(f"{hit.score:.2f}", BOLD),
        cell(local_time(hit.timestamp), DIM),
        cell(hit.run_id),
        cell(_reference(hit)),
        cell(hit.agent_id),
        cell(hit.kind, RED if hit.kind == "error" else DIM),
    ]
    output.line(fitted(head, output.width, output))
    text = harmless(hit.snippet)
    for begin, end in folded(text, output.width - len(_INDENT)):
        output.line(f"{_INDENT}{text[begin:end]}".rstrip())


def _reference(hit: SimilarHit) -> str:
    """Return the name of the record, which `show --around` takes of events and model calls."""
    from curio_persistence import AgentRun, AgentRunEvent

    if isinstance(hit.record, AgentRun):
        return "run"
    return f"{'event' if isinstance(hit.record, AgentRunEvent) else 'usage'}:{hit.record.id}"
