"""The layers of the package: every import goes down, so each part can be read by itself."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "curio_persistence"

# From the bottom up. Parts on one line do not import each other. A package stands for all of its
# modules, which may import each other. The empty name is the package itself: the public names.
LAYERS = (
    ("clock", "errors", "progress", "secret", "trace_ids"),
    ("models",),
    ("atomic_files", "concurrency", "hash_chain", "payloads", "text"),
    ("places",),
    ("store",),
    ("tables",),
    ("redaction", "results"),
    ("pricing",),
    ("content",),
    ("recording", "runlog"),
    ("base",),
    ("backends", "capabilities"),
    ("config", "views"),
    ("persistence",),
    ("buffering",),
    ("export", "replication"),
    ("importers",),
    ("archive", "backups"),
    ("",),
    ("aio",),
    ("compat", "interop", "testing"),
    ("console",),
    ("server",),
    ("cli",),
    ("__main__",),
)

# Imports that go up, each inside a function, and the reason.
UPWARDS = {
    # `DatabaseConfig.get_persistence()` is a published name; `connect()` needs the configuration.
    ("config", "persistence"),
    # `Persistence.buffered()` returns a BufferedPersistence, which is a Persistence itself.
    ("persistence", "buffering.persistence"),
    # `connect(url, archive=…)` reads a database together with its archive.
    ("persistence", "archive"),
    # `Persistence.backup()` and `verify()` use places and other databases.
    ("persistence", "backups.making"),
    ("persistence", "backups.verifying"),
    # `Persistence.replicate()` and `check_replica()`.
    ("persistence", "replication.checking"),
    ("persistence", "replication.replicator"),
    # `python -m curio_persistence.importers.agdd` is a published spelling of a command.
    ("importers.agdd", "cli"),
    # What AgentLens has stored is stored by its event store, which is built on a persistence.
    ("importers.agentlens", "compat.agentlens.adopting"),
    # The same for Agiwo.
    ("importers.agiwo", "compat.agiwo.adopting"),
    ("importers.agiwo", "compat.agiwo.saved_traces"),
    # Attributes of exported spans mean what they mean when spans are received.
    ("importers.traces.attributes", "interop.otel.meaning"),
    ("importers.traces.attributes", "interop.otel.spans"),
}

_CORE = {
    *("atomic_files", "clock", "concurrency", "errors", "hash_chain", "models", "progress"),
    *("results",),
    *("secret", "store", "tables"),
}

# Parts that may import less than their layer allows.
NARROW = {
    "backends": _CORE | {"content"},
    "capabilities": _CORE | {"pricing", "redaction", "runlog", "text", "trace_ids"},
    "runlog": {"clock", "errors", "models", "store"},
    "views": (_CORE - {"concurrency", "secret"})
    | {"capabilities", "redaction", "runlog", "text", "trace_ids"},
    # The command line is written like any program: public names only, the views that it shows,
    # and the errors and the type of progress by their modules, which import nothing else.
    "cli": {"", "errors", "progress", "views"},
    # Pages ask the façade only; what they import else are types, errors and settings.
    "console": {
        *(
            "aio",
            "archive",
            "capabilities",
            "clock",
            "compat",
            "concurrency",
            "config",
            "errors",
            "export",
            "interop",
        ),
        *("models", "persistence", "results", "runlog", "secret", "store", "tables"),
        *("trace_ids", "views"),
    },
}

# Packages outside the standard library, and the modules that may import them.
THIRD_PARTY = {
    ("backends.clickhouse.client", "clickhouse_connect"),
    ("backends.clickhouse.arrow", "pyarrow"),
    ("backends.postgres.backup", "psycopg2"),
    ("backends.postgres.dsn", "psycopg2"),
    ("backends.postgres.pool", "psycopg2"),
    ("backends.postgres.statements", "psycopg2"),
    ("backends.postgres.queries", "psycopg2"),
    ("backends.postgres.errors", "psycopg2"),
    ("archive.archiver", "pyarrow"),
    ("archive.checkpoints", "pyarrow"),
    ("archive.cold.duck", "duckdb"),
    ("archive.erasing", "pyarrow"),
    ("archive.files", "pyarrow"),
    ("capabilities.alerts.webhooks", "urllib3"),
    ("capabilities.similarity.models", "numpy"),
    ("capabilities.similarity.models", "wordllama"),
    ("export.formats", "pyarrow"),
    ("interop.adapters.langchain", "langchain_core"),
    ("interop.adapters.langchain_messages", "langchain_core"),
    ("interop.adapters.litellm", "litellm"),
    ("interop.adapters.openai_agents", "agents"),
    ("interop.otel.export.sending", "opentelemetry"),
    ("interop.otel.export.sending", "urllib3"),
    ("interop.otel.protobuf_bodies", "google"),
    ("interop.otel.protobuf_bodies", "opentelemetry"),
    ("interop.otel.sdk", "opentelemetry"),
    ("interop.prometheus", "prometheus_client"),
    ("interop.prometheus.families", "prometheus_client"),
    ("places", "obstore"),
    ("pricing.library", "genai_prices"),
    ("importers.codex.rollouts", "zstandard"),
    ("importers.exports.columnar", "pyarrow"),
    ("importers.langgraph.decoding", "ormsgpack"),
    ("importers.traces.parquet", "pyarrow"),
    ("config.settings", "dotenv"),
    ("results.arrow", "pyarrow"),
    ("results.pandas", "numpy"),
    ("results.pandas", "pandas"),
    ("server.answers", "starlette"),
    ("server.app", "starlette"),
    ("server.bodies", "starlette"),
    ("server.health", "starlette"),
    ("server.metrics", "prometheus_client"),
    ("server.metrics", "starlette"),
    ("server.otlp", "starlette"),
    ("testing.published_behavior", "pytest"),
    ("testing.published_calls", "pytest"),
    ("testing.published_runs", "pytest"),
    ("testing.store_aggregates", "pytest"),
    ("testing.store_reading", "pytest"),
    ("testing.store_transactions", "pytest"),
    ("testing.store_writing", "pytest"),
}

OF_THE_CONSOLE = {"jinja2", "markdown_it", "markupsafe", "starlette", "uvicorn"}
"""Packages of the extra `console`, which any of its modules may import."""

# Modules that cost time or memory which not every program should pay (`-X importtime`).
NOT_AT_IMPORT = {
    "argparse", "asyncio", "concurrent.futures", "dotenv", "email", "hashlib", "http",
    "genai_prices", "html", "importlib.resources", "logging", "matplotlib", "multiprocessing",
    "numpy", "pandas",
    "curio_persistence.redaction.patterns", "curio_persistence.text.normalize", "psycopg2",
    "pyarrow",
    "pytest", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "urllib.request", "uuid",
    "zoneinfo",
}  # fmt: skip


NOT_TO_RECORD = {
    "capabilities.event_feed", "capabilities.lifecycle", "capabilities.live",
    "capabilities.metrics", "capabilities.runlog", "capabilities.scores", "capabilities.search",
    "capabilities.sessions", "capabilities.sql", "capabilities.stats", "capabilities.totals",
    "capabilities.traces", "capabilities.transfers", "text.tokenizer",
}  # fmt: skip
"""Capabilities that are imported on use."""

HEIGHTS = {name: number for number, layer in enumerate(LAYERS) for name in layer}


class Import(NamedTuple):
    """One import statement's module; names within our package come without the package's name."""

    importer: str
    imported: str
    is_ours: bool
    in_function: bool
    line: str


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its name within it."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(*, ours: bool) -> frozenset[Import]:
    """Return the imports of our own modules, or those of others."""
    return frozenset(each for each in _imports() if each.is_ours == ours)


def _imports() -> Iterator[Import]:
    for name, path in modules().items():
        for node, in_function in _statements(parsed(name)):
            for full_name in _named_by(node):
                top, _, rest = full_name.partition(".")
                is_ours = top == PACKAGE
                line = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield Import(name, rest if is_ours else full_name, is_ours, in_function, line)


def _statements(
    parent: ast.AST, in_function: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield all imports below a node, except those that only a type checker sees."""
    for node in _below(parent):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, in_function
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for otherwise in node.orelse:
                yield from _statements(otherwise, in_function)
        else:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _statements(node, in_function or is_function)


