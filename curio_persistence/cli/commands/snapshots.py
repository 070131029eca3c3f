"""List the steps at which a run saved its state; or print the state of one.

The steps are in the order in which they were saved; a run goes on from the last. With a STEP, or
--last, the state itself is printed. As JSON, a list of steps, or the snapshot with its state.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    open_for_reading,
)
from curio_persistence.cli.arguments.run_ids import full_id
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.tables import Column, cell
from curio_persistence.errors import ConfigurationError, NotFoundError
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import Persistence, Snapshot

EXAMPLES = """\
  curio-persistence snapshots run-42
  curio-persistence snapshots last --json
  curio-persistence snapshots run-42 --archive old-runs
"""

_COLUMNS = (
    Column("STEP", most=255),
    Column("FIRST SAVED"),
    Column("SAVED"),
    Column("METADATA", grows=True),
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="a run, or `last`")
    parser.add_argument("step", metavar="STEP", nargs="?", help="print the state of this step")
    parser.add_argument("--last", action="store_true", help="print the state that was saved last")
    add_archive_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if options.last and options.step is not None:
        raise ConfigurationError("Name a STEP, or give --last.")
    with open_for_reading(options) as persistence:
        run_id = full_id(persistence, options.run_id)
        if options.last or options.step is not None:
            _show_state(_snapshot(persistence, run_id, options.step), output)
        else:
            _list(persistence, run_id, output)
    return OK


def _list(persistence: Persistence, run_id: str, output: Output) -> None:
    found = persistence.snapshots.list(run_id)
    if not found and persistence.get_agent_run(run_id) is None:
        raise NotFoundError(f"{persistence.location} has no run {run_id!r}.")
    if not output.for_people:
        output.json([_without_state(snapshot) for snapshot in found])
    elif found:
        rows = [
            [
                cell(each.step_id),
                cell(local_time(each.created_at)),
                cell(local_time(each.updated_at)),
                cell(each.metadata),
            ]
            for each in found
        ]
        output.table(_COLUMNS, rows)
    else:
        say(f"Run {run_id} has no snapshots.")


def _without_state(snapshot: Snapshot) -> dict[str, object]:
    return {name: value for name, value in snapshot.to_dict().items() if name != "state"}


def _snapshot(persistence: Persistence, run_id: str, step: str | None) -> Snapshot:
    snapshots = persistence.snapshots
    found = snapshots.latest(run_id) if step is None else snapshots.get(run_id, step)
    if found is None:
        which = "no snapshot" if step is None else f"no snapshot of step {step!r}"
        raise NotFoundError(f"Run {run_id!r} has {which}.")
    return found


def _show_state(snapshot: Snapshot, output: Output) -> None:
    if not output.for_people:
        output.json(snapshot.to_dict())
        return
    output.fields(
        {
            "run": snapshot.run_id,
            "step": snapshot.step_id,
            "saved": local_time(snapshot.updated_at),
            "metadata": snapshot.metadata,
            "state": snapshot.state,
        }
    )
