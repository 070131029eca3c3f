"""Open the web console: what agents did, why they failed, and what it cost.

The console runs on this machine until Ctrl-C, and only its URL opens it: the URL has a token, which
the browser keeps as a cookie; programs send it as Authorization: Bearer. It reads, and changes
nothing, unless --allow-writes lets it. A database that is not there yet is waited for. What is
recorded meanwhile is indexed for search, where the database may be written to.

--demo records what made-up agents did in some weeks, and shows that. It goes to the file of
--db-path, or to one that is deleted at the end; a file that has runs already is shown as it is.

With --team it serves people and programs that have keys (curio-persistence keys): behind a proxy
that has the certificate, at --public-url. Each key has a role: read, write or admin. Headers of the
proxy count from --trusted-proxy only. Other web pages may read the API with a key if --allow-origin
names them. --audit-reads writes a line to the audit log for each run that is opened.

Behind a proxy, --base-path is the path under which the proxy shows it, and --public-url the address
that readers open. As JSON, one line with the URL, once requests are answered; no browser is opened.
It needs pip install 'curio-persistence[console]'.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import (
    add_json_option,
    count,
    database,
    database_named,
)
from curio_persistence.cli.arguments.team import add_team_options, team_options
from curio_persistence.cli.exit_codes import FAILED, OK
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import ConsoleOptions, DatabaseConfig

EXAMPLES = """\
  curio-persistence console
  curio-persistence console --db-path agents.db --port 8000 --no-browser
  curio-persistence console --demo
  curio-persistence console --base-path /curio --public-url https://tools.example.com
  curio-persistence console --team --public-url https://curio.example.com --trusted-proxy 127.0.0.1
"""

_SECONDS_TO_END = 5.0
_DEMO_EVENTS, _DEMO_DAYS, _MANY = 32_000, 30, 100_000


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=count,
        help="the port to listen on, 0 for any free one (default: 7410, or the next free one)",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the URL only")
    parser.add_argument(
        "--no-token",
        action="store_true",
        help="let all programs and users of this machine read, without the token of the URL",
    )
    parser.add_argument(
        "--allow-writes", action="store_true", help="let readers delete and change records"
    )
    parser.add_argument(
        "--demo",
        metavar="EVENTS",
        type=count,
        nargs="?",
        const=_DEMO_EVENTS,
        help=f"show made-up agents with about so many events (default: {_DEMO_EVENTS:,})",
    )
    add_team_options(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if (missing := _missing()) is not None:
        say(f"curio-persistence: {missing}")
        return FAILED
    from curio_persistence import serve_console

    with tidied_when_interrupted(_SECONDS_TO_END), _database(options) as config:
        serve_console(
            config,
            _options(options),
            host=options.host,
            port=options.port,
            on_start=lambda url: _tell(url, output, opens=not (options.no_browser or options.team)),
        )
    say("Stopped.")
    return OK


@contextmanager
def _database(options: Namespace) -> Iterator[DatabaseConfig]:
    """Yield the configuration of what is shown."""
    if options.demo is None:
        yield database(options)
        return
    if options.url is not None:
        raise ConfigurationError("--demo fills a file: name it with --db-path, not --url.")
    with TemporaryDirectory(prefix="curio-demo-") as folder:
        path = options.db_path or str(Path(folder) / "demo.db")
        config = database_named("--db-path", path)
        _fill(config, options.demo)
        yield config


def _fill(config: DatabaseConfig, events: int) -> None:
    """Record the demonstration, unless there are runs already."""
    from curio_persistence import record_demo

    days = _DEMO_DAYS if events < _MANY else 3 * _DEMO_DAYS
    with config.get_persistence() as persistence, progress_line("recorded") as progress:
        if not persistence.count_agent_runs():
            record_demo(persistence, events=events, days=days, progress=progress)
            persistence.search.index_pending(progress=progress)


def _missing() -> str | None:
    """Return what to install, if the console cannot run without it."""
    from importlib.util import find_spec

    for package in ("jinja2", "markdown_it", "starlette", "uvicorn"):
        if find_spec(package) is None:
            return f"The console needs {package}: pip install 'curio-persistence[console]'"
    return None


def _options(options: Namespace) -> ConsoleOptions:
    from secrets import token_urlsafe

    from curio_persistence import ConsoleOptions

    return ConsoleOptions(
        token=None if options.no_token or options.team else token_urlsafe(24),
        allow_writes=options.allow_writes,
        **team_options(options),
    )


def _tell(url: str, output: Output, *, opens: bool) -> None:
    """Print the URL, and open it in a browser where people look."""
    if not output.for_people:
        output.json_line({"url": url})
        output.flush()
        return
    output.line(f"The console is at {url}")
    output.line("Ctrl-C ends it.")
    output.flush()
    if opens:
        _open(url)


def _open(url: str) -> None:
    """Open a browser beside the requests: some only return when they are closed."""
    import webbrowser
    from threading import Thread

    Thread(target=webbrowser.open, args=(url,), daemon=True).start()
