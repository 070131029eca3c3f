"""Programs that embed are killed at any moment: others go on, and no text is left out."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from curio_persistence import connect
from curio_persistence.tables import EMBEDDINGS, EVENTS
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child
from tests.support.meanings import Meanings

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

KILLS = 4 * soak.FACTOR
_OPEN = """
from tests.support.meanings import Meanings
persistence = connect(sys.argv[1], embed=Meanings())
print("begun", flush=True)
"""
EMBEDDER = (
    _OPEN
    + """
while True:
    persistence.similarity.index_pending(limit=17)
"""
)
WRITER = """
persistence = connect(sys.argv[1])
print("begun", flush=True)
for number in range(10**9):
    run_id = f"{sys.argv[2]}-{number}"
    for each in range(5):
        persistence.append_event(run_id, "agent", "log", message=f"poem {number} {each}")
    if number % 3 == 0:
        persistence.delete_agent_run(run_id)
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def test_every_text_that_is_left_has_one_vector(url: str) -> None:
    with connect(url, embed=Meanings()) as persistence, ExitStack() as stack:
        writers = [stack.enter_context(Child(WRITER, url, each)) for each in "ab"]
        for writer in writers:
            assert writer.read() == "begun"
        for _ in range(KILLS):
            with Child(EMBEDDER, url) as one, Child(EMBEDDER, url) as two:
                assert one.read() == two.read() == "begun"
                time.sleep(random.uniform(0.02, 0.4))
        for writer in writers:
            writer.kill()
        deadline = time.monotonic() + 20
        while persistence.similarity.pending():
            persistence.similarity.index_pending()
            assert time.monotonic() < deadline
        store = persistence._store
        events = {ident for (ident,) in store.select_columns(EVENTS, ("id",))}
        vectors = sorted(ident for (ident,) in store.select_columns(EMBEDDINGS, ("row_id",)))
        assert vectors == sorted(events)
        assert len(events) > 50
        hits = persistence.similar("verse", top=len(events))
        assert len(hits) == len(events)


def test_a_child_of_a_fork_asks_and_embeds(tmp_path: Path) -> None:
    code = (
        _OPEN.replace("print", "persistence.append_event('r', 'a', 'log', message='a poem')\nprint")
        + """
assert len(persistence.similar("verse")) == 1
if os.fork() == 0:
    persistence.append_event("r", "a", "log", message="poem 2")
    print(len(persistence.similar("verse")), flush=True)
    os._exit(0)
os.wait()
print(len(persistence.similar("verse")), flush=True)
"""
    )
    with Child(code, f"sqlite:///{tmp_path / 'runs.db'}") as child:
        assert [child.read() for _ in range(3)] == ["begun", "2", "2"]
