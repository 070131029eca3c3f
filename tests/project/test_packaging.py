"""Every way of installing gives the same package, with its SQL, from any directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass, replace
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REQUIRED = {"psycopg2-binary", "python-dotenv"}
PIP = (sys.executable, "-m", "pip")

READ_SQL = """
from importlib.resources import files

for dialect in "sqlite", "postgres":
    sql = files("curio_persistence.schema").joinpath(dialect, "runs.sql").read_text("utf-8")
    assert "CREATE TABLE" in sql, sql
"""


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment, and a working directory outside the checkout."""

    path: Path
    elsewhere: Path
    pythonpath: str = ""

    def install(self, *what: str | Path) -> None:
        """Install with this session's pip, which avoids installing pip there."""
        self._call(*PIP, "--python", self.path / "bin" / "python", "install", "--quiet", *what)

    def run(self, program: str, *arguments: str) -> None:
        self._call(self.path / "bin" / program, *arguments)

    def _call(self, *command: str | Path) -> None:
        call(*command, cwd=self.elsewhere, pythonpath=self.pythonpath)


@dataclass(frozen=True)
class Distributions:
    sdist: Path
    wheel: Path


def call(*command: str | Path, cwd: Path, pythonpath: str = "") -> None:
    inherited = {name: it for name, it in os.environ.items() if not name.startswith("PYTHON")}
    # Build tools are installed for each build; compiling them would take as long as building.
    env = inherited | {"PYTHONPATH": pythonpath, "PIP_COMPILE": "0"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def copy_sources(to: Path) -> Path:
    """Copy the checkout without build results; building adds more of them beside the sources."""
    built = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "*.db*")
    return Path(shutil.copytree(ROOT, to / "checkout", ignore=built))


def sql_files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.glob("schema/**/*.sql")}


def assert_commands_work(environment: Environment) -> None:
    environment.run("python", "-c", "from curio_persistence import *")
    environment.run("python", "-m", "curio_persistence", "migrate", "--url", "sqlite:///x.db")
    environment.run("python", "-m", "curio_persistence", "query", "--url", "sqlite:///x.db")
    assert (environment.elsewhere / "x.db").exists()


def assert_installation_works(environment: Environment) -> None:
    assert_commands_work(environment)
    environment.run("python", "-c", READ_SQL)
    environment.run("curio-persistence", "--help")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    (tmp_path / "elsewhere").mkdir()
    venv.create(tmp_path / "venv", with_pip=False)
    return Environment(tmp_path / "venv", tmp_path / "elsewhere")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_sources(tmp_path)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The sdist, and the wheel that pip builds from it."""
    home = tmp_path_factory.mktemp("distributions")
    call(sys.executable, "-m", "build", "--sdist", "--outdir", home, copy_sources(home), cwd=home)
    call(*PIP, "wheel", "--no-deps", *home.glob("*.tar.gz"), cwd=home)
    [sdist], [wheel] = home.glob("*.tar.gz"), home.glob("*.whl")
    return Distributions(sdist, wheel)


@pytest.mark.thorough
def test_the_wheel_requires_two_packages_and_no_more(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        [metadata] = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        fields = message_from_bytes(wheel.read(metadata))
    requirements = map(Requirement, fields.get_all("Requires-Dist", []))
    assert {it.name for it in requirements if "extra" not in str(it.marker)} == REQUIRED
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["License"] == "Apache-2.0"


@pytest.mark.thorough
def test_the_wheel_contains_the_types_and_the_sql_and_no_tests(
    distributions: Distributions,
) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        names = set(wheel.namelist())
    assert "curio_persistence/py.typed" in names
    assert {f"curio_persistence/{name}" for name in sql_files(ROOT)} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "curio_persistence"
    }


OPEN_THE_CONSOLE = """
import re, sys
sys.path.insert(0, sys.argv[1])
import curio_persistence
from starlette.testclient import TestClient

assert ".whl" in curio_persistence.__file__, curio_persistence.__file__
app = curio_persistence.create_app(curio_persistence.InMemoryPersistence())
client = TestClient(app, base_url="http://127.0.0.1")
page = client.get("/runs")
assert page.status_code == 200, page.text
for url in re.findall(r'(/static/[^"#]+)', page.text):
    assert client.get(url).status_code == 200, url
"""


@pytest.mark.thorough
def test_the_wheel_contains_the_console_with_its_licences(distributions: Distributions) -> None:
    folder = ROOT / "curio_persistence" / "console"
    wanted = [*(folder / "static").rglob("*.*"), *(folder / "templates").rglob("*.html")]
    with zipfile.ZipFile(distributions.wheel) as wheel:
        sizes = {each.filename: each.compress_size for each in wheel.infolist()}
    names = {path.relative_to(ROOT).as_posix() for path in wanted}
    assert names <= sizes.keys()
    assert sum(name.endswith("-LICENSE.txt") for name in names) == 4
    assert sum(sizes[name] for name in names) <= 200_000


@pytest.mark.thorough
def test_the_console_runs_from_the_wheel_as_it_is(
    environment: Environment, distributions: Distributions
) -> None:
    """Its templates and files are read by what imports it, not by paths of files."""
    call(sys.executable, "-c", OPEN_THE_CONSOLE, distributions.wheel, cwd=environment.elsewhere)


@pytest.mark.thorough
def test_the_command_has_a_short_name_too(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        [points] = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        lines = wheel.read(points).decode().splitlines()
    assert {f"{name} = curio_persistence.cli:main" for name in ("curio", "curio-persistence")} <= {
        *lines
    }


@pytest.mark.thorough
def test_the_sdist_contains_the_documents(distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "setup.cfg", *sql_files(ROOT)} <= names


@pytest.mark.thorough
def test_the_wheel_built_from_the_sdist_installs(
    environment: Environment, distributions: Distributions
) -> None:
    environment.install(distributions.wheel)
    assert_installation_works(environment)


@pytest.mark.thorough
def test_a_checkout_installs(environment: Environment, checkout: Path) -> None:
    environment.install(checkout)
    shutil.rmtree(checkout)
    assert_installation_works(environment)


@pytest.mark.thorough
def test_a_checkout_installs_editable(environment: Environment, checkout: Path) -> None:
    environment.install("--editable", checkout)
    assert_installation_works(environment)


def test_a_checkout_works_without_installing(environment: Environment, checkout: Path) -> None:
    environment.install(*REQUIRED)
    assert_commands_work(replace(environment, pythonpath=str(checkout)))
