"""Six pages look as they were meant to, in both themes: `make console-golden` keeps them anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image

from curio_persistence import Persistence
from tests.support.looks import (
    PAGES,
    THEMES,
    Camera,
    camera,
    difference,
    fixed_history,
    kept,
    paths,
)

_MOST = 0.003

pytestmark = [pytest.mark.thorough, pytest.mark.slow]


@pytest.fixture(scope="module")
def history() -> Persistence:
    return fixed_history()


@pytest.fixture(scope="module")
def chromium(history: Persistence) -> Iterator[Camera]:
    with camera(history) as found:
        yield found


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_looks_as_it_did(
    history: Persistence, chromium: Camera, page: str, theme: str
) -> None:
    file = kept(chromium.version, page, theme)
    if not file.parent.exists():
        pytest.skip(f"no pictures are kept of Chromium {chromium.version}: make console-golden")
    taken = chromium.take(paths(history)[page], theme)
    assert difference(taken, Image.open(file).convert("RGB")) <= _MOST


def test_a_page_that_looks_different_is_told() -> None:
    white, black = (Image.new("RGB", (100, 100), colour) for colour in ("white", "black"))
    nearly = white.copy()
    nearly.paste("black", (0, 0, 6, 6))
    assert difference(white, white) == 0
    assert difference(white, nearly) > _MOST
    assert difference(white, black) > 0.9
