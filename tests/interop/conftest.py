"""Fixtures for the tests of adapters: a local model provider, and the packages that are adapted."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from curio_persistence import InMemoryPersistence
from tests.support import model_provider
from tests.support.frameworks import needed
from tests.support.model_provider import ModelProvider


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take no notice of warnings: sockets of clients that are not closed, what is deprecated."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(autouse=True, scope="module")
def _collected() -> Iterator[None]:
    """Let what warns that it was not closed do so here, and not in another test."""
    yield
    gc.collect()


@pytest.fixture
def provider() -> Iterator[ModelProvider]:
    with model_provider.running() as server:
        yield server


@pytest.fixture
def persistence() -> Iterator[InMemoryPersistence]:
    with InMemoryPersistence() as opened:
        yield opened


@pytest.fixture
def recorded_litellm(persistence: InMemoryPersistence) -> Iterator[None]:
    """Record the calls of LiteLLM, which keeps callbacks in lists that nothing empties."""
    litellm = needed("litellm")
    adapter = needed("curio_persistence.interop.adapters.litellm")
    litellm.callbacks = [adapter.CurioLogger(persistence, agent_id="app")]
    yield
    for name in dir(litellm):
        registered = getattr(litellm, name)
        if name.endswith(("callback", "callbacks")) and isinstance(registered, list):
            registered.clear()
