"""Who may know whom: every import goes down, so that each part can be understood by itself."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "curio_persistence"

# From the bottom up. Those that share a line do not know each other. A package stands for all its
# modules, which may know each other. The empty name is the package itself: the public names.
LAYERS = (
    ("errors", "clock"),
    ("models",),
    ("payloads",),
    ("concurrency", "store.codecs", "text"),
    ("store.payload_match",),
    ("store.filters", "store.search_index"),
    ("store.table",),
    ("store.base",),
    ("store.cursors", "store.change_feed"),
    ("tables",),
    ("redaction", "results"),
    ("recording",),
    ("base",),
    ("backends", "capabilities"),
    ("config.settings",),
    ("config.explanation",),
    ("config", "buffering.queue"),
    ("persistence", "buffering.sigterm"),
    ("buffering", "export"),
    ("importers",),
    ("",),
    ("aio",),
    ("cli", "compat", "testing"),
    ("__main__",),
)

# Imports that go up, each inside of a function, and why.
UPWARDS = {
    # A configuration that opens what it describes is the published name for it; `persistence`
    # needs the configuration to begin with, for `connect()`.
    ("config", "persistence"),
    # What makes a buffered persistence of any other is a method of that; it is one itself.
    ("persistence", "buffering.persistence"),
    # `python -m curio_persistence.importers.agdd` is a command, by another name.
    ("importers.agdd", "cli"),
}

# Who must know even less than the layers allow.
NARROW = {
    "backends": {
        "store",
        "tables",
        "results",
        "concurrency",
        "errors",
        "models",
        "clock",
        "backends",
    },
    "capabilities": {
        "store",
        "tables",
        "text",
        "results",
        "redaction",
        "concurrency",
        "errors",
        "models",
        "clock",
        "capabilities",
    },
    # The command line is written as anybody's program could be: public names, and the errors by
    # their module, to have them without the rest.
    "cli": {"", "errors", "cli"},
}  # fmt: skip

# What is not in the standard library, and where it may be imported.
THIRD_PARTY = {
    ("backends.postgres.store", "psycopg2"),
    ("backends.postgres.errors", "psycopg2"),
    ("export.formats", "pyarrow"),
    ("importers.record_files", "pyarrow"),
    ("config.settings", "dotenv"),
    ("results.arrow", "pyarrow"),
    ("results.pandas", "numpy"),
    ("results.pandas", "pandas"),
    ("testing", "pytest"),
}

# What costs time or memory that not every program has to spend. (Measured with `-X importtime`.)
NOT_AT_IMPORT = {
    "argparse", "asyncio", "concurrent.futures", "dotenv", "email", "hashlib", "http",
    "html", "importlib.resources", "logging", "matplotlib", "multiprocessing", "numpy", "pandas",
    "curio_persistence.redaction.patterns", "curio_persistence.text.normalize", "psycopg2",
    "pyarrow",
    "pytest", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "urllib.request", "uuid",
    "zoneinfo",
}  # fmt: skip


class Import(NamedTuple):
    """One module that another names, wherever in it; both without the package's name if ours."""

    importer: str
    imported: str
    is_ours: bool
    in_function: bool
    place: str


def modules() -> dict[str, Path]:
    """Every module of the package, by its name within it."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> Iterator[Import]:
    for name, path in modules().items():
        place = str(path.relative_to(ROOT))
        for node, in_function in _statements(ast.parse(path.read_text(encoding="utf-8"))):
            for full_name in _named_by(node):
                top, _, rest = full_name.partition(".")
                is_ours = top == PACKAGE
                imported = rest if is_ours else full_name
                yield Import(name, imported, is_ours, in_function, f"{place}:{node.lineno}")


def _statements(
    parent: ast.AST, in_function: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """All imports below a node, except those that only a type checker sees."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, in_function
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for otherwise in node.orelse:
                yield from _statements(otherwise, in_function)
        else:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(node, in_function or is_function)


