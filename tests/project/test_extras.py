"""A call that needs a missing package raises an error that says how to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_CALL = """
import sys
sys.path[:0] = [{root!r}]
from curio_persistence import AgentRun, ConfigurationError, InMemoryPersistence

persistence = InMemoryPersistence()
persistence.create_agent_run(AgentRun("agent", "run"))
for result in persistence.query_agent_runs(), persistence.iter_agent_runs():
    assert len(result.to_dicts()) == 1
    try:
        result.{call}
    except ConfigurationError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("call", "extra"),
    [("to_arrow()", "arrow"), ("__arrow_c_stream__()", "arrow"), ("to_pandas()", "pandas")],
)
def test_a_table_without_its_package(call: str, extra: str) -> None:
    """Run in a Python without site-packages."""
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _CALL.format(root=str(ROOT), call=call)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(said) == 2
    for message in said:
        assert message.endswith(f"pip install 'curio-persistence[{extra}]'")


ADAPTERS = {"langchain": "langchain", "litellm": "litellm", "openai_agents": "openai-agents"}
"""The adapters that import their framework, with their extra."""


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_without_its_framework(adapter: str) -> None:
    """Import it in a Python without site-packages."""
    module = f"curio_persistence.interop.adapters.{adapter}"
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; import {module}"
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    ).stderr
    assert f"pip install 'curio-persistence[{ADAPTERS[adapter]}]'" in said.splitlines()[-1]
    assert "ConfigurationError: This adapter needs" in said


_SIMILAR = """
import sys
sys.path[:0] = [{root!r}]
{without}
from curio_persistence import ConfigurationError, InMemoryPersistence

persistence = InMemoryPersistence(embed={embed})
persistence.append_event("run", "agent", "log", message="a poem")
try:
    persistence.similar("verse")
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "embed"), [("numpy", "len"), ("numpy", None), ("wordllama", None)]
)
def test_similarity_without_its_packages(package: str, embed: str | None) -> None:
    code = _SIMILAR.format(root=str(ROOT), without=f"sys.modules[{package!r}] = None", embed=embed)
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(f"Similarity needs {package} (")
    assert said.endswith("pip install 'curio-persistence[similar]'\n")
