"""The console below /curio of a Django project: `uvicorn django_app:application` serves it.

In a project of yours, the settings are elsewhere, and the last lines belong into its `asgi.py`.
"""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.routing import Mount

from curio_persistence import SQLitePersistence, create_app

persistence = SQLitePersistence("agents.db")
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="secret", ALLOWED_HOSTS=["*"])


def answer(request: HttpRequest) -> JsonResponse:
    question = request.GET.get("question", "Where is Lyon?")
    with persistence.record_run(agent_id="guide", objective=question) as run:
        run.finish("In France.")
    return JsonResponse({"answer": "In France.", "run": f"/curio/runs/{run.run_id}"})


urlpatterns = [path("", answer)]

console, project = create_app(persistence), get_asgi_application()
application = Starlette(routes=[Mount("/curio", console), Mount("/", project)])
