"""`export atif` and `export chat`: what was said in runs, as trajectories or examples."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli import export_otlp
from curio_persistence.cli.arguments.filters import filters, resolve_projects
from curio_persistence.cli.arguments.options import open_for_export
from curio_persistence.cli.arguments.run_ids import resolve_run
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import _ActionsContainer

    from curio_persistence import DialogueReport

FORMS = ("atif", "chat")
CHATS = ("openai", "sharegpt")
"""The formats of examples."""
OPTIONS = ("where", "redact", "per")
"""The options that only these forms have."""
_FILTERS = frozenset(
    (
        *("agent_id", "run_id", "session_id", "user_id", "source", "project", "parent_run_id"),
        *("tags", "any_tags", "metadata", "status", "since", "until"),
    )
)


def add_options(group: _ActionsContainer) -> None:
    """Add the options of `OPTIONS`."""
    group.add_argument(
        "--where",
        metavar="CONDITION",
        action="append",
        help="only runs with such a score: 'score.quality >= 0.8' or 'score.verdict = good'; of "
        "several scores of this name all; given more than once, all of these",
    )
    group.add_argument(
        "--per",
        choices=("run", "session"),
        help="in atif a trajectory for each run, as without it, or one for each session",
    )
    group.add_argument(
        "--redact",
        metavar="PATTERNS",
        help="replace secrets: keys, emails, cards, api-keys, all, or none; in chat keys,api-keys "
        "unless you say",
    )


def refuse_options(options: Namespace) -> None:
    """Refuse the options of these forms in an export of records."""
    for name in OPTIONS:
        if getattr(options, name):
            raise ConfigurationError(f"--{name} is for: export atif, export chat")


def run(options: Namespace) -> int:
    """Write the file or folder, and say what was left out."""
    chosen = _checked(options)
    to_stdout = options.output == "-"
    target: Any = sys.stdout.buffer if to_stdout else options.output
    with (
        open_for_export(options) as persistence,
        progress_line("Exporting") as progress,
        tidied_when_interrupted(),
    ):
        resolve_run(persistence, options)
        resolve_projects(persistence, options)
        if options.project:
            chosen["project"] = options.project
        given = {**chosen, **_given(options), "run_id": options.run_id}
        report = _export(options.form)(
            persistence, target, overwrite=options.force, progress=progress, **given
        )
    _tell(report, options.form)
    return OK


def _export(form: str) -> Any:
    import curio_persistence

    return curio_persistence.export_atif if form == "atif" else curio_persistence.export_chat


def _checked(options: Namespace) -> dict[str, Any]:
    """Return the filters; refuse what these forms do not take."""
    form = options.form
    if options.receiver is not None:
        raise ConfigurationError(
            f"export {form} takes no URL or run: say --output PATH, and --run ID."
        )
    if options.output is None:
        raise ConfigurationError(f"Say where it goes: export {form} --output PATH")
    export_otlp.refuse_options(options)
    chosen = filters(options, "runs")
    wrong = sorted(name for name, value in chosen.items() if value and name not in _FILTERS)
    wrong += [name for name in ("table", "with_proof", "no_snapshot") if getattr(options, name)]
    wrong += ["per"] if options.per and form != "atif" else []
    for name in wrong:
        raise ConfigurationError(f"export {form} does not take --{name.replace('_', '-')}.")
    formats = CHATS if form == "chat" else ()
    if options.format is not None and options.format not in formats:
        raise ConfigurationError(f"export {form} has no format {options.format}.")
    return {name: value for name, value in chosen.items() if value is not None}


def _given(options: Namespace) -> dict[str, Any]:
    given: dict[str, Any] = {"where": options.where or ()}
    if options.format is not None:
        given["format"] = options.format
    if options.per is not None:
        given["per"] = options.per
    if options.redact is not None:
        given["redact"] = None if options.redact == "none" else options.redact
    return given


def _tell(report: DialogueReport, form: str) -> None:
    what = "trajectories" if form == "atif" else "examples"
    if report.runs == 1:
        what = "trajectory" if form == "atif" else "example"
    where = "" if report.path is None else f" to {report.path}"
    say(f"Exported {report.runs:,} {what}{where}.")
    for why, count in report.left_out.items():
        say(f"Left out {count:,}: {why}.")
