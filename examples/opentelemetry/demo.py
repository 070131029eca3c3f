"""Three agents of three frameworks, recorded by the OpenTelemetry that they send: `make demo-otel`.

The server receives their spans. The model is a local program, so nothing leaves the machine, and no
account is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1]))  # For `tests.support`, which has the model.

from tests.support.model_provider import Json, Said, running  # noqa: E402

AGENTS = ("with_openai_agents.py", "with_langgraph.py", "with_pydantic_ai.py")
CURIO = (sys.executable, "-m", "curio_persistence")
PHOENIX = "http://127.0.0.1:6006"
"""Arize Phoenix gets the same runs, if it runs there: `phoenix serve`."""
ANSWERS = {
    "find_invoice": "It was invoice 7.",
    "forecast": "Yes: it rains tomorrow.",
}
ARGUMENTS: dict[str, Json] = {
    "find_invoice": {"customer": "ACME"},
    "forecast": {"city": "Bergen"},
    "book": {"amount": 120},
}


def main(db_path: str = "demo-otel.db") -> None:
    with running() as model, server(db_path) as url:
        model.script = say
        for agent in AGENTS:
            heading(agent)
            run(agent, {"OPENAI_BASE_URL": f"{model.url}/v1", "OTEL_EXPORTER_OTLP_ENDPOINT": url})
        heading(f"{url}/metrics, for Prometheus")
        print(*(line for line in metrics(url) if line.startswith("curio_runs_ended")), sep="\n")
    curio("runs", "--limit", "4", "--db-path", db_path)
    curio("show", "last", "--db-path", db_path)
    curio("stats", "--db-path", db_path)
    if answers(PHOENIX):
        curio("export", "otlp", PHOENIX, "--db-path", db_path)


@contextmanager
def server(db_path: str) -> Iterator[str]:
    """Run the server, and return its URL."""
    command = [*CURIO, "serve", "--json", "--port", "0", "--db-path", db_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def run(agent: str, variables: Mapping[str, str]) -> None:
    environment = os.environ | {"OPENAI_API_KEY": "none"} | variables
    subprocess.run([sys.executable, HERE / agent], env=environment, check=True)


def say(request: Json) -> Said:
    """Answer as a model would: call the tool, and after that answer with text."""
    messages = request.get("messages") or request["input"]
    [tool] = (each.get("function", each)["name"] for each in request["tools"])
    if f'"name": "{tool}"' in json.dumps(messages):
        return Said(ANSWERS[tool], input=340, cached=256, output=12)
    return Said(tools=((tool, ARGUMENTS.get(tool, {})),), input=300, output=18)


def curio(*arguments: str) -> None:
    heading("curio-persistence " + " ".join(arguments))
    subprocess.run([*CURIO, *arguments], check=True)


def metrics(url: str) -> list[str]:
    with urlopen(f"{url}/metrics") as answer:
        return str(answer.read().decode()).splitlines()


def answers(url: str) -> bool:
    """Return whether a program serves this URL."""
    try:
        with urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def heading(text: str) -> None:
    print(f"\n{text}\n{'─' * len(text)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
