"""List, make, change, try and watch rules of alerts, and show what they found.

A rule fires when its value, in a window that ends now, is above a threshold: an error_rate (0.1 is
10 %), a cost in US dollars, a latency in milliseconds, an event_count, a token_count or a metric; a
silence fires when nothing came. Sinks are told when it fires and when it is over. Keys and URLs
with tokens are best given by the names of environment variables, which watch reads. update replaces
what is given; sinks all together.

watch evaluates all rules again and again. Several programs may watch one database: each alert fires
once. As JSON, list, add and update print rules, watch a report on each line.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING

from curio_persistence.cli import alert_rules
from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.options import (
    add_action,
    add_json_option,
    add_window_options,
    age,
    count_or_all,
    length_of_time,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.exit_codes import FAILED, NOT_FOUND, OK, exit_code
from curio_persistence.cli.terminal.output import DIM, GREEN, RED, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError, PersistenceError
from curio_persistence.views.alerts import fires_in_words, scope_in_words, states_of, unresolved
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import Alert, AlertReport, AlertRule, Persistence

EXAMPLES = """\
  curio-persistence alerts
  curio-persistence alerts add costs --condition cost --above 5 --window 1h --log
  curio-persistence alerts add p95 --condition latency --aggregation p95 --above 2000 --model m-1
  curio-persistence alerts add quiet --condition silence --window 1d --slack-env SLACK_URL
  curio-persistence alerts history --state firing
  curio-persistence alerts watch --once
