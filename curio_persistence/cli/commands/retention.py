"""List, store and remove retention policies and legal holds.

A policy says how long finished runs are kept, of some agents, tags or statuses, or of all. Where
several fit a run, the one with the most conditions decides. A hold keeps a run, or all runs with a
tag, whatever the policies say. Nothing is deleted here: that is done by expire.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import (
    add_action,
    add_json_option,
    count,
    length_of_time,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.commands.runs import get_run
from curio_persistence.cli.exit_codes import NOT_FOUND, OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence retention
  curio-persistence retention set default --keep 90d --keep-content 14d
  curio-persistence retention set default --keep 90d --max-bytes 20GB
  curio-persistence retention set failures --keep 52w --status error --status timeout
  curio-persistence retention hold case-7 --run run-42 --reason 'see the lawyers'
  curio-persistence retention release case-7
"""

_OPTIONS = {
    "set": {"keep", "max_runs", "max_bytes", "keep_content", "forever", "agent", "status", "tag"},
    "hold": {"run", "tag", "reason"},
}
_ACTIONS = ("list", "set", "remove", "hold", "release")


def add_arguments(parser: ArgumentParser) -> None:
    add_action(parser, _ACTIONS, "list (the default), set or remove a policy, hold or release runs")
    parser.add_argument("name", metavar="NAME", nargs="?", help="the policy, or the hold")
    parser.add_argument(
        "--keep", metavar="TIME", type=length_of_time, help="how long after the end of a run"
    )
    parser.add_argument(
        "--forever", action="store_true", help="never delete runs, an exception from other policies"
    )
    parser.add_argument("--max-runs", metavar="N", type=count, help="how many runs, the newest")
    parser.add_argument(
        "--max-bytes",
        metavar="SIZE",
        help="how large the database may be (500MB, 2GiB): the oldest runs go first",
    )
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
    _check(options)
    if options.action == "list":
        with open_for_reading(options) as persistence:
            return _list(persistence, output)
    with open_for_work(options) as persistence:
        return _change(persistence, options)


def _check(options: Namespace) -> None:
    """Refuse options that the action does not take, and a policy without a rule."""
    action = options.action
    if (action != "list") is (options.name is None):
        which = "takes no NAME" if action == "list" else "needs the NAME of a policy or hold"
        raise ConfigurationError(f"retention {action} {which}.")
    given = {name for name in _OPTIONS["set"] | _OPTIONS["hold"] if getattr(options, name)}
    if unfit := given - _OPTIONS.get(action, set()):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unfit))
        raise ConfigurationError(f"retention {action} does not take {names}.")
    ends = any(x is not None for x in (options.keep, options.max_runs, options.max_bytes))
    if action == "set" and (
        (options.forever and ends)
        or not (options.forever or ends or options.keep_content is not None)
    ):
        raise ConfigurationError(
            "Say how long: --keep 90d, --max-runs 1000, --max-bytes 20GB or --forever; and "
            "--keep-content 14d."
        )


def _list(persistence: Persistence, output: Output) -> int:
    policies = [policy.to_dict() for policy in persistence.lifecycle.policies()]
    holds = [{"name": name, **hold} for name, hold in persistence.lifecycle.holds().items()]
    if not policies:
        _tell_default()
    if not output.for_people:
        output.json({"policies": policies, "holds": holds})
        return OK
    for policy in policies:
        output.line(f"policy {policy['name']}: {told(policy)}")
    for hold in holds:
        runs = [f"run {run_id}" for run_id in hold["run_ids"]]
        what = ", ".join([*runs, *(f"runs tagged {tag}" for tag in hold["tags"])])
        why = f" ({hold['reason']})" if hold["reason"] else ""
        output.line(f"hold {hold['name']}: {what}{why}")
    return OK


def _tell_default() -> None:
    """Say what holds without a stored policy."""
    from curio_persistence import LifecycleConfig

    default = LifecycleConfig.from_env().policy
    rule = f"{default.name} says: {told(default.to_dict())}" if default else "all runs are kept"
    say(f"No policy is stored: {rule}.")


def told(policy: dict[str, Any]) -> str:
    """Return what a policy says, in words."""
    said = []
    if "keep_seconds" in policy:
        said.append(f"until {_length(int(policy['keep_seconds']))} after their end")
    if "max_runs" in policy:
        said.append(f"while they are among the newest {policy['max_runs']:,}")
    if "max_bytes" in policy:
        said.append(f"while the database is no larger than {policy['max_bytes'] / 1e6:,.1f} MB")
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
            max_bytes=options.max_bytes,
            keep_content=options.keep_content,
            agent_id=options.agent,
            status=options.status,
            tags=options.tag,
        )
        lifecycle.set_policy(policy)
        say(f"{persistence.location}: policy {name}: {told(policy.to_dict())}.")
        return OK
    if options.action == "hold":
        if not options.run and not options.tag:
            raise ConfigurationError("A hold is of runs: pass --run or --tag.")
        with persistence.transaction():
            if options.run:
                run_id = get_run(persistence, options.run).run_id
                lifecycle.hold(name, run_id=run_id, reason=options.reason)
            for tag in options.tag or ():
                lifecycle.hold(name, tag=tag, reason=options.reason)
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
