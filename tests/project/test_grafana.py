"""The dashboard and the alert rules work: with Grafana's schema, and on a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import AgentRun, Persistence, PostgresPersistence, connect
from tests.support.backends import PostgresSchema
from tests.support.programs import program
from tests.support.prometheus import Prometheus, prometheus
from tests.support.served import Served, served

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs/grafana/dashboard.json"
RULES = ROOT / "docs/grafana/alerts.yml"
BODIES = ROOT / "tests/support/otlp"
CASES = ROOT / "tests/support/grafana/alerts_test.yml"
PACKAGES = ROOT / "tests/support/grafana/package.json"

_VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$agent": ".*"}
_KINDS = ("timeseries", "stat", "table")
_SCHEMA = "@grafana/schema/dist/esm/raw"
_PANELS = f"{_SCHEMA}/composable"
_HEAD = f"""
import type {{ Dashboard }} from '{_SCHEMA}/dashboard/x/Dashboard_types.gen';
import type * as timeseries from '{_PANELS}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type * as stat from '{_PANELS}/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '{_PANELS}/table/panelcfg/x/TablePanelCfg_types.gen';
// Enumerations are texts in JSON.
type Json<T> = T extends string ? `${{T}}` : T extends number ? number :
    T extends Array<infer U> ? Json<U>[] : T extends object ? {{ [K in keyof T]: Json<T[K]> }} : T;
