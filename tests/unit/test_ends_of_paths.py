"""Paths that begin alike are told apart by their ends."""

from __future__ import annotations

from curio_persistence.console.render.text import ends_of


def test_a_path_is_as_long_as_sets_it_apart() -> None:
    assert ends_of(["/home/ada/mill", "/home/eve/mill", "/srv/boats", "mill"]) == {
        "/home/ada/mill": "ada/mill",
        "/home/eve/mill": "eve/mill",
        "/srv/boats": "boats",
        "mill": "mill",
    }
