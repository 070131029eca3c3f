"""Virtual environments, one for each compared package, reused the next time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"

_SQLALCHEMY = "SQLAlchemy==2.1.9"
REQUIREMENTS = {
    "sqlalchemy": (_SQLALCHEMY,),
    "eventsourcing": ("eventsourcing==9.5.6",),
    # Its span records are made from OpenTelemetry's.
    "agno": ("agno==3.1.10", "SQLAlchemy[asyncio]==2.1.9", "opentelemetry-sdk==1.45.2"),
    # The same tracking store as in `mlflow`, whose other requirements are for models.
    "mlflow": ("mlflow-skinny==3.17.2", _SQLALCHEMY, "alembic==1.20.1"),
    "llm": ("llm==0.36",),
}
_OURS = ("psycopg2-binary>=2.9.9",)
"""The imports of the package's benchmarks; the package itself is imported from the checkout."""


def python(name: str) -> Path:
    """Return the interpreter of an environment, which is created if missing or out of date."""
    folder = FOLDER / name
    interpreter, note = folder / "bin" / "python", folder / "installed.txt"
    requirements = (*REQUIREMENTS[name], *_OURS)
    wanted = "\n".join((sys.version, *requirements))
    if note.is_file() and note.read_text("utf-8") == wanted:
        return interpreter
    print(f"installing {' '.join(requirements)} …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    pip = (str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    try:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(*pip, *requirements)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\nName sides that are installed; `ours` needs nothing.")
    note.write_text(wanted, "utf-8")
    return interpreter


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)
