"""Every example runs unchanged, and shows the expected output."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from psycopg2.extensions import parse_dsn

from curio_persistence import InMemoryPersistence, SQLitePersistence
from tests.support import command_line
from tests.support.frameworks import needed

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

# The expected output of each example; a new example must be added here.
FACTS = {
    "a_year.py": (
        "1,460 runs of a year take",
        "1,100 of them moved to the archive, 11,000 events with them",
        "words of last spring here: 0 found",
        "in both: run-220-3: Which volcano closed the airport?",
        "Which volcano closed the airport? · completed · 10 events",
        "runs of all time: 1,460",
    ),
    "agent.py": (),  # It prints nothing itself: demo.py uses it.
    "alerts.py": (
        "genuine: fired · Error rate 50.0% is above 20.0% in the last 15m",
        "genuine: resolved · Error rate 20.0% is at most 20.0% in the last 15m",
        "resolved failures ['delivered', 'delivered']",
    ),
    "approvals.py": (
        "asked: pay {'to': 'ACME', 'amount': 120}",
        "killed; the run is running",
        "too late: Ticket 'invoice-7/pay' was approved by ada",
        "completed: planned, paid",
        "tool calls: ['pay']",
        "audit log: ada approve invoice-7/pay",
    ),
    "awaited_agents.py": (
        "10 words",
        "failed     word-counter-sag",
        "succeeded  orchestrator-mag",
        "info delegation word-counter-sag",
        "found: there is nothing to count",
    ),
    "backup.py": (
        "agents.jsonl: 20 runs, 200 events",
        "restored: True",
        "copied: 200 new events, then 1",
    ),
    "costs.py": (
        "acme-1: 30 calls, unknown",
        "gpt-4o: 30 calls, $0.390000",
        "30 calls of acme-1 have no cost: no price",
        "the contract changes 46 costs",
        "0 are unknown",
    ),
    "callbacks.py": ("What is there? -> 3 pages were read.", "fetch nowhere 404"),
    "decorators.py": (
        "completed Bergen Expect RAIN IN BERGEN",
        "the model was asked by the tool: True",
    ),
    "demo.py": (
        "→ 'transaction' is on",
        "└ assistant  completed",
        "FileNotFoundError: there is no folder nowhere",
        "ms  run_completed       completed",
        "5 runs: 4 completed, 1 error",
        "curio-persistence runs --db-path demo.db",
        "curio-persistence console --db-path demo.db",
    ),
    "import_log.py": (
        "2000 lines, 2000 new events",
        "2000 lines, 0 new events",
        "2500 lines, 500 new events",
        "10:41:39 run-0 step",
    ),
    "live.py": (
        "lyon-1 begun",
        "lyon-1 asked acme-1",
        "lyon-1 ended",
        "back again",
        "oslo-1 begun",
        "oslo-1 ended",
    ),
    "killed_agent.py": (
        "killed: -9",
        "the same messages: True",
        "4 tool sunny",
        "completed · In Lyon it is sunny.",
    ),
    "langgraph_agents.py": (
        "researcher, called by editor: Rivers run to the sea.",
        "editor, called by nobody: Rivers run to the sea, and feed it.",
        "3 model calls",
    ),
    "postgres_env.py": ("PostgreSQL", "version 1", "20 runs completed"),
    "quickstart.py": ("run_completed", "0.000400 US dollars"),
    "search.py": (
        "zurich: 4 found",
        '"limit rate": 0 found',
        "C++: 0 found",
        "marked: rate",
        "in the run: run_started",
    ),
    "send_traces.py": (
        "not taken: the answer was 503. It may be asked again in 3600 seconds.",
        "received execute_tool look_up",
        "1 trace sent; 0",
        "1 trace waits for its end",
        "received invoke_agent forecaster",
    ),
    "similar.py": (
        "prompt: Book a flight to Rome",
        "failed like it: Reserve airline tickets for Oslo",
        "2 × TimeoutError: Connection timed out, 2 messages",
    ),
    "slow_agent.py": (
        "  chain gather",
        'It waited longest for fetch {"page": "wiki"}.',
        "3 tool calls, 0 errors",
    ),
    "test_my_agent.py": ("3 passed",),
}

# The packages that an example needs, and that a developer may not have installed.
NEEDS = {"langgraph_agents.py": "langchain"}


class Folder:
    """A working folder outside the checkout, and its programs."""

    def __init__(self, path: Path) -> None:
        self.path = path / "here"
        self.path.mkdir()
        (path / "bin").mkdir()
        self._environment = command_line.environment(path / "bin")

    def run(self, *command: str | Path, exit_code: int = 0) -> str:
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == exit_code, done.stdout
        return done.stdout

    def run_example(self, name: str) -> str:
        if name.startswith("test_"):
            return self.run("python", "-m", "pytest", "-c", "/dev/null", EXAMPLES / name)
        return self.run("python", EXAMPLES / name)

    def run_notebook(self, name: str) -> str:
        """Execute the notebook and return the outputs stored in the executed copy."""
        shutil.copy(EXAMPLES / name, self.path)
        # Not this project's settings: Jupyter's warnings are not the example's fault.
        pytest = ("python", "-W", "default", "-m", "pytest", "-c", "/dev/null")
        self._environment.pop("PYTHONWARNINGS")
        self.run(*pytest, "--nbmake", "--overwrite", name)
        return (self.path / name).read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module examples/agent.py."""
    monkeypatch.syspath_prepend(EXAMPLES)
    spec = importlib.util.find_spec("agent")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_dotenv(folder: Path, dsn: str, schema: str) -> None:
    server = parse_dsn(dsn)
    names = {"DB_HOST": "host", "DB_PORT": "port", "DB_NAME": "dbname", "DB_USER": "user"}
    if "password" in server:
        names["DB_PASSWORD"] = "password"
    lines = [f"{name}={server[key]}" for name, key in names.items() if key in server]
    settings = ["DB_TYPE=postgres", f"DB_SCHEMA={schema}", *lines]
    (folder / ".env").write_text("\n".join(settings) + "\n")


