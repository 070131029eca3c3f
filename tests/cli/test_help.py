"""Help is fast, and its examples work."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import psycopg2
import pytest

import curio_persistence
from curio_persistence import connect
from curio_persistence.cli import command_parsers, commands
from tests.cli.program import Ended, Program
from tests.cli.test_prices import OWN
from tests.support import agiwo_file
from tests.support.entries import user
from tests.support.lens import event, write_database
from tests.support.postgres import PostgresServer
from tests.support.run_folders import RunFolder

ROOT = Path(__file__).parents[2]
COMMANDS = tuple(command_parsers())

LOG = b'{"timestamp": "2026-11-20T10:30:00+00:00", "event": "start", "data": {}}'
COST = '{"timestamp": "2026-11-20T10:30:00+00:00", "model": "m", "cost_usd": 0.5}'
PROMPT = (
    '{"type": "user", "uuid": "u1", "sessionId": "chat", "timestamp": "2026-11-20T10:30:00Z",'
    ' "message": {"role": "user", "content": "Hello."}}'
)
ANSWER = (
    '{"type": "assistant", "uuid": "u2", "parentUuid": "u1", "sessionId": "chat",'
    ' "timestamp": "2026-11-20T10:30:01Z", "message": {"id": "m1", "model": "m",'
    ' "content": [{"type": "text", "text": "Hello."}], "stop_reason": "end_turn",'
    ' "usage": {"input_tokens": 3, "output_tokens": 2}}}'
)


def examples(help_text: str) -> list[str]:
    _, found, shown = help_text.partition("\nexamples:\n")
    assert found, help_text
    return [line.strip() for line in shown.splitlines()]


def test_the_help_names_every_command(program: Program) -> None:
    code, out, said = program("--help")
    assert (code, said) == (0, "")
    assert re.findall(r"^    ([\w-]+)", out, re.MULTILINE) == list(COMMANDS)


def test_every_command_is_known_and_has_a_row_in_the_documentation() -> None:
    modules = {module.name for module in iter_modules(commands.__path__)}
    assert {name.removesuffix("_").replace("_", "-") for name in modules} == set(COMMANDS), (
        "see cli/__init__.py"
    )
    rows = re.findall(
        r"^\| `([\w-]+)", (ROOT / "docs/cli.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(COMMANDS) - {*rows} == set(), "add a row to docs/cli.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_the_options_all_have(program: Program, command: str) -> None:
    code, out, said = program(command, "--help")
    assert (code, said) == (0, "")
    assert out.startswith(f"usage: curio-persistence {command} ")
    for option in ("--url", "--backend {sqlite,postgres,memory}", "--db-path PATH"):
        assert option in out
    assert all(example.startswith(f"curio-persistence {command}") for example in examples(out))


@pytest.fixture
def server_of_their_own(private_postgres: PostgresServer) -> dict[str, str]:
    """The libpq variables of a server with a database `agents`."""
    connection = psycopg2.connect(private_postgres.dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE agents")
    connection.close()
    return {"PGHOST": str(private_postgres.directory), "PGUSER": "postgres"}


def run_example(program: Program, example: str, variables: dict[str, str]) -> Ended:
    """Run an example, in a shell only if it has shell operators; stop it if it is a server."""
    if example.startswith(("curio-persistence serve", "curio-persistence console")):
        with program.start(*shlex.split(example)[1:], "--port", "0") as process:
            assert process.stdout
            process.stdout.readline()  # It has started.
            process.terminate()
            return Ended(process.wait(), *process.communicate())
    if set(example) & set("|<>&;$*~"):
        return program.shell(example, **variables)
    return program(*shlex.split(example)[1:], **variables)


@pytest.mark.thorough
@pytest.mark.timeout(600)  # More than a hundred commands.
def test_the_examples_work(
    program: Program, agents_db: str, server_of_their_own: dict[str, str]
) -> None:
    for folder in ("runs", ".runs/agents", ".runs/costs"):
        (program.folder / folder).mkdir(parents=True)
    RunFolder(program.folder / ".runs/agents", "mag-1").line("logs.jsonl", LOG)
    (program.folder / ".runs/costs/costs.jsonl").write_text(COST)
    write_database(program.folder / "agentlens.db", [event()])
    agiwo_file.write_database(
        program.folder / "agiwo.db", [agiwo_file.row_of(user("u", session_id="chat", sequence=1))]
    )
    (program.folder / "prices.toml").write_text(OWN)  # The example of `remove` has its version.
    (program.folder / "projects").mkdir()
    (program.folder / "projects/chat.jsonl").write_text(f"{PROMPT}\n{ANSWER}\n")
    server_of_their_own["CLAUDE_CONFIG_DIR"] = str(program.folder)
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        persistence.runlog.append("chat-1", [user("u1", "Hello.")])
        persistence.approvals.request("run-42", "pay", ticket_id="ticket-7")
        persistence.keys.create("ada", "admin")
    # An archive that has the runs, which are in the database as well.
    shutil.copy(program.folder / "agent_sdk.db", program.folder / "copy.db")
    archive = ("archive", "old-runs", "--older-than", "0s", "--pace", "1", "--yes")
    program(*archive, "--db-path", "copy.db").json()
    for help_text in (program("--help").out, *(program(it, "--help").out for it in COMMANDS)):
        shown = examples(help_text)
        assert len(shown) >= 3
        for example in shown:
            ended = run_example(program, example, server_of_their_own)
            assert ended.code == 0, (example, ended)
    assert program("query", "--url", "postgresql:///agents", **server_of_their_own).json() == []
    assert program("query", "--db-path", "runs/agents.db").json() == []


def test_the_version_is_that_of_the_package(program: Program) -> None:
    assert program("--version").out == f"curio-persistence {curio_persistence.__version__}\n"


def test_help_loads_nothing_slow() -> None:
    slow = {"psycopg2", "sqlite3", "dotenv", "asyncio", "rich", "dataclasses"}
    check = (
        "import sys; from curio_persistence.cli import main; code = main(['query', '--help']); "
        f"assert code == 0; print(sorted({slow} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stderr == "[]\n"