"""

pytestmark = pytest.mark.thorough


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return the expressions of all panels, with values in place of variables."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    for name, value in _VARIABLES.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def test_the_dashboard_is_one_by_grafanas_schema(tmp_path: Path) -> None:
    """And the schema would refuse another one. (In one test, which installs it at most once.)"""
    assert checked(tmp_path, dashboard()) == ""
    wrong = dashboard()
    stat = next(panel for panel in wrong["panels"] if panel["type"] == "stat")
    stat["options"]["colorMode"] = "loud"
    del wrong["schemaVersion"]
    said = checked(tmp_path, wrong)
    assert "'schemaVersion' is missing" in said
    assert '"loud"' in said


def checked(folder: Path, board: dict[str, Any]) -> str:
    """Return what TypeScript says about a dashboard."""
    packages = installed()
    source = packages / f"{folder.name}.ts"
    source.write_text(as_typescript(board), encoding="utf-8")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"]
    modules = ["--module", "nodenext", "--moduleResolution", "nodenext"]
    command = [packages / "node_modules/.bin/tsc", *options, *modules, source]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def installed() -> Path:
    """Return the folder with the schema, which is installed unless it is there."""
    folder, npm = ROOT / "build/grafana", program("npm", "npm")
    mark = folder / "installed.json"
    if not mark.exists() or mark.read_bytes() != PACKAGES.read_bytes():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGES, folder / "package.json")
        options = ["--silent", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run([npm, "install", *options], cwd=folder, check=True)
        shutil.copyfile(PACKAGES, mark)
    return folder


def as_typescript(board: dict[str, Any]) -> str:
    """Return a program that has the right types only if the dashboard has the right shape."""
    lines = [_HEAD, f"export const dashboard: Json<Dashboard> = {json.dumps(board)};"]
    for panel in board["panels"]:
        kind, number = panel["type"], panel["id"]
        if kind in _KINDS:
            options = json.dumps(panel["options"])
            lines.append(f"export const options{number}: Json<{kind}.Options> = {options};")
            if custom := panel["fieldConfig"]["defaults"].get("custom"):
                of_kind = f"Json<Partial<{kind}.FieldConfig>>"
                lines.append(f"export const custom{number}: {of_kind} = {json.dumps(custom)};")
    return "\n".join(lines)


def test_panels_do_not_overlap_and_have_their_own_ids() -> None:
    board = dashboard()["panels"]
    assert len({panel["id"] for panel in board}) == len(board)
    cells = [cell for panel in board for cell in cells_of(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def cells_of(at: dict[str, int]) -> list[tuple[int, int]]:
    rows = range(at["y"], at["y"] + at["h"])
    return [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in rows]


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory, postgres18: str) -> Iterator[Prometheus]:
    """A Prometheus that has scraped servers of SQLite and PostgreSQL while agents recorded."""
    program("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    schema = PostgresSchema(postgres18)
    try:
        with (
            connect(f"sqlite:///{folder / 'runs.db'}").buffered() as file,
            PostgresPersistence(dsn=postgres18, schema=schema.name) as database,
            served(file) as one,
            served(database) as other,
            prometheus(folder, RULES, one.url, other.url) as scraping,
        ):
            for persistence in (file, database):
                record(persistence)
                persistence.create_agent_run(AgentRun("agent-0", "left", status="running"))
                persistence.alerts.create("costs", "cost", 0.001)
                persistence.alerts.evaluate()
            for server in (one, other):
                send(server)
            scraping.wait_for(lambda: len(scraping.query("curio_up == 1")) == 2)
            for persistence in (file, database):
                record(persistence)
            scraping.wait_for(
                lambda: len(scraping.query("sum by (instance) (curio_runs_ended_total) == 6")) == 2
            )
            yield scraping
    finally:
        schema.drop()


def send(server: Served) -> None:
    """Send a body of OpenTelemetry that is stored, and one that is refused."""
    for body in (next(BODIES.glob("openinference-*.pb")).read_bytes(), b"no protobuf"):
        server.post("/v1/traces", body, Content_Type="application/x-protobuf")


def record(persistence: Persistence) -> None:
    for number in range(3):
        with suppress(ZeroDivisionError), persistence.record_run(agent_id=f"agent-{number}") as run:
            run.llm_call(
                model="acme-1",
                input_tokens=10,
                output_tokens=3,
                latency_ms=250,
                cost_usd=0.5,
                status="error" if number else "success",
            )
            with run.tool("divide", {}) as call:
                call.result = 1 / number


def test_each_expression_of_the_dashboard_finds_something(scraping: Prometheus) -> None:
    assert [expression for expression in expressions() if not scraping.query(expression)] == []


def test_the_variable_of_the_dashboard_has_the_agents(scraping: Prometheus) -> None:
    [variable] = [v for v in dashboard()["templating"]["list"] if v["type"] == "query"]
    asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert asked is not None
    values = scraping.ask(f"label/{asked[2]}/values", **{"match[]": asked[1]})
    assert values == ["agent-0", "agent-1", "agent-2"]


def test_every_metric_of_the_dashboard_and_the_rules_exists(scraping: Prometheus) -> None:
    known = {*scraping.ask("label/__name__/values")}
    said = "\n".join([*expressions(), RULES.read_text(encoding="utf-8")])
    used = set(re.findall(r"\bcurio_\w+", said))
    assert used - known == {"curio_persistence"}  # Which the first line of the rules names.


def test_the_rules_are_loaded_and_some_fire(scraping: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        [group] = scraping.ask("rules")["groups"]
        found: list[dict[str, Any]] = group["rules"]
        return found

    scraping.wait_for(lambda: all(rule["health"] == "ok" for rule in rules()))
    scraping.wait_for(lambda: with_state("firing", rules()) == {"CurioRuleFires"})
    failing = {"CurioRunsFail", "CurioModelCallsFail"}
    scraping.wait_for(lambda: failing <= with_state("pending", rules()))
    assert "CurioDatabaseDown" in with_state("inactive", rules())


def with_state(state: str, rules: list[dict[str, Any]]) -> set[str]:
    return {rule["name"] for rule in rules if rule["state"] == state}


def test_the_rules_fire_when_they_should_and_promtool_finds_no_fault(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    subprocess.run([promtool, "check", "rules", RULES], check=True)
    cases = tmp_path / "alerts_test.yml"
    cases.write_text(CASES.read_text(encoding="utf-8").replace("RULES", str(RULES)))
    subprocess.run([promtool, "test", "rules", cases], check=True)
    with connect(f"sqlite:///{tmp_path / 'runs.db'}") as persistence, served(persistence) as server:
        record(persistence)
        scraped = server.get("/metrics").body
    linted = subprocess.run(
        [promtool, "check", "metrics"], input=scraped, capture_output=True, check=False
    )
    assert (linted.returncode, linted.stderr.decode()) == (0, "")
