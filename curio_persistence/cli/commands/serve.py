"""Receive OpenTelemetry over HTTP until Ctrl-C, store it, and show what is stored.

Whatever exports OTLP over HTTP is recorded by pointing it here: set OTEL_EXPORTER_OTLP_ENDPOINT as
printed. The database and its tables are made if they are missing. An answer of 200 means that what
was sent is stored. gRPC is not spoken.

The pages of the console and the HTTP API are served on the same port, for who has the token of the
printed URL; programs send it as Authorization: Bearer. It lets them also send records, and with
--allow-writes delete them. /metrics is for Prometheus, and /api/v1/stream sends what is stored as
server-sent events.

Only programs of this machine are answered. To listen on another address, set CURIO_SERVER_KEYS to
one key, or several with commas between them; each request then needs one, as Authorization: Bearer,
and a browser opens /?token=KEY once. With --team, keys are those of the database, with a role and
an end (curio-persistence keys), for a server behind a proxy at --public-url. /healthz and /readyz
need none: they answer 200 while the server runs, and while its database answers. As JSON, one line
with the URL and the token, once requests are answered.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import add_json_option, count, database
from curio_persistence.cli.arguments.team import (
    add_team_options,
    refuse_team_options,
    team_options,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import Output, say

if TYPE_CHECKING:
    from curio_persistence import ConsoleOptions, ServerConfig

EXAMPLES = """\
  curio-persistence serve
  curio-persistence serve --db-path agents.db --port 4400
  curio-persistence serve --host 0.0.0.0 --key a-long-random-text
"""

_SECONDS_TO_END = 30.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=count,
        default=4318,
        help="the port to listen on, 0 for any free one (default: 4318)",
    )
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        help="a key that senders need; better in CURIO_SERVER_KEYS, which other users cannot see",
    )
    parser.add_argument(
        "--no-token",
        action="store_true",
        help="let all users of this machine see the pages and use the API",
    )
    parser.add_argument(
        "--allow-writes", action="store_true", help="let readers of the pages and the API delete"
    )
    add_team_options(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import serve

    config = _config(options)
    console = _console(options, config)
    if not console.team:
        config.check_reach()  # Before a database is made.
    with (
        tidied_when_interrupted(_SECONDS_TO_END),
        database(options).get_persistence() as persistence,
    ):
        serve(
            persistence,
            config,
            console,
            on_start=lambda url: _tell(url, persistence.location, config, console, output),
        )
    say("Stopped. Everything that was answered is stored.")
    return OK


def _config(options: Namespace) -> ServerConfig:
    from curio_persistence import ServerConfig

    config = ServerConfig.from_env()
    keys = config.keys if options.key is None else tuple(options.key)
    return replace(config, host=options.host, port=options.port, keys=keys)


def _console(options: Namespace, config: ServerConfig) -> ConsoleOptions:
    from secrets import token_urlsafe

    from curio_persistence import ConsoleOptions

    if not options.team:
        refuse_team_options(options)
    has_token = not (options.no_token or options.team or config.keys)
    return ConsoleOptions(
        token=token_urlsafe(24) if has_token else None,
        allow_writes=options.allow_writes,
        **team_options(options),
    )


def _tell(
    url: str, location: str, config: ServerConfig, console: ConsoleOptions, output: Output
) -> None:
    """Say where the server listens, and what senders set."""
    if not output.for_people:
        secret = {} if console.token is None else {"token": console.token}
        output.json_line({"url": url, **secret})
        output.flush()
        return
    output.line(f"{location}: listening on {url}. Ctrl-C ends it.")
    output.line("Programs with OpenTelemetry send to it with:")
    output.line(f"  export OTEL_EXPORTER_OTLP_ENDPOINT={url}")
    output.line("  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
    if config.keys or console.team:
        output.line('  export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20KEY"')
    output.line("People open:")
    output.line(f"  {_opened(url, config, console)}")
    output.flush()


def _opened(url: str, config: ServerConfig, console: ConsoleOptions) -> str:
    """Return the address that people open in a browser."""
    if console.team:
        return f"{console.public_url}{console.base_path}/"
    token = "KEY" if config.keys else console.token
    return f"{url}/" if token is None else f"{url}/?token={token}"
