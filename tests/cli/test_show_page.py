"""`show` lists scores, and writes a self-contained page."""

from __future__ import annotations

import contextlib
from html.parser import HTMLParser

from curio_persistence import connect
from tests.cli.history import EVIL
from tests.cli.program import Program
from tests.support.browser import Browser

_ATTACK = "</pre></dd><script>alert(1)</script><img src=//x.example onerror=alert(1)>"
_VOID = {"meta"}


class Tags(HTMLParser):
    """The tags of a page, each of which must be closed, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def close(self) -> None:
        super().close()
        assert self._open == []


def record(url: str) -> None:
    with (
        connect(url) as persistence,
        persistence.record_run(agent_id="agent", run_id="run", objective=_ATTACK) as run,
    ):
        with run.tool(_ATTACK, {_ATTACK: [EVIL, _ATTACK]}) as call:
            call.result = "日本"
            with run.llm(model="m") as asked:
                asked.response = "\ud800 alone"
            with persistence.record_run(agent_id="helper", run_id="below") as below:
                below.log("note", message=_ATTACK)
        persistence.scores.set("run", "helpful", 0.5, comment="Good.", source="model", author="j")
        run.finish(_ATTACK)


def test_scores_are_shown(program: Program, url: str) -> None:
    record(url)
    lines = program.on_terminal("show", "run", "--url", url).lines
    assert "helpful 0.5 (model j): Good." in " ".join(lines)


def test_a_page_is_self_contained_and_executes_no_recorded_text(program: Program, url: str) -> None:
    record(url)
    code, out, _ = program("show", "run", "--url", url, "--html", "run.html")
    assert (code, out) == (0, "")
    page = (program.folder / "run.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert not tags.found & {"script", "img", "link", "iframe", "a"}
    assert not tags.attributes & {"src", "href", "onerror"}
    assert "url(" not in page
    assert "@import" not in page
    assert "\x1b" not in page
    assert _ATTACK in tags.text
    for told in ("日本", "helpful 0.5 (model j): Good.", "model · m", "run · helper · below"):
        assert told in tags.text


def test_a_page_overwrites_no_file(program: Program, url: str) -> None:
    record(url)
    (program.folder / "run.html").write_text("kept")
    code, _, said = program("show", "run", "--url", url, "--html", "run.html")
    assert code != 0
    assert "run.html is there already" in said
    assert (program.folder / "run.html").read_text() == "kept"


def test_a_browser_shows_recorded_html_as_text(
    program: Program, agents_db: str, browser: Browser
) -> None:
    record(f"sqlite:///{program.folder / agents_db}")
    program("show", "run", "--db-path", agents_db, "--html", "run.html")
    page = program.folder / "run.html"
    probe = "<script>console.log('ran')</script></body>"
    (program.folder / "control.html").write_text(f"<body>{probe}")
    assert "ran" in " ".join(browser.show(program.folder / "control.html").console)

    page.write_text(page.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    shown = browser.show(page)
    assert "ran" not in " ".join(shown.console).replace("'ran'", "")
    assert "Content Security Policy" in " ".join(shown.console)
    assert "<script>alert" not in shown.document
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown.document


def test_a_traceback_keeps_its_lines(program: Program, agents_db: str) -> None:
    with (
        connect(f"sqlite:///{program.folder / agents_db}") as persistence,
        contextlib.suppress(ValueError),
        persistence.record_run(agent_id="agent", run_id="failing"),
    ):
        raise ValueError("no such city")
    program("show", "failing", "--db-path", agents_db, "--html", "run.html")
    page = (program.folder / "run.html").read_text(encoding="utf-8")
    assert (
        '<dt>traceback</dt><dd><pre dir="auto">Traceback (most recent call last):\n  File' in page
    )
    on_terminal = program.on_terminal("show", "failing", "--db-path", agents_db).lines
    assert "Traceback" not in " ".join(on_terminal)
    in_full = program.on_terminal("show", "failing", "--full", "--db-path", agents_db).lines
    assert "Traceback (most recent call last):" in " ".join(in_full)


def test_a_page_in_a_missing_folder_is_refused_in_the_words_of_a_shell(
    program: Program, url: str
) -> None:
    record(url)
    code, out, said = program("show", "run", "--url", url, "--html", "missing/run.html")
    assert (code, out) == (1, "")
    assert said.endswith("missing/run.html: No such file or directory\n")
    assert "Errno" not in said
