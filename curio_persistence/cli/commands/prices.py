"""Explain what model calls cost, list those without a known cost, or compute costs anew.

  prices                    the prices that are used: genai-prices, and own ones by their versions
  prices show MODEL         the prices of a model, and the cost of a call with so many tokens
  prices add FILE           save own prices, of a TOML or JSON file, in the database
  prices remove VERSION     remove own prices from the database
  prices unpriced           models whose calls have no known cost, and why
  prices reprice            compute stored costs anew, each by the prices of its time

Own prices are those of CURIO_PRICES, then those in the database. Costs that an agent gave stay,
unless --given says to replace them. As JSON, an object; of unpriced, a list of models.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.options import (
    add_json_option,
    add_window_options,
    count,
    database,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.arguments.run_ids import resolve_run
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.cli.terminal.tables import Column, cell
from curio_persistence.errors import ConfigurationError, MissingDatabaseError, NotFoundError
from curio_persistence.views.wording import local_time, money

if TYPE_CHECKING:
    from curio_persistence import Persistence, Price, RepriceReport

EXAMPLES = """\
  curio-persistence prices
  curio-persistence prices show gpt-4o --provider azure --input 1000 --output 100
  curio-persistence prices show claude-sonnet-4-5 --input 1000 --output 100 --tier batch --json
  curio-persistence prices add prices.toml
  curio-persistence prices remove 'own 3022ac3b'
  curio-persistence prices unpriced --since 7d
  curio-persistence prices reprice --since 30d --dry-run
  curio-persistence prices reprice --model gpt-4o --yes
