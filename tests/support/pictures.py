"""Take the pictures of the console that README and docs show: `make pictures`.

    python -m tests.support.pictures FILE

FILE is the database of `make demo-console`, which is filled if it is not there yet. The pictures go
to docs/pictures, each in both themes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from curio_persistence import Persistence, SQLitePersistence, record_demo
from tests.support.looks import THEMES, camera

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


def paths(persistence: Persistence) -> dict[str, str]:
    """Return the path of each page that is pictured."""
    run = persistence.query_agent_runs(agent_id="coder", session_id="billing-migration", limit=1)[0]
    step = persistence.query_llm_usage(run_id=run.run_id, limit=300)[-1]
    talk = next(
        run.session_id
        for run in persistence.iter_agent_runs(
            agent_id="support-triage", status="error", order="newest"
        )
        if run.session_id and persistence.count_agent_runs(session_id=run.session_id) > 2
    )
    return {
        "overview": "/",
        "runs": "/runs",
        "run": f"/runs/{run.run_id}?step=usage:{step.id}",
        "session": f"/sessions/{talk}",
        "events": "/events",
        "search": "/search?q=refund",
        "costs": "/costs",
        "activity": "/activity",
    }


def main(file: str) -> None:
    """Take all pictures."""
    FOLDER.mkdir(exist_ok=True)
    with SQLitePersistence(file) as persistence:
        if not persistence.count_agent_runs():
            record_demo(persistence, events=1_000_000, days=90)
            persistence.search.index_pending()
    with SQLitePersistence(file, read_only=True) as persistence, camera(persistence) as chromium:
        for page, path in paths(persistence).items():
            for theme in THEMES:
                picture = chromium.take(path, theme).quantize(256)
                picture.save(FOLDER / f"{page}-{theme}.png", optimize=True)
                print(f"docs/pictures/{page}-{theme}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
