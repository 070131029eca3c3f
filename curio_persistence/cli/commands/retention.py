"""List, store and remove retention policies and legal holds.

A policy says how long finished runs are kept, of some agents, tags or statuses, or of all. Where
several fit a run, the one with the most conditions decides. A hold keeps a run, or all runs with a
tag, whatever the policies say. Nothing is deleted here: that is done by expire.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import (
    add_json_option,
    count,
    length_of_time,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.exit_codes import NOT_FOUND, OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence retention
  curio-persistence retention set default --keep 90d --keep-content 14d
  curio-persistence retention set failures --keep 52w --status error --status timeout
  curio-persistence retention hold case-7 --run run-42 --reason 'see the lawyers'
  curio-persistence retention release case-7
"""

_ACTIONS = ("list", "set", "remove", "hold", "release")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "action",
        metavar="ACTION",
        nargs="?",
        default="list",
        choices=_ACTIONS,
        help="list (the default), set or remove a policy, hold or release runs",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="the policy, or the hold")
    parser.add_argument(
        "--keep", metavar="TIME", type=length_of_time, help="how long after the end of a run"
    )
    parser.add_argument("--max-runs", metavar="N", type=count, help="how many runs, the newest")
    parser.add_argument(
        "--keep-content",
        metavar="TIME",
        type=length_of_time,
        help="how long texts are kept; numbers, names and times stay longer",
    )
    for option, what in (("agent", "an agent"), ("status", "a status"), ("tag", "a tag")):
        parser.add_argument(
            f"--{option}", metavar=option.upper(), action="append", help=f"only runs of {what}"
        )
    parser.add_argument("--run", metavar="RUN", help="the run to hold")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why runs are on hold")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if options.action == "list":
        with open_for_reading(options) as persistence:
            return _list(persistence, output)
    if not options.name:
        raise ConfigurationError(f"Say which: curio-persistence retention {options.action} NAME")
    with open_for_work(options) as persistence:
        return _change(persistence, options)


def _list(persistence: Persistence, output: Output) -> int:
    policies = [policy.to_dict() for policy in persistence.lifecycle.policies()]
    holds = [{"name": name, **hold} for name, hold in persistence.lifecycle.holds().items()]
    if not output.for_people:
        output.json({"policies": policies, "holds": holds})
        return OK
    for policy in policies:
        output.line(f"policy {policy['name']}: {_told(policy)}")
    for hold in holds:
        what = f"run {hold['run_id']}" if "run_id" in hold else f"runs tagged {hold['tag']}"
        why = f" ({hold['reason']})" if hold["reason"] else ""
        output.line(f"hold {hold['name']}: {what}{why}")
    if not policies:
        say("No policy is stored: all runs are kept, unless CURIO_RETENTION_DAYS is set.")
    return OK


def _told(policy: dict[str, Any]) -> str:
    """Return what a policy says, in words."""
    said = []
    if "keep_seconds" in policy:
        said.append(f"until {_length(int(policy['keep_seconds']))} after their end")
    if "max_runs" in policy:
        said.append(f"the newest {policy['max_runs']:,}")
    texts = ""
    if "keep_content_seconds" in policy:
        texts = f", their texts for {_length(int(policy['keep_content_seconds']))}"
    names = {"agent_id": "agent", "status": "status", "tags": "tag"}
    which = [f"{names[name]} {' or '.join(policy[name])}" for name in names if name in policy]
    runs = f"runs of {', '.join(which)}" if which else "all runs"
    return f"keep {runs} {' and '.join(said) or 'for ever'}{texts}"


def _length(seconds: int) -> str:
    for unit, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds and seconds % unit == 0:
            return f"{seconds // unit:,} {name}"
    return f"{seconds:,} seconds"


def _change(persistence: Persistence, options: Namespace) -> int:
    name, lifecycle = options.name, persistence.lifecycle
    if options.action == "set":
        from curio_persistence import RetentionPolicy

        policy = RetentionPolicy(
            name,
            keep=options.keep,
            max_runs=options.max_runs,
            keep_content=options.keep_content,
            agent_id=options.agent,
            status=options.status,
            tags=options.tag,
        )
        lifecycle.set_policy(policy)
        say(f"{persistence.location}: policy {name}: {_told(policy.to_dict())}.")
        return OK
    if options.action == "hold":
        tag = options.tag[0] if options.tag and len(options.tag) == 1 else None
        if (tag is None) is (options.run is None):
            raise ConfigurationError("A hold is of one run or one tag: pass --run or --tag.")
        lifecycle.hold(name, run_id=options.run, tag=tag, reason=options.reason)
        say(f"{persistence.location}: {name} is on hold.")
        return OK
    known, remove = (
        ("policy", lifecycle.remove_policy)
        if options.action == "remove"
        else ("hold", lifecycle.release)
    )
    if not remove(name):
        say(f"{persistence.location} has no {known} {name!r}.")
        return NOT_FOUND
    say(f"{persistence.location}: {known} {name} was removed.")
    return OK