_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def _below(parent: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements in a node: expressions, which are most of a tree, import nothing."""
    for block in _BLOCKS:
        yield from getattr(parent, block, ())


def _named_by(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield the modules that a statement names; `from package import module` names the module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    assert node.level == 0, "imports are absolute"
    module = node.module or ""
    below = module.removeprefix(PACKAGE).removeprefix(".")
    for alias in node.names:
        name = f"{below}.{alias.name}".removeprefix(".")
        is_module = module.partition(".")[0] == PACKAGE and name in modules()
        yield f"{PACKAGE}.{name}" if is_module else module


def part(module: str) -> str:
    """Return the name in `LAYERS` that covers a module."""
    top = module.partition(".")[0]
    if top in HEIGHTS:
        return top
    pytest.fail(f"{module} has no layer yet: give it one in {Path(__file__).name}")


def height(module: str) -> int:
    return HEIGHTS[part(module)]


def test_every_module_has_a_layer_and_every_layer_a_module() -> None:
    assert {part(name) for name in modules()} == HEIGHTS.keys()


def test_the_drawing_of_the_house_has_every_part() -> None:
    drawing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```text\ncurio_pers")[1]
    drawn = re.findall(r"(\w+)(?:/|\.py)", drawing.partition("\n```")[0].partition("schema/")[0])
    assert HEIGHTS.keys() - {""} <= {*drawn}


@pytest.mark.slow
def test_imports_go_down() -> None:
    up = {
        each
        for each in imports(ours=True)
        if height(each.imported) >= height(each.importer)
        and part(each.imported) != part(each.importer)
    }
    unexcused = {each for each in up if (each.importer, each.imported) not in UPWARDS}
    assert not unexcused
    assert {(each.importer, each.imported) for each in up} == UPWARDS, "an excuse is out of use"
    assert all(each.in_function for each in up), "at the top of a module it would be circular"


def test_there_are_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for each in imports(ours=True):
        if not each.in_function and each.imported != each.importer:
            graph[each.importer].add(each.imported)
    TopologicalSorter(graph).prepare()


def test_the_public_names_are_used_only_above_them() -> None:
    users = {part(each.importer) for each in imports(ours=True) if each.imported == ""}
    assert users <= {"aio", "cli", "testing", "__main__"}


@pytest.mark.slow
@pytest.mark.parametrize("narrow", NARROW)
def test_some_parts_import_less_than_they_could(narrow: str) -> None:
    """Backends and capabilities share only the store; the command line is an ordinary program."""
    known = {each for each in imports(ours=True) if part(each.importer) == narrow}
    assert known
    assert not {each for each in known if part(each.imported) not in NARROW[narrow] | {narrow}}


def test_capabilities_encode_through_the_redaction() -> None:
    """A call of `Table.encode` in a function would bypass it."""
    bypasses = [
        f"{name}:{call.lineno}"
        for name in modules()
        if part(name) in {"capabilities", "buffering"} and not name.endswith(".hashes")
        for function in ast.walk(parsed(name))
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Attribute) and call.attr == "encode"
    ]
    assert bypasses == []


@pytest.mark.slow
def test_two_required_packages_are_enough() -> None:
    foreign = {
        (each.importer, top)
        for each in imports(ours=False)
        if (top := each.imported.partition(".")[0]) not in sys.stdlib_module_names
    }
    console = {pair for pair in foreign if part(pair[0]) == "console"}
    assert {package for _, package in console} <= OF_THE_CONSOLE
    assert foreign - console == THIRD_PARTY


def test_only_backends_and_importers_use_sqlite() -> None:
    users = {
        each.importer
        for each in imports(ours=False)
        if each.imported.partition(".")[0] == "sqlite3"
    }
    assert {part(user) for user in users} == {"backends", "importers"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Return the modules that one interpreter has loaded after each of these steps."""
    return _loaded_after(
        names=f"from {PACKAGE} import *",
        memory="InMemoryPersistence()",
        sqlite="SQLitePersistence(':memory:')",
    )


def test_importing_all_public_names_imports_nothing_expensive(loaded: dict[str, set[str]]) -> None:
    ours = {f"{PACKAGE}.{name}" for name in ("models", "errors", "persistence")}
    assert ours <= loaded["names"]
    assert not loaded["names"] & NOT_AT_IMPORT


def test_a_program_that_only_records_imports_no_more_than_that() -> None:
    record = "with p.record_run(agent_id='guide') as run, run.tool('search'):\n    pass\n0"
    loaded = _loaded_after(
        start=f"import {PACKAGE}; p = {PACKAGE}.connect('sqlite://')", record=record
    )
    prefix = f"{PACKAGE}."
    ours = {each.removeprefix(prefix) for each in loaded["record"] if each.startswith(prefix)}
    assert {"persistence", "backends.sqlite.store", "recording.recorder"} <= ours
    assert not {each for each in ours if part(each) == "views"} - {"views", "views.runs"}
    assert not ours & NOT_TO_RECORD
    assert not loaded["record"] & {"argparse", "asyncio", "dotenv", "psycopg2", "uuid"}


def test_a_backend_is_imported_when_it_is_used(loaded: dict[str, set[str]]) -> None:
    others = {"psycopg2", "dotenv", "asyncio", "logging"}
    assert not loaded["memory"] & {"sqlite3", *others}
    assert "sqlite3" in loaded["sqlite"]
    assert not loaded["sqlite"] & others


def test_a_command_that_shows_its_help_imports_no_more_than_the_command_line() -> None:
    loaded = _loaded_after(help=f"import {PACKAGE}.cli")["help"]
    ours = {module for module in loaded if module.startswith(f"{PACKAGE}.")}
    allowed = {f"{PACKAGE}.errors", f"{PACKAGE}.cli"}
    assert {module for module in ours if not module.startswith(f"{PACKAGE}.cli.")} == allowed
    assert not loaded & {"dataclasses", "decimal", "sqlite3"}


def _loaded_after(**steps: str) -> dict[str, set[str]]:
    """Run statements in a Python without site-packages; return its modules after each."""
    lines = [
        f"import json, sys; sys.path[:0] = [{str(ROOT)!r}]; loaded = {{}}",
        *(f"{code}; loaded[{step!r}] = sorted(sys.modules)" for step, code in steps.items()),
        "print(json.dumps(loaded))",
    ]
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {step: set(loaded) for step, loaded in json.loads(ran.stdout).items()}