"""

_ACTIONS = ("show", "add", "remove", "unpriced", "reprice")
_NAMED = {"add": "a FILE of prices", "remove": "a VERSION, as `prices` shows it"}
_TOKENS = {
    "input": "input tokens",
    "output": "output tokens",
    "cache_read": "input tokens that were read from a cache",
    "cache_write": "input tokens that were written to a cache",
    "reasoning": "output tokens that were spent on reasoning",
}
_OF_CALLS = ("agent_id", "run_id", "session_id", "user_id", "status", "since", "until")
_FILTERS = ("agent_id", "run_id", "session_id", "user_id", "model", "provider", "status")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="ACTION",
        nargs="?",
        default="show",
        choices=_ACTIONS,
        help="show (the default), add, remove, unpriced or reprice",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="with show: the model; with add: the file; with remove: the version",
    )
    call = parser.add_argument_group("the call to show the cost of")
    for name, what in _TOKENS.items():
        call.add_argument(
            f"--{name.replace('_', '-')}", dest=name, metavar="N", type=count, help=f"its {what}"
        )
    call.add_argument("--tier", help="its service tier: batch, flex, priority")
    call.add_argument("--at", metavar="WHEN", help="its time (2026-11-20); now by default")
    add_filters(parser, "calls", *_FILTERS)
    add_window_options(parser)
    parser.add_argument(
        "--given", action="store_true", help="with reprice: replace the costs that agents gave, too"
    )
    add_consent_options(parser, "with reprice: only tell what would change")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    _check(options)
    if options.what == "reprice":
        return _reprice(options, output)
    if options.what == "unpriced":
        with open_for_reading(options) as persistence:
            resolve_run(persistence, options)
            _show_unpriced(persistence, options, output)
        return OK
    if options.what != "show":
        return _change(options, output)
    with _open_if_there_is_one(options) as persistence:
        if options.name is None:
            _show_sources(persistence, output)
        else:
            _show_price(persistence, options, output)
    return OK


def _open_if_there_is_one(options: Namespace) -> Persistence:
    """Open the database for its prices; if none exists, use an empty one in memory."""
    from curio_persistence import InMemoryPersistence  # Slow to import.

    try:
        return open_for_reading(options)
    except MissingDatabaseError:
        return InMemoryPersistence(prices=database(options).prices)


def _check(options: Namespace) -> None:
    """Refuse options that an action does not take."""
    given = {name for name, value in vars(options).items() if value not in (None, False)}
    of_show = {*_TOKENS, "tier", "at", "name"}
    of_reprice = {"given", "yes", "dry_run"}
    of_calls = {*_OF_CALLS, "model"}
    of_change = of_show - {"name"} | of_reprice | of_calls | {"provider"}
    unfit = {
        "show": of_calls | of_reprice,
        "add": of_change,
        "remove": of_change,
        "unpriced": of_show | of_reprice,
        "reprice": of_show,
    }[options.what]
    if wrong := sorted(given & unfit):
        what = "a NAME" if wrong == ["name"] else _option(wrong[0])
        raise ConfigurationError(f"prices {options.what} does not take {what}.")
    if options.what in _NAMED and options.name is None:
        raise ConfigurationError(f"prices {options.what} needs {_NAMED[options.what]}.")
    if options.what == "show" and options.name is None and given & {*of_show, "provider"}:
        raise ConfigurationError("Name the MODEL: curio-persistence prices show MODEL.")


def _option(name: str) -> str:
    names = {"agent_id": "agent", "run_id": "run", "session_id": "session", "user_id": "user"}
    return f"--{names.get(name, name).replace('_', '-')}"


# --- show -----------------------------------------------------------------------------------------


def _show_sources(persistence: Persistence, output: Output) -> None:
    version, own = persistence.prices.version(), persistence.prices.own()
    if not output.for_people:
        output.json({"price_version": version, "own": own})
        return
    if own:
        names = list(dict.fromkeys(name for entry in own for name in entry))
        columns = [Column(name.upper().replace("_", " ")) for name in names]
        output.table(columns, [[cell(entry.get(name)) for name in names] for entry in own])
    say(f"Prices of {version}." if version else _without_library(persistence))


def _without_library(persistence: Persistence) -> str:
    reason = persistence.prices.of("", "a model", input_tokens=1).reason
    return f"{reason[:1].upper()}{reason[1:]}."


def _show_price(persistence: Persistence, options: Namespace, output: Output) -> None:
    providers = options.provider or [""]
    if len(providers) > 1:
        raise ConfigurationError("prices show takes one --provider.")
    tokens = {f"{name}_tokens": getattr(options, name) for name in _TOKENS}
    price = persistence.prices.of(
        providers[0], options.name, service_tier=options.tier, at=_moment(options.at), **tokens
    )
    if not output.for_people:
        output.json(price.to_dict())
        return
    if price.prices:
        columns = (Column("PRICE"), Column("US DOLLARS", right=True))
        output.table(columns, [[cell(name), cell(each)] for name, each in price.prices.items()])
    say(_told(price, options))


def _told(price: Price, options: Namespace) -> str:
    if price.cost_usd is not None:
        return f"The call costs {money(price.cost_usd)}, by {price.price_version}."
    if price.model is None:
        return f"{options.name}: {price.reason}."
    if price.reason == "no tokens":
        return f"{price.model} of {price.provider}. For the cost of a call: --input, --output."
    return f"The cost is unknown: {price.reason}."


def _moment(text: str | None) -> Any:
    if text is None:
        return None
    from datetime import datetime

    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--at takes a date or time, not {text!r}.") from error


# --- add, remove ----------------------------------------------------------------------------------


def _change(options: Namespace, output: Output) -> int:
    """Save or remove prices in the database, without reading saved ones, which may be damaged."""
    config = replace(database(options), prices=False)
    config.get_persistence(read_only=True).close()  # Which tells what is missing.
    with config.get_persistence(initialize=False) as persistence:
        if options.what == "add":
            versions = persistence.prices.save(options.name)
            said = f"{len(versions)} saved: {', '.join(versions)}."
        elif persistence.prices.remove(options.name):
            versions, said = [options.name], f"Removed: {options.name}."
        else:
            raise NotFoundError(f"No saved price has the version {options.name!r}.")
    say(f"{said} Costs of the past: curio-persistence prices reprice")
    if not output.for_people:
        output.json({"price_versions": versions})
    return OK


# --- unpriced -------------------------------------------------------------------------------------


def _show_unpriced(persistence: Persistence, options: Namespace, output: Output) -> None:
    found = persistence.prices.unpriced(**filters(options, "usage"))
    if not output.for_people:
        output.json([each.to_dict() for each in found])
        return
    if not found:
        say("Every call has a known cost.")
        return
    columns = (
        Column("PROVIDER", most=32),
        Column("MODEL", most=48),
        Column("CALLS", right=True),
        Column("IN", right=True),
        Column("OUT", right=True),
        Column("LAST"),
        Column("REASON", grows=True),
    )
    rows = [
        [
            cell(each.provider or None),
            cell(each.model or None),
            cell(f"{each.calls:,}"),
            cell(f"{each.input_tokens:,}"),
            cell(f"{each.output_tokens:,}"),
            cell(local_time(each.last_at, "minutes")),
            cell(each.reason),
        ]
        for each in found
    ]
    output.table(columns, rows)
    if any(each.reason == "has a price" for each in found):
        say("To compute what has a price: curio-persistence prices reprice")


# --- reprice --------------------------------------------------------------------------------------


def _reprice(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence, progress_line("Looking") as progress:
        resolve_run(persistence, options)
        asked = {"given": options.given, **filters(options, "usage")}
        report = persistence.prices.reprice(progress=progress, **asked)
    _tell(report, output)
    if report.changed and agreed(options, "Store the new costs?"):
        with open_for_work(options) as persistence, progress_line("Computing") as progress:
            report = persistence.prices.reprice(dry_run=False, progress=progress, **asked)
        say(f"{report.changed:,} costs were stored.")
    if not output.for_people:
        output.json(report.to_dict())
    return OK


def _tell(report: RepriceReport, output: Output) -> None:
    if output.for_people and report.by_model:
        columns = (
            Column("PROVIDER", most=32),
            Column("MODEL", most=48),
            Column("CALLS", right=True),
            Column("CHANGE", right=True),
            Column("BEFORE", right=True),
            Column("AFTER", right=True),
        )
        rows = [
            [
                cell(each.provider or None),
                cell(each.model or None),
                cell(f"{each.calls:,}"),
                cell(f"{each.changed:,}"),
                cell(money(each.before_usd)),
                cell(money(each.after_usd)),
            ]
            for each in report.by_model
        ]
        output.table(columns, rows)
    say(
        f"Of {report.calls:,} calls {report.changed:,} change, {report.unchanged:,} do not, "
        f"{report.given:,} have a cost that was given, and {report.unknown:,} have none. "
        f"All: {money(report.before_usd)} before, {money(report.after_usd)} after."
    )
