"""Phoenix and MLflow show right what is sent: their recorded answers, and what they were sent.

`make otlp-peers` runs them, checks what they show, and records it. If what is sent changes, that
has to be done again.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.otlp_peers.checks import check_mlflow, check_phoenix
from tests.support.otlp_peers.story import RECORDED, sent


@pytest.fixture(scope="module")
def recorded() -> Any:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def test_what_is_sent_is_what_was_proven(recorded: Any) -> None:
    assert sent() == recorded["sent"], "run make otlp-peers, which proves it again"


def test_phoenix_shows_it_right(recorded: Any) -> None:
    check_phoenix(recorded["answers"]["arize-phoenix"])


def test_mlflow_shows_it_right(recorded: Any) -> None:
    check_mlflow(recorded["answers"]["mlflow"])
