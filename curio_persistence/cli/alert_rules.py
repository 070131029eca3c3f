"""The options by which a rule of alerts is made or changed, and the settings that they give."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import length_of_time
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import AlertSink

_SETTINGS = ("condition", "aggregation", "metric", "window", "cooldown", "model", "tag")
_OF_ADD = {*_SETTINGS, "above", "resolve_below", "title", "agent", "session", "user"}
_SINKS = ("log", "webhook", "webhook_env", "slack", "slack_env", "command_line")
OPTIONS = {*_OF_ADD, *_SINKS, "secret_env", "allow_private"}
"""The names of the options."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of a rule, and those of its sinks."""
    _add_options_of_rules(parser)
    _add_options_of_sinks(parser)


def _add_options_of_rules(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("add and update")
    group.add_argument(
        "--condition",
        help="error_rate, cost, latency, event_count, token_count, metric or silence",
    )
    group.add_argument("--above", metavar="X", type=_number, help="the threshold")
    group.add_argument(
        "--resolve-below", metavar="X", type=_number, help="over at this (default: the threshold)"
    )
    group.add_argument("--window", metavar="TIME", type=length_of_time, help="default: 15m")
    group.add_argument(
        "--cooldown", metavar="TIME", type=length_of_time, help="from firing to firing (default: 0)"
    )
    group.add_argument(
        "--aggregation", metavar="A", help="of a latency avg, p50, p95 or p99; of a metric any"
    )
    group.add_argument("--metric", metavar="NAME", help="the metric that is measured")
    group.add_argument("--title", metavar="TEXT", help="what notifications call the rule")
    for option in ("agent", "session", "user", "model"):
        group.add_argument(f"--{option}", metavar="ID", help=f"only records of this {option}")
    group.add_argument(
        "--tag", metavar="TAG", action="append", help="only of runs with it, or one of several"
    )


def _add_options_of_sinks(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("add and update: the sinks of the rule")
    group.add_argument("--log", action="store_true", help="the log of the program that watches")
    for kind in ("webhook", "slack"):
        group.add_argument(f"--{kind}", metavar="URL", action="append", help=f"a {kind} URL")
        group.add_argument(
            f"--{kind}-env", metavar="VAR", action="append", help="the variable that has the URL"
        )
    group.add_argument(
        "--secret-env", metavar="VAR", help="the variable with the key that signs webhooks"
    )
    group.add_argument(
        "--allow-private", action="store_true", help="allow addresses of the inner network"
    )
    group.add_argument(
        "--command",
        dest="command_line",
        metavar="LINE",
        action="append",
        help="a program and its arguments, without a shell; it reads JSON",
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None


def settings_given(options: Namespace) -> dict[str, Any]:
    """Return the settings that were given."""
    settings = {name: getattr(options, name) for name in _SETTINGS if name != "tag"}
    settings |= {
        "threshold": options.above,
        "resolve_below": options.resolve_below,
        "name": options.title,
        "agent_id": options.agent,
        "session_id": options.session,
        "user_id": options.user,
        "tags": options.tag,
        "sinks": list(_sinks(options)) or None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _sinks(options: Namespace) -> Iterator[AlertSink]:
    from shlex import split

    from curio_persistence import AlertSink

    key, private = options.secret_env, options.allow_private
    if options.log:
        yield AlertSink.log()
    for url in options.webhook or ():
        yield AlertSink.webhook(url, secret_env=key, allow_private=private)
    for name in options.webhook_env or ():
        yield AlertSink.webhook(url_env=name, secret_env=key, allow_private=private)
    for url in options.slack or ():
        yield AlertSink.slack(url, allow_private=private)
    for name in options.slack_env or ():
        yield AlertSink.slack(url_env=name, allow_private=private)
    for line in options.command_line or ():
        try:
            yield AlertSink.command(split(line))
        except ValueError as error:
            raise ConfigurationError(f"--command {line!r}: {error}") from error
