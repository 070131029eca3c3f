"""What the console takes from others is what was published, and comes with its licence."""

from __future__ import annotations

import hashlib
import re

from curio_persistence.console.http.static_files import static_files
from tests.support.vendoring import VENDOR, packages, sums, written_files


def test_every_vendored_file_is_the_one_that_was_fetched() -> None:
    assert sums().keys() == {*written_files()}
    for name, digest in sums().items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_nothing_else_is_vendored() -> None:
    there = {path.name for path in VENDOR.iterdir()}
    assert there == {*written_files(), "VENDOR.toml", "SHA256SUMS"}


def test_every_package_has_a_version_a_licence_and_its_text() -> None:
    for package in packages():
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
        assert package["licence"] in {"0BSD", "ISC", "OFL-1.1"}
        assert "permi" in (VENDOR / package["licence_file"]["to"]).read_text().lower()


def test_every_icon_of_a_template_is_in_the_sprite() -> None:
    sprite = (VENDOR / "lucide-1.62.0.svg").read_text()
    there = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    templates = VENDOR.parents[1] / "templates"
    used = {
        name
        for path in templates.rglob("*.html")
        for name in re.findall(r'icon\("([a-z0-9-]+)"', path.read_text())
    }
    assert used <= there


def test_the_files_of_a_first_visit_are_small() -> None:
    files = static_files()
    assert sum(files.size(name) for name in files.names) <= 130_000
