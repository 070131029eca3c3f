"""The documents are correct: their examples run as pasted, and print the shown output.

In the README and in docs/, every block marked `python`, `sh` or `console` is executed, from top to
bottom in one session: Python in one namespace, all in one folder that is empty at first. A `text`
block right below a `python` one is what that prints; a `console` block holds commands after `$ `
and what they print. `…` stands for anything. A block marked otherwise is only read, except that
`ini` is a .env file.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import pty
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

import curio_persistence
from curio_persistence import DatabaseConfig
from tests.support import command_line
from tests.support.frameworks import needed

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
CONFIGURATION = ROOT / "docs/configuration.md"
ERRORS = ROOT / "docs/errors.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").rglob("*.md"))]

_NEEDS = {"frameworks.md": ("agents", "langgraph", "litellm", "pydantic_ai")}
"""The packages that a document's examples need, and that a developer may not have installed."""
_EXECUTED = {"python", "sh", "console"}
_BLOCK = re.compile(r"^```([\w{}-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_WIPED = re.compile(r"[^\n]*\r\x1b\[K")
"""A line of progress, which a slow machine shows for a moment."""
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


class Block(NamedTuple):
    """A fenced block: the number of its first line, its mark, its text, its expected output."""

    line: int
    mark: str
    text: str
    prints: str | None

    def __str__(self) -> str:
        return f"the {self.mark} block at line {self.line}"


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    for match, following in zip_longest(found, found[1:]):
        line = text.count("\n", 0, match.start(2)) + 1
        prints = None
        if following and following[1] == "text" and text[match.end() : following.start()].isspace():
            prints = following[2]
        yield Block(line, match[1], match[2], prints)


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block with their expected output."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def assert_prints(block: Block, printed: str, said: str) -> None:
    # The distance of columns depends on the text in place of `…`.
    expected, got = (re.sub(" +", " ", text).rstrip() for text in (said, printed))
    pattern = ".*?".join(map(re.escape, expected.split("…")))
    if not re.fullmatch(pattern, got, re.DOTALL):
        pytest.fail(f"{block} should print\n{said}\nbut prints\n{printed}", pytrace=False)


@pytest.fixture
def postgres_variables(postgres18: str) -> Iterator[dict[str, str]]:
    """The libpq variables of a database of this test's own."""
    name = sql.Identifier(f"test_{uuid.uuid4().hex}")
    statements = "CREATE DATABASE {}", "DROP DATABASE {} WITH (FORCE)"
    create, drop = (sql.SQL(statement).format(name) for statement in statements)
    execute(postgres18, create)
    server = {key.upper(): value for key, value in parse_dsn(postgres18).items()}
    server["DATABASE"] = name.string
    server.pop("DBNAME", None)
    yield {f"PG{key}": value for key, value in server.items()}
    execute(postgres18, drop)


def execute(dsn: str, statement: sql.Composed) -> None:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


class Session:
    """A session into which the blocks of a document are pasted."""

    def __init__(self, document: Path, shell: dict[str, str], printed: Any) -> None:
        self._document = document
        self._shell = shell
        self._printed = printed
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def paste(self, block: Block) -> None:
        match block.mark:
            case "python":
                printed = self._python(block)
                if block.prints is not None:
                    assert_prints(block, printed, block.prints)
            case "sh":
                self._run(block, block.text)
            case "console":
                for command, said in commands(block):
                    assert_prints(block, self._run(block, command), said)

    def _python(self, block: Block) -> str:
        # Moved down to its line, so that a traceback names the document's line.
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, self._document, "exec"), self._names)
        return str(self._printed.readouterr().out)

    def _run(self, block: Block, command: str) -> str:
        """Return the output of a command on a terminal of 80 columns."""
        here, there = pty.openpty()
        with (
            os.fdopen(here, "rb", buffering=0) as screen,
            subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", command],
                env=self._shell | {"COLUMNS": "80", "NO_COLOR": "1", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=there,
                stderr=there,
            ) as shell,
        ):
            os.close(there)
            printed = b"".join(_until_it_is_closed(screen)).decode().replace("\r\n", "\n")
        assert shell.returncode == 0, f"{block}: {printed}"
        return _WIPED.sub("", printed)


def _until_it_is_closed(screen: io.RawIOBase) -> Iterator[bytes]:
    with suppress(OSError):  # Linux reports in this way that the other end of a terminal is closed.
        while read := screen.read(65536):
            yield read


def with_something_to_execute() -> list[Path]:
    return [
        document
        for document in DOCUMENTS
        if any(block.mark in _EXECUTED for block in blocks(document))
    ]


def _parameter(document: Path) -> Any:
    """Return a document as a parameter; warnings of the packages that it needs are theirs."""
    marks = [pytest.mark.filterwarnings("ignore")] if document.name in _NEEDS else []
    return pytest.param(document, marks=marks, id=document.name)


@pytest.mark.timeout(600)  # A document may have a hundred commands.
@pytest.mark.parametrize("document", [*map(_parameter, with_something_to_execute())])
def test_examples_in_documents_work_as_pasted(
    document: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    for package in _NEEDS.get(document.name, ()):
        needed(package)
    shown = list(blocks(document))
    if any("postgres" in block.text.lower() for block in shown):
        for name, value in request.getfixturevalue("postgres_variables").items():
            monkeypatch.setenv(name, value)
    for name in ("bin", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    session = Session(document, command_line.environment(tmp_path / "bin"), capsys)
    for block in shown:
        session.paste(block)
    if document.name in _NEEDS:  # Their clients and loops warn that they were not closed: now.
        del session
        asyncio.set_event_loop(None)  # Of Pydantic AI's `run_sync`.
        gc.collect()


def test_configurations_in_documents_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = [block for block in blocks(CONFIGURATION) if block.mark == "ini"]
    assert shown
    for block in shown:
        (tmp_path / ".env").write_text(block.text)
        config = DatabaseConfig.from_env({})
        assert config.db_type == "postgres"
        assert config.db_password not in repr(config)


def test_the_readme_begins_with_the_quickstart() -> None:
    first = next(block for block in blocks(README) if block.mark == "python")
    assert first.text == (ROOT / "examples" / "quickstart.py").read_text()
    assert first.text.count("\n") == 20


def test_every_picture_is_there_in_both_themes_and_is_shown() -> None:
    shown = {
        (document.parent / name).resolve()
        for document in (ROOT / "README.md", ROOT / "docs/console.md")
        for name in re.findall(r'(?:src|srcset)="([^"]+)"', document.read_text(encoding="utf-8"))
    }
    assert shown == {*(ROOT / "docs/pictures").glob("*.png")}
    assert {path.stem.rpartition("-")[2] for path in shown} == {"light", "dark"}


def test_every_error_is_documented() -> None:
    text = ERRORS.read_text(encoding="utf-8")
    errors = {name for name in curio_persistence.__all__ if name.endswith("Error")}
    assert {name for name in errors if f"`{name}`" not in text} == set()


@pytest.mark.parametrize(
    "document",
    [path for path in [*DOCUMENTS, CONTRIBUTING] if _LINK.search(path.read_text(encoding="utf-8"))],
    ids=lambda path: path.name,
)
def test_links_between_documents_have_a_target(document: Path) -> None:
    for target in _LINK.findall(document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
