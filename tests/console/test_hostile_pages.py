"""Recorded text is text on every page, whatever it says, in every field of every kind of record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from curio_persistence import InMemoryPersistence, Persistence
from curio_persistence.clock import Clock
from curio_persistence.console.http.paths import Paths
from tests.support.console import client_of, served_console
from tests.support.console_pages import LISTS, routes
from tests.support.hostile_history import NOW, SHOWN, TEXTS, pages_of, record_hostile

NEVER = frozenset(("img", "iframe", "object", "embed", "base", "style", "frame", "math", "applet"))
"""Elements that no page has."""
ALERTS = re.compile(r"alert\(1\)|x\.example|onerror|onload", re.IGNORECASE)
FEW = (1, 6, 12)
"""The texts that are tried each time: the others are tried in all tests."""
LEADING = ("src", "action", "xlink:href", "hx-get", "hx-post", "hx-delete", "hx-put", "hx-patch")
"""Attributes with URLs that a browser follows, or sends to."""
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Check(HTMLParser):
    """Collects what a page must not have."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self._in_script = tag == "script"
        if tag in NEVER or (tag == "script" and not found.get("src", "").startswith("/static/")):
            self._blame(tag, found)
        if tag == "meta" and "http-equiv" in found:
            self._blame(tag, found)
        for name, value in found.items():
            if not self._is_allowed(tag, name, value, found):
                self._blame(f"{tag} {name}", value[:200])

    def _is_allowed(self, tag: str, name: str, value: str, found: dict[str, str]) -> bool:
        if name.startswith("on") or name in ("style", "srcdoc", "formaction", "ping", "background"):
            return False
        if name in LEADING:
            return not _names_a_host(value)
        if name.startswith("hx-"):
            return not ALERTS.search(value)
        if name == "href" and _names_a_host(value):
            is_safe = value.lower().startswith(("https://", "http://"))
            return tag == "a" and is_safe and "noopener" in found.get("rel", "")
        return True

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self._blame("a script", data[:200])
        if CONTROLS.search(data):
            self._blame("controls", ascii(data[:200]))

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def _blame(self, what: str, about: object) -> None:
        self.faults.append(f"{what}: {about}")


def _names_a_host(value: str) -> bool:
    """Return whether a link has a scheme or a host, as all that leads elsewhere has."""
    cleaned = re.sub(r"[\x00-\x20]", "", value)
    try:
        parts = urlsplit(cleaned)
    except ValueError:
        return True
    return bool(parts.scheme or parts.netloc) or cleaned.startswith(("//", "/\\", "\\"))


def faults_of(text: str) -> list[str]:
    check = Check()
    check.feed(text)
    check.close()
    return check.faults


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[Persistence, list[str]]]:
    """A persistence with a record of each kind for each hostile text, and the ids of its runs."""
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        yield persistence, [record_hostile(persistence, t, n) for n, t in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def client(hostile: tuple[Persistence, list[str]]) -> Iterator[TestClient]:
    with client_of(hostile[0], allow_writes=True) as client:
        yield client


def check_page(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (200, 400, 404), (path[:200], answer.status_code)
    assert faults_of(answer.text) == [], path[:200]
    assert len(answer.content) < 3_000_000, (path[:200], len(answer.content))


def test_the_check_finds_what_it_is_for() -> None:
    bad = (
        "<img src=x>",
        "<a onclick=x>y</a>",
        "<script>x</script>",
        "<script src=//x.example/y></script>",
        "<a href=javascript:x>y</a>",
        "<a href='java\tscript:x'>y</a>",
        "<a href=//x.example>y</a>",
        "<a href=https://x.example>y</a>",
        "<p style='color:red'>y</p>",
        "<div hx-get=https://x.example>y</div>",
        "<p>\u202e</p>",
        "<form action=//x.example></form>",
    )
    assert [page for page in bad if not faults_of(page)] == []
    assert faults_of("<script src='/static/1/x.js'></script><a href='/runs?x=alert(1)'>y</a>") == []


def test_each_kind_of_record_is_hostile_in_its_texts(
    hostile: tuple[Persistence, list[str]],
) -> None:
    persistence, ids = hostile
    for table in SHOWN:
        assert persistence._store.count(table) >= len(ids), table
        rows = table.rows(persistence._store.select(table))
        texts = [n for n, kind in table.kinds.items() if kind == "text" and n in table.content]
        for name in texts:
            assert any("alert(1)" in str(row.get(name)) for row in rows), (table, name)


@pytest.mark.slow
@pytest.mark.parametrize("path", LISTS)
def test_lists_show_hostile_records_as_text(client: TestClient, path: str) -> None:
    check_page(client, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number in FEW else pytest.mark.thorough)
        for number in range(len(TEXTS))
    ],
)
def test_pages_show_a_hostile_record_as_text(
    hostile: tuple[Persistence, list[str]], client: TestClient, number: int
) -> None:
    persistence, ids = hostile
    for path in pages_of(persistence, ids[number], routes()):
        check_page(client, path)


def test_downloads_are_attachments_that_run_nothing(
    hostile: tuple[Persistence, list[str]], client: TestClient
) -> None:
    ident, paths = hostile[1][1], Paths()
    for path in (
        paths.record("runs", ident, "steps", "run", "record"),
        paths.record("runs", ident, "steps", "run", "part", name="objective"),
        paths.record("runs", ident, "file", "html"),
        paths.record("runs", ident, "file", "md"),
        paths.page("costs.csv"),
        paths.api("runs", ident, "export"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-disposition"].startswith("attachment"), path
        assert "sandbox" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff", path


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t"])
def test_cells_of_a_table_to_download_are_no_formulas(begin: str) -> None:
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        record_hostile(persistence, f"{begin}HYPERLINK(1)", 0)
        lines = client_of(persistence).get("/costs.csv").text.splitlines()
    cells = [cell for line in lines for cell in line.split(",")]
    assert not [cell for cell in cells if cell.strip('"').startswith(f"{begin}HYPER")]
    assert any("HYPERLINK" in cell for cell in cells)


@pytest.mark.thorough
def test_a_browser_runs_nothing_and_asks_no_other_host(
    hostile: tuple[Persistence, list[str]], browser: Any
) -> None:
    persistence, ids = hostile
    faults: list[str] = []
    with served_console(persistence, allow_writes=True) as url:
        page = browser.new_page()
        page.on("dialog", lambda dialog: (faults.append(f"dialog at {page.url}"), dialog.dismiss()))
        page.on("request", _blaming(faults, url))
        page.on("console", lambda said: _blame_refusals(faults, said))
        shown = [ids[number] for number in (*FEW, 2, 4)]
        of_ids = (path for ident in shown for path in pages_of(persistence, ident, routes()))
        for path in (*LISTS, *of_ids):
            page.goto(url + path)
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            page.wait_for_timeout(20)
            strange = page.evaluate(
                "document.querySelectorAll('img,iframe,object,embed,style,[onload],[onerror],"
                "[onclick],[onmouseover],[onfocus],script:not([src])').length"
            )
            assert strange == 0, path[:200]
    assert faults == []


def _blaming(faults: list[str], url: str) -> Callable[[Any], None]:
    def blame(request: Any) -> None:
        if not request.url.startswith((url, "data:")):
            faults.append(f"request of {request.url[:200]}")

    return blame


def _blame_refusals(faults: list[str], said: Any) -> None:
    """The console of the browser tells what the policy refused, which should never be tried."""
    if "Content Security Policy" in said.text or "Refused" in said.text:
        faults.append(said.text[:300])
