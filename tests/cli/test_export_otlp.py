"""`export otlp` sends traces, and says what it sent."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from curio_persistence import connect
from tests.cli.program import Program
from tests.support.otlp_story import run, spans_in
from tests.support.web_server import Answer, WebServer, web_server


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def test_traces_are_sent(program: Program, recorded: str, server: WebServer) -> None:
    report = program("export", "otlp", server.url, "--url", recorded).json()
    assert (report["traces"], report["waiting"], report["rejected"]) == (4, 1, 0)
    assert report["spans"] == sum(len(spans_in(request)) for request in server.received)


def test_a_person_is_told_in_words(program: Program, agents_db: str, server: WebServer) -> None:
    export = ("export", "otlp", server.url)
    told = program.on_terminal(*export, columns=200).out
    assert f"4 traces of 9 spans were sent to {server.url}/v1/traces: " in told
    assert "1 traces have not ended, and wait; --running sends them as they are." in told
    server.answers = [Answer(200, {"Content-Type": "application/json"}, PARTIAL)]
    ended = program.on_terminal(*export, "--run", "run-40", columns=200)
    assert (ended.code, "The receiver rejected 1 spans: odd." in ended.out) == (1, True)


PARTIAL = b'{"partialSuccess": {"rejectedSpans": 1, "errorMessage": "odd"}}'


def test_headers_may_have_keys(program: Program, agents_db: str, server: WebServer) -> None:
    ended = program(
        *("export", "otlp", server.url, "--header", "x-a=1", "--header-env", "x-b=KEY"),
        *("--run", "last", "--running", "--no-content", "--phoenix-project", "cats"),
        KEY="=2=",
    )
    assert ended.code == 0
    headers = server.received[0].headers
    assert (headers["x-a"], headers["x-b"]) == ("1", "=2=")


def test_an_export_goes_on_under_its_name(
    program: Program, agents_db: str, server: WebServer
) -> None:
    export = ("export", "otlp", server.url, "--name", "phoenix", "--json")
    assert [program(*export).json()["traces"] for _ in range(2)] == [4, 0]


def test_traces_are_followed_until_ctrl_c(
    program: Program, agents_db: str, server: WebServer
) -> None:
    server.answers = [503]
    with program.start("export", "otlp", server.url, "--follow", "--every", "1s") as following:
        assert following.stdout is not None
        first = json.loads(following.stdout.readline())
        assert first["traces"] == 4
        with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
            run(persistence, "run-new", "planner", 0, 1)
        assert json.loads(following.stdout.readline())["traces"] == 1
        following.send_signal(signal.SIGINT)
        _, said = following.communicate()
    assert "no answer" not in said
    assert "traces are sent when they have ended; Ctrl-C ends this." in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["otlp"], "Say where the traces go: export otlp http://127.0.0.1:6006"),
        ([], "Say where the records go: --output PATH, or export otlp URL."),
        (["--output", "x.csv", "--follow"], "--follow is for exports by OTLP: export otlp URL"),
        (["otlp", "http://x", "--output", "y"], "export otlp does not take --output."),
        (["otlp", "http://x", "--level", "error"], "export otlp does not take --level."),
        (["otlp", "http://x", "--every", "5s"], "--every is for --follow."),
        (["otlp", "http://x", "--follow", "--dry-run"], "--follow sends each trace when it has"),
        (["otlp", "http://x", "--name", "a", "--archive", "b"], "drop --archive"),
        (["otlp", "http://x", "--header", "key"], "a header is NAME=VALUE"),
        (["otlp", "http://x", "--header-env", "a=NO_SUCH"], "NO_SUCH is not set"),
        (["otlp", "x"], "url is one such as http://127.0.0.1:4318, not 'x'."),
        (["jaeger", "http://x"], "invalid choice: 'jaeger'"),
    ],
)
def test_a_mistake_is_one_line_of_advice(
    program: Program, agents_db: str, arguments: list[str], said: str
) -> None:
    ended = program("export", *arguments)
    assert (ended.code, ended.out, said in ended.said) == (2, "", True), ended.said


def test_a_receiver_that_refuses_or_is_away_is_told(
    program: Program, agents_db: str, server: WebServer
) -> None:
    server.answers = [401]
    ended = program("export", "otlp", server.url)
    assert (ended.code, "pass the key as a header" in ended.said) == (1, True)
    server.answers = [Answer(503, {"Retry-After": "900"})]
    ended = program("export", "otlp", server.url)
    assert (ended.code, "asked again in 900 seconds" in ended.said) == (4, True)
