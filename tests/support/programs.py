"""Programs of the system that some tests need: without them these are skipped, but not in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Return the path of a program."""
    path = shutil.which(name)
    if path is None:
        told = f"no {name}: install your system's package {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(told, pytrace=False)
        pytest.skip(told)
    return path