def _named_by(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The modules that a statement names; `from package import module` names the module."""
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
    """What `LAYERS` calls a module, or the package it is in."""
    known = [name for layer in LAYERS for name in layer]
    return next((name for name in known if module == name or module.startswith(f"{name}.")), module)


def height(module: str) -> int:
    for number, layer in enumerate(LAYERS):
        if part(module) in layer:
            return number
    pytest.fail(f"{module} has no layer yet: give it one in {Path(__file__).name}")


OURS = [each for each in imports() if each.is_ours]
OTHERS = [each for each in imports() if not each.is_ours]


def test_every_module_has_a_layer() -> None:
    for name, path in modules().items():
        if path.name != "__init__.py" or name in {"", "aio", "backends", "capabilities", "cli"}:
            height(name)


def test_every_layer_is_inhabited() -> None:
    assert {part(name) for name in modules()} >= {name for layer in LAYERS for name in layer}


def test_imports_go_down() -> None:
    up = {
        each
        for each in OURS
        if height(each.imported) >= height(each.importer)
        and part(each.imported) != part(each.importer)
    }
    unexcused = {each for each in up if (each.importer, each.imported) not in UPWARDS}
    assert not unexcused
    assert {(each.importer, each.imported) for each in up} == UPWARDS, "an excuse is out of use"
    assert all(each.in_function for each in up), "at the top of a module it would go in circles"


def test_the_public_names_come_from_everywhere_and_are_used_only_above() -> None:
    users = {part(each.importer) for each in OURS if each.imported == ""}
    assert users <= {"aio", "cli", "testing", "__main__"}


@pytest.mark.parametrize("who", NARROW)
def test_some_know_less_than_they_could(who: str) -> None:
    """Backends and capabilities meet only in the store; the command line is a program like any."""
    known = {each for each in OURS if part(each.importer) == who}
    assert known
    tops = {each: each.imported.partition(".")[0] for each in known}
    assert not {each for each, top in tops.items() if top not in NARROW[who]}


def test_capabilities_encode_by_way_of_the_redaction() -> None:
    """A call of `Table.encode` in a function would lead around it."""
    around = [
        f"{name}:{call.lineno}"
        for name, path in modules().items()
        if part(name) in {"capabilities", "buffering"} and not name.endswith(".hashes")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Attribute) and call.attr == "encode"
    ]
    assert around == []


def test_two_packages_of_others_are_enough() -> None:
    foreign = {
        (each.importer, top)
        for each in OTHERS
        if (top := each.imported.partition(".")[0]) not in sys.stdlib_module_names
    }
    assert foreign == THIRD_PARTY


def test_sqlite_is_spoken_to_by_its_backend_alone() -> None:
    users = {each.importer for each in OTHERS if each.imported.partition(".")[0] == "sqlite3"}
    assert users
    assert {part(user) for user in users} == {"backends", "importers"}


@pytest.mark.parametrize("module", ["", "models", "errors", "recording.recorder"])
def test_importing_it_imports_nothing_dear(module: str) -> None:
    imported = _imported_by(f"import {PACKAGE}.{module}".rstrip("."))
    assert PACKAGE in imported
    assert not imported & NOT_AT_IMPORT


def test_all_its_names_import_nothing_dear() -> None:
    imported = _imported_by(f"from {PACKAGE} import *")
    assert f"{PACKAGE}.persistence" in imported
    assert not imported & NOT_AT_IMPORT


def test_a_command_that_shows_its_help_imports_no_more_than_the_command_line() -> None:
    imported = _imported_by(f"import {PACKAGE}.cli")
    ours = {module for module in imported if module.startswith(f"{PACKAGE}.")}
    allowed = {f"{PACKAGE}.errors", f"{PACKAGE}.cli"}
    assert {module for module in ours if not module.startswith(f"{PACKAGE}.cli.")} == allowed


def test_a_backend_is_imported_when_it_is_used() -> None:
    imported = _imported_by(f"import {PACKAGE}; {PACKAGE}.SQLitePersistence(':memory:')")
    assert "sqlite3" in imported
    assert not imported & {"psycopg2", "dotenv", "asyncio", "logging"}
    imported = _imported_by(f"import {PACKAGE}; {PACKAGE}.InMemoryPersistence()")
    assert not imported & {"psycopg2", "sqlite3", "dotenv", "asyncio", "logging"}


def _imported_by(code: str) -> set[str]:
    """The modules there are afterwards, in a Python without site-packages: none are needed."""
    report = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path[:0] = [{str(ROOT)!r}]; {code}; {report}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(ran.stdout))
