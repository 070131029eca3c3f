"""The documentation site builds without a warning, and covers all public names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import curio_persistence
from curio_persistence import errors
from curio_persistence.capabilities.capability import Capability

ROOT = Path(__file__).parents[2]
_DOCUMENTED = re.compile(r"^\.\. auto(?:class|function):: curio_persistence\.(\w+)$", re.MULTILINE)


def test_the_reference_contains_every_public_name_once() -> None:
    reference = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    documented = _DOCUMENTED.findall(reference)
    assert len(documented) == len(set(documented))
    of_errors = {name for name in curio_persistence.__all__ if hasattr(errors, name)}
    assert {*documented, *of_errors} == set(curio_persistence.__all__)
    for module in ("aio", "errors", "payloads"):
        assert f".. automodule:: curio_persistence.{module}\n" in reference


def test_the_reference_has_every_capability() -> None:
    reference = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    with curio_persistence.InMemoryPersistence() as persistence:
        capabilities = {
            name
            for name in dir(persistence)
            if not name.startswith("_") and isinstance(getattr(persistence, name), Capability)
        }
    assert {*capabilities, "redaction"} == set(
        re.findall(r"^### `persistence\.(\w+)`$", reference, re.MULTILINE)
    )


def test_the_index_links_to_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w-]+)\.md\)", index))
    assert linked == {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning"),
            *("--conf-dir", ROOT / "docs", "--doctree-dir", tmp_path / "trees"),
            *(ROOT, tmp_path / "site"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site/docs/reference.html").read_text(encoding="utf-8")
    assert "curio_persistence.SQLitePersistence" in reference
    assert "Return one page of runs" in reference
