"""Send runs to Phoenix and MLflow, check what they show, and record it: `make otlp-peers`."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.otlp_peers.checks import check_mlflow, check_phoenix
from tests.support.otlp_peers.servers import installed, mlflow, phoenix, version_of
from tests.support.otlp_peers.story import PROJECT, RECORDED, send, sent

_HERE = Path(__file__).parent
_SPANS = 7
_PATIENCE = 60.0
_QUERY = """
query {
  projects { edges { node {
    name
    spans(first: 100) { edges { node {
      name spanKind statusCode statusMessage parentId spanId
      tokenCountTotal tokenCountPrompt tokenCountCompletion
      tokenPromptDetails { cacheRead cacheWrite }
      input { value } output { value }
      attributes userId metadata costSummary { total { cost } }
      events { name message }
    } } }
    sessions(first: 10) { edges { node {
      sessionId firstInput { value } lastOutput { value } userId tokenUsage { prompt completion }
    } } }
  } } }
}
"""


def main() -> None:
    answers = {"arize-phoenix": _ask_phoenix(), "mlflow": _ask_mlflow()}
    check_phoenix(answers["arize-phoenix"])
    check_mlflow(answers["mlflow"])
    versions = {name: version_of(installed(name), name) for name in answers}
    recorded = {"versions": versions, "sent": sent(), "answers": answers}
    RECORDED.write_text(f"{json.dumps(recorded, indent=1, ensure_ascii=False, sort_keys=True)}\n")
    print("right in", *(f"{name} {version}" for name, version in versions.items()))


def _ask_phoenix() -> Any:
    with tempfile.TemporaryDirectory() as folder, phoenix(Path(folder)) as url:
        assert send(url).spans == _SPANS
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            projects = _graphql(url)["projects"]["edges"]
            for project in (edge["node"] for edge in projects):
                if project["name"] == PROJECT and len(project["spans"]["edges"]) == _SPANS:
                    return _plain(project)
            time.sleep(0.5)
        raise RuntimeError(f"Phoenix shows no project with all spans: {projects}")


def _graphql(url: str) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql",
        json.dumps({"query": _QUERY}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    if "errors" in answer:
        raise RuntimeError(answer["errors"])
    return answer["data"]


def _plain(value: Any) -> Any:
    """Return a value without the edges and nodes of GraphQL."""
    if isinstance(value, dict):
        if set(value) == {"edges"}:
            return [_plain(edge["node"]) for edge in value["edges"]]
        if "attributes" in value:
            value = {**value, "attributes": _shown(json.loads(value["attributes"]))}
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _shown(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return those of a span's attributes that Phoenix shows by name."""
    llm = attributes.get("llm") or {}
    names = ("model_name", "provider", "input_messages", "output_messages")
    shown = {name: attributes[name] for name in ("agent", "tool", "tag") if name in attributes}
    return shown | {"llm": {name: llm[name] for name in names if name in llm}}


def _ask_mlflow() -> Any:
    with tempfile.TemporaryDirectory() as folder, mlflow(Path(folder)) as url:
        assert send(url, headers={"x-mlflow-experiment-id": "0"}).spans == _SPANS
        ask = (installed("mlflow") / "python", _HERE / "ask_mlflow.py", url)
        ran = subprocess.run(ask, check=True, capture_output=True, text=True)
        return json.loads(ran.stdout)


if __name__ == "__main__":
    main()