"""

_OPTIONS: Mapping[str, set[str]] = {
    "add": alert_rules.OPTIONS,
    "update": alert_rules.OPTIONS,
    "history": {"state", "since", "until", "limit", "cursor"},
    "expire": {"older_than", "yes", "dry_run"},
    "test": {"no_send"},
    "watch": {"once", "every"},
}
_STATES = ("firing", "failing", "resolved")
_WITHOUT_RULE = ("list", "watch", "expire")
_ACTIONS = (
    "list",
    "add",
    "update",
    "remove",
    "enable",
    "disable",
    "test",
    "history",
    "watch",
    "expire",
)


def add_arguments(parser: ArgumentParser) -> None:
    add_action(parser, _ACTIONS, f"{', '.join(_ACTIONS)} (default: list)")
    parser.add_argument("rule", metavar="RULE", nargs="?", help="the id of a rule")
    alert_rules.add_options(parser)
    group = parser.add_argument_group("history, test and watch")
    group.add_argument("--state", choices=_STATES, help="only such alerts")
    add_window_options(group)
    group.add_argument(
        "--limit", metavar="N", type=count_or_all, default=None, help="at most so many (20), or all"
    )
    group.add_argument("--cursor", help="go on where the last page of the history ended")
    group.add_argument("--no-send", action="store_true", help="test the value, and tell no sink")
    group.add_argument("--once", action="store_true", help="evaluate once")
    group.add_argument(
        "--every", metavar="TIME", type=length_of_time, help="how often to evaluate (default: 60s)"
    )
    group = parser.add_argument_group("expire")
    group.add_argument(
        "--older-than", metavar="AGE", type=age, help="alerts that were over so long ago"
    )
    add_consent_options(group, "only count the alerts")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    _check(options)
    reads = options.action in ("list", "history")
    with (open_for_reading if reads else open_for_work)(options) as persistence:
        return _DO[options.action](persistence, options, output)


def _check(options: Namespace) -> None:
    """Refuse options that the action does not take."""
    action = options.action
    if options.rule is None and action not in (*_WITHOUT_RULE, "history"):
        raise ConfigurationError(f"alerts {action} needs the id of a RULE.")
    if options.rule is not None and action in _WITHOUT_RULE:
        raise ConfigurationError(f"alerts {action} takes no RULE.")
    every = set().union(*_OPTIONS.values())
    given = {name for name in every if getattr(options, name) not in (None, False)}
    if unfit := given - _OPTIONS.get(action, set()):
        names = ", ".join(_option(name) for name in sorted(unfit))
        raise ConfigurationError(f"alerts {action} does not take {names}.")
    if action == "add" and options.condition is None:
        raise ConfigurationError("Say what is measured: --condition cost --above 5, for example.")
    if action == "expire" and options.older_than is None:
        raise ConfigurationError("Say which alerts are deleted: --older-than 365d, for example.")


def _option(name: str) -> str:
    return "--command" if name == "command_line" else f"--{name.replace('_', '-')}"


# --- rules ----------------------------------------------------------------------------------------


def _list(persistence: Persistence, options: Namespace, output: Output) -> int:
    rules = persistence.alerts.list()
    states = states_of(rules, unresolved(persistence.alerts))
    if not output.for_people:
        output.json([{**rule.to_dict(), "state": states[rule.rule_id]} for rule in rules])
    elif rules:
        output.table(_RULES, [_rule_row(rule, states[rule.rule_id]) for rule in rules])
    else:
        say(f"{persistence.location} has no rules of alerts. To make one: alerts add --help")
    return OK


_STYLES = {"firing": RED, "failing": RED, "ok": GREEN, "resolved": GREEN, "disabled": DIM}
_RULES = (
    Column("RULE", most=48),
    Column("STATE"),
    Column("FIRES", grows=True),
    Column("OF", most=48),
    Column("TELLS", grows=True),
)


def _rule_row(rule: AlertRule, state: str) -> list[Cell]:
    return [
        cell(rule.rule_id),
        cell(state, _STYLES[state]),
        cell(fires_in_words(rule)),
        cell(scope_in_words(rule) or None),
        cell(", ".join(sink.name for sink in rule.sinks) or None),
    ]


def _add(persistence: Persistence, options: Namespace, output: Output) -> int:
    rule = persistence.alerts.create(options.rule, **alert_rules.settings_given(options))
    say(f"{persistence.location}: rule {rule.rule_id} was added.")
    if not rule.sinks:
        say("It has no sinks, and stands in the history only: pass --log, --slack-env or others.")
    if not output.for_people:
        output.json(rule.to_dict())
    return OK


def _update(persistence: Persistence, options: Namespace, output: Output) -> int:
    rule = persistence.alerts.update(options.rule, **alert_rules.settings_given(options))
    say(f"{persistence.location}: rule {rule.rule_id} was changed.")
    if not output.for_people:
        output.json(rule.to_dict())
    return OK


def _remove(persistence: Persistence, options: Namespace, output: Output) -> int:
    if not persistence.alerts.delete(options.rule):
        say(f"{persistence.location} has no rule {options.rule!r}.")
        return NOT_FOUND
    say(f"{persistence.location}: rule {options.rule} was removed; its history stays.")
    return OK


def _enable(persistence: Persistence, options: Namespace, output: Output) -> int:
    persistence.alerts.update(options.rule, enabled=options.action == "enable")
    say(f"{persistence.location}: rule {options.rule} is {options.action}d.")
    return OK


def _test(persistence: Persistence, options: Namespace, output: Output) -> int:
    tested = persistence.alerts.test(options.rule, send=not options.no_send)
    if output.for_people:
        output.line(f"{tested.message}: {'it would fire' if tested.fires else 'all is well'}.")
        for name, error in tested.sinks.items():
            output.line(f"{name}: {error or 'told'}")
    else:
        output.json(tested.to_dict())
    return FAILED if any(tested.sinks.values()) else OK


# --- what they found ------------------------------------------------------------------------------

_HISTORY = (
    Column("FIRED"),
    Column("STATE"),
    Column("RULE", most=48),
    Column("TOLD"),
    Column("MESSAGE", grows=True),
)


def _history(persistence: Persistence, options: Namespace, output: Output) -> int:
    names = ("state", "since", "until", "cursor")
    given = {name: getattr(options, name) for name in names if getattr(options, name)}
    limit = 20 if options.limit is None else options.limit
    page = persistence.alerts.history(rule_id=options.rule, limit=limit, **given)
    if not output.for_people:
        output.json([alert.to_dict() for alert in page])
    elif len(page):
        output.table(_HISTORY, [_alert_row(alert) for alert in page])
    else:
        say(f"{persistence.location} has no {'such ' if given or options.rule else ''}alerts.")
    if page.next_cursor is not None:
        say(f"There are more: add --cursor {page.next_cursor} for the next, or --limit all.")
    return OK


def _alert_row(alert: Alert) -> Sequence[Cell]:
    delivered = sum(each["state"] == "delivered" for each in alert.deliveries)
    failed = any(each["state"] == "failed" for each in alert.deliveries)
    told = f"{delivered} of {len(alert.deliveries)}" if alert.deliveries else None
    return [
        cell(local_time(alert.triggered_at), DIM),
        cell(alert.state, _STYLES[alert.state]),
        cell(alert.rule_id),
        cell(told, RED if failed else ""),
        cell(alert.message),
    ]


def _expire(persistence: Persistence, options: Namespace, output: Output) -> int:
    count = persistence.alerts.count(state="resolved", until=options.older_than)
    say(f"{persistence.location}: up to {count:,} alerts to delete; the newest of a rule stays.")
    if count and agreed(options, "Delete them?"):
        say(f"{persistence.alerts.expire(options.older_than):,} alerts were deleted.")
    return OK


def _watch(persistence: Persistence, options: Namespace, output: Output) -> int:
    stop, failed = Event(), OK

    def on_round(outcome: AlertReport | PersistenceError) -> None:
        nonlocal failed
        if isinstance(outcome, PersistenceError):
            failed = exit_code(outcome)
            say(f"{persistence.location}: {outcome}")
        else:
            failed = FAILED if outcome.failed else OK
            _tell(outcome, output)
        if options.once:
            stop.set()
            if not isinstance(outcome, PersistenceError) and outcome.is_quiet:
                say("Nothing fired, and nothing is over.")

    _log_to_stderr()
    rules = len(persistence.alerts.list())
    ending = "once" if options.once else "again and again; Ctrl-C ends this"
    say(f"{persistence.location}: evaluating {rules:,} rule{'s' * (rules != 1)}, {ending}.")
    persistence.alerts.run_forever(
        60 if options.every is None else options.every, stop=stop, on_round=on_round
    )
    return failed


def _log_to_stderr() -> None:
    """Let the sink `log` write to stderr, as a program without a log of its own does."""
    import logging

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("curio_persistence.alerts").setLevel(logging.INFO)


def _tell(report: AlertReport, output: Output) -> None:
    if not output.for_people:
        output.json_line(report.to_dict())
    for alert in (*report.fired, *report.resolved) if output.for_people else ():
        style = _STYLES[alert.state]
        said = alert.message if alert.resolution is None else alert.resolution
        time = local_time(alert.resolved_at or alert.triggered_at)
        output.line(f"{time}  {output.paint(alert.state, style)}  {alert.rule_id}: {said}")
    for rule_id, error in report.failed.items():
        say(f"Rule {rule_id} was not evaluated: {error}")
    output.flush()


_DO: Mapping[str, Callable[[Persistence, Namespace, Output], int]] = {
    "list": _list,
    "add": _add,
    "update": _update,
    "remove": _remove,
    "enable": _enable,
    "disable": _enable,
    "test": _test,
    "history": _history,
    "watch": _watch,
    "expire": _expire,
}
