"""The console below /curio of a Flask application: `flask --app flask_app run` serves it.

Flask speaks WSGI, so that a2wsgi translates. Live streams need ASGI: pages that follow events say
that they cannot.
"""

from a2wsgi import ASGIMiddleware
from flask import Flask, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from curio_persistence import SQLitePersistence, create_app

persistence = SQLitePersistence("agents.db")
app = Flask(__name__)
console = ASGIMiddleware(create_app(persistence))
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/curio": console})


@app.get("/")
def answer() -> dict[str, str]:
    question = request.args.get("question", "Where is Lyon?")
    with persistence.record_run(agent_id="guide", objective=question) as run:
        run.finish("In France.")
    return {"answer": "In France.", "run": f"/curio/runs/{run.run_id}"}