def listing() -> list[str]:
    files = (path for path in EXAMPLES.iterdir() if path.is_file())
    return sorted(path.name for path in files if path.suffix != ".ipynb")


@pytest.mark.parametrize("name", listing())
def test_an_example_shows_the_expected_output(
    name: str, folder: Folder, request: pytest.FixtureRequest
) -> None:
    assert name in FACTS, f"say in FACTS what {name} must show"
    if name in NEEDS:
        needed(NEEDS[name])
    if name == "postgres_env.py":
        dsn, schema = (request.getfixturevalue(it) for it in ("postgres18", "schema_name"))
        write_dotenv(folder.path, dsn, schema)
    output = folder.run_example(name)
    for fact in FACTS[name]:
        assert fact in output


def test_the_demo_fits_a_terminal(folder: Folder) -> None:
    # Commands may be longer: a shortened one could not be pasted.
    shown, _, _ = folder.run_example("demo.py").partition("Look further")
    assert max(map(len, shown.splitlines())) <= 80


def test_the_demo_leaves_its_runs_in_the_file(folder: Folder) -> None:
    folder.run_example("demo.py")
    with SQLitePersistence(folder.path / "demo.db", read_only=True) as persistence:
        failed, *children, parent, _ = persistence.get_agent_runs()
        assert failed.status == "error"
        assert {child.parent_run_id for child in children} == {parent.run_id}
        stats = persistence.get_agent_run_stats()
        assert stats["tool_metrics"]["search"]["error_count"] == 1
        assert stats["total_cost_usd"] == sum(
            usage.cost_usd or 0 for usage in persistence.get_llm_usage(limit=None)
        )


def test_the_demo_adds_to_the_history_when_it_runs_again(folder: Folder) -> None:
    folder.run_example("demo.py")
    assert "10 runs: 8 completed, 2 error" in folder.run_example("demo.py")


def test_the_demo_names_commands_that_work(folder: Folder) -> None:
    *_, commands = folder.run_example("demo.py").partition("See it")[0].split("Look further")
    lines = [line for line in commands.splitlines() if "curio-persistence" in line]
    assert len(lines) >= 4
    for line in lines:
        assert folder.run("sh", "-c", line)


def test_the_agent_counts_the_lines_with_a_word(agent: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fork and knife\nFork\nforks\n")
    (tmp_path / "b.md").write_text("a fork\nspoon\n")
    persistence = InMemoryPersistence()
    answer = agent.Researcher(tmp_path, persistence=persistence).ask(
        "Which is mentioned more often, 'spoon' or 'fork'?"
    )
    assert answer == "'fork', with 3 of 4 lines."
    assert [run.agent_id for run in persistence.get_agent_runs()] == [
        "assistant",
        "assistant",
        "researcher",
    ]


def test_the_agent_records_the_tokens_and_the_price_of_its_texts(
    agent: ModuleType, tmp_path: Path
) -> None:
    persistence = InMemoryPersistence()
    agent.Researcher(tmp_path, persistence=persistence).ask("How often is 'fork' mentioned?")
    for usage in persistence.get_llm_usage():
        assert usage.input_tokens == agent.count_tokens(usage.prompt) > 0
        assert usage.output_tokens == agent.count_tokens(usage.response_content) > 0
        assert usage.get_cost_usd() == agent.cost(
            usage.model, usage.input_tokens, usage.output_tokens
        )


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "plots"),
    [
        ("analysis.ipynb", 6),
        ("who_spent_what.ipynb", 2),
        ("a_month_of_coding_agents.ipynb", 2),
        ("replica.ipynb", 1),
    ],
)
def test_a_notebook_is_committed_with_its_outputs(folder: Folder, name: str, plots: int) -> None:
    kept = (EXAMPLES / name).read_text(encoding="utf-8")
    assert outputs(kept) == outputs(folder.run_notebook(name)), (
        f"jupyter execute --inplace examples/{name} brings it up to date"
    )
    assert kept.count("image/png") == plots
    assert len(kept) < 150_000, "plots are to be small"


def outputs(notebook: str) -> list[object]:
    """Return the output of the cells; for a plot, only that it is one.

    What a cell prints comes in one piece or in several, as the kernel's clock has it.
    """
    found: list[tuple[str, str, object]] = []
    for cell in json.loads(notebook)["cells"]:
        for output in cell.get("outputs", ()):
            kind, text = output["output_type"], "".join(output.get("text", ()))
            if found and kind == "stream" == found[-1][0]:
                text = found.pop()[1] + text
            found.append((kind, text, output.get("data", {}).get("text/plain")))
    return found


def test_the_postgres_example_names_the_settings_it_needs(folder: Folder) -> None:
    said = folder.run("python", EXAMPLES / "postgres_env.py", exit_code=1)
    assert "No PostgreSQL is configured here" in said
    assert "DB_HOST=localhost" in said
    assert not list(folder.path.iterdir())
