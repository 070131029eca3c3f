"""Delete runs with their events and scores: those that are named, or all that are old enough.

Their model calls keep their tokens and costs, without words and without a run, so that what was
spent stays known. --older-than counts from when a run was stored. With --session alone the session
is deleted as well. As JSON, a list of the runs' ids. The room that they took is used again; compact
gives it back to the disk.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.options import add_json_option, open_for_reading, open_for_work
from curio_persistence.cli.commands.runs import get_run, show_runs
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence delete --older-than 90d --dry-run
  curio-persistence delete --older-than 30d --status completed --agent researcher --yes
  curio-persistence delete run-42 --yes
"""

_SHOWN = 20
_COUNTED_AT_ONCE = 1_000


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a run to delete")
    parser.add_argument(
        "--older-than",
        metavar="WHEN",
        help="all runs from before then: a date or time, or how long ago (90d, 12w)",
    )
    add_filters(parser, "runs", "agent_id", "session_id", "status", "tags")
    add_consent_options(parser, "only show which runs would be deleted")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        ids = _chosen(persistence, options)
        _tell(persistence, ids, output)
    if ids and agreed(options, "Delete them?"):
        with open_for_work(options) as persistence:
            say(f"{_delete(persistence, ids):,} runs were deleted.")
            if _is_of_a_session(options):
                persistence.sessions.delete(options.session_id)
    if not output.for_people:
        output.json(ids)
    return OK


def _is_of_a_session(options: Namespace) -> bool:
    """Return whether all runs of a session were chosen, which then goes with them."""
    others = (options.runs, options.older_than, options.agent_id, options.status, options.tags)
    return options.session_id is not None and not any(others)


def _chosen(persistence: Persistence, options: Namespace) -> list[str]:
    """Return the ids of the runs that are named, or that pass the filters."""
    wanted = filters(options, "runs")
    narrowed = options.older_than is not None or any(wanted.values())
    if bool(options.runs) is narrowed:
        raise ConfigurationError(
            "Name runs, or choose them by --older-than, --agent, --session, --status or --tag; "
            "not both. All runs are those of: --older-than 0s."
        )
    if options.runs:
        return [get_run(persistence, each).run_id for each in dict.fromkeys(options.runs)]
    with persistence.iter_agent_runs(until=options.older_than, **wanted) as runs:
        return [run.run_id for run in runs]


def _tell(persistence: Persistence, ids: list[str], output: Output) -> None:
    """Say what there is to delete; show people the first of the runs."""
    if output.for_people and ids:
        show_runs(filter(None, map(persistence.get_agent_run, ids[:_SHOWN])), output)
    batches = [ids[at : at + _COUNTED_AT_ONCE] for at in range(0, len(ids), _COUNTED_AT_ONCE)]
    events = sum(persistence.count_events(run_id=batch) for batch in batches)
    calls = sum(persistence.count_llm_usage(run_id=batch) for batch in batches)
    say(
        f"{persistence.location}: {len(ids):,} runs to delete, with {events:,} events; "
        f"{calls:,} model calls keep their tokens and costs."
    )


def _delete(persistence: Persistence, ids: list[str]) -> int:
    deleted = 0
    with progress_line("Deleting") as progress:
        for done, each in enumerate(ids, start=1):
            deleted += persistence.delete_agent_run(each)
            progress(done, len(ids))
    return deleted
