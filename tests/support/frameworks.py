"""The packages that adapters adapt: CI has them, a developer may."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

import pytest

# Otherwise LiteLLM downloads its prices when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


def needed(name: str) -> Any:
    """Return a module; skip the tests that need it where it is not installed, but not in CI."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Theirs.
        try:
            return importlib.import_module(name)
        except ImportError:
            if os.environ.get("CI") == "true":
                raise
    pytest.skip(f"{name} is not installed: make .venv/.installed-all", allow_module_level=True)
