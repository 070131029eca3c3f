"""The console in applications of four frameworks: pages, files, links, the API, and streams."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import uvicorn

EXAMPLES = Path(__file__).parents[2] / "examples/embedding"
ASGI = ("fastapi_app", "starlette_app", "django_app")
_NEEDS = {"fastapi_app": "fastapi", "flask_app": "flask", "django_app": "django"}
_LINK = re.compile(r'(?:href|src)="([^"#]+)')

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore"),  # Of the frameworks.
]


@pytest.fixture(scope="module", params=[*ASGI, "flask_app"])
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(_NEEDS.get(name, "starlette"))
    return name


@pytest.fixture(scope="module")
def url(framework: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an example that is served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp(framework))
        module = loaded(framework)
        app = getattr(module, "application", None) or module.app
        serving = asgi_served(app) if framework in ASGI else wsgi_served(app)
        with serving as served, module.persistence:
            yield served
    sys.modules.pop(framework)


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Django imports its URLs by this name.
    spec.loader.exec_module(module)
    return module


@contextmanager
def asgi_served(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = server.force_exit = True
    thread.join(10)


class Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def wsgi_served(app: Any) -> Iterator[str]:
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def read(url: str, **headers: str) -> str:
    with urlopen(Request(url, headers=headers), timeout=30) as answer:
        return str(answer.read().decode())


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def test_pages_files_and_links_are_below_the_path(url: str) -> None:
    told = json.loads(read(f"{url}/"))
    assert told["answer"] == "In France."
    run_id = told["run"].rpartition("/")[2]
    page = read(f"{url}/curio/runs")
    assert run_id in page
    links = {link.replace("&amp;", "&") for link in _LINK.findall(page)}
    ours = {link for link in links if not link.startswith(("http:", "https:", "data:"))}
    assert ours
    assert {link for link in ours if not link.startswith(("/curio/", "?"))} == set()
    for link in ours:
        if link.startswith("/curio/"):
            assert status_of(url + link) < 400, link
    assert status_of(url + told["run"]) == 200


def test_the_api_is_below_the_path(url: str) -> None:
    run_id = json.loads(read(f"{url}/"))["run"].rpartition("/")[2]
    run, *_ = json.loads(read(f"{url}/curio/api/v1/runs"))["items"]
    assert run["run_id"] == run_id
    described = json.loads(read(f"{url}/curio/api/v1/openapi.json"))
    assert described["servers"] == [{"url": "/curio/api/v1"}]
    assert status_of(f"{url}/curio/api/v1/runs/nothing") == 404
    assert status_of(f"{url}/curio/nothing") == 404


def test_streams_are_sent_where_the_server_speaks_asgi(url: str, framework: str) -> None:
    stream = f"{url}/curio/api/v1/stream?kinds=run"
    if framework not in ASGI:
        assert status_of(stream) == 501
        return
    with urlopen(stream, timeout=30) as answer:
        assert answer.readline() == b": connected\n"
        run = json.loads(read(f"{url}/"))["run"]
        lines = (line.decode() for line in answer)
        item = next(line for line in lines if line.startswith("data: "))
        assert json.loads(item.removeprefix("data: "))["record"]["run_id"] == run.rpartition("/")[2]


def test_other_hosts_are_refused(url: str) -> None:
    with pytest.raises(HTTPError) as refused:
        read(f"{url}/curio/runs", Host="example.com")
    with refused.value as answer:
        assert answer.code == 421
