"""The console below /curio of a Starlette application: `uvicorn starlette_app:app` serves it."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from curio_persistence import SQLitePersistence, create_app

persistence = SQLitePersistence("agents.db")


def answer(request: Request) -> JSONResponse:
    question = request.query_params.get("question", "Where is Lyon?")
    with persistence.record_run(agent_id="guide", objective=question) as run:
        run.finish("In France.")
    return JSONResponse({"answer": "In France.", "run": f"/curio/runs/{run.run_id}"})


app = Starlette(routes=[Route("/", answer), Mount("/curio", create_app(persistence))])
