"""Send notifications to sinks, each in a thread of its own, so that a slow one delays no other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from time import monotonic
from typing import Any, NamedTuple

from curio_persistence.capabilities.alerts.messages import for_slack, headline
from curio_persistence.errors import PersistenceError
from curio_persistence.tables.alert_sinks import AlertSink

Notification = dict[str, Any]
Callables = Mapping[str, Callable[[Notification], object]]

TIMEOUT = 10.0
"""The seconds that a sink has for a notification."""
_MARGIN = 2.0
"""Seconds more for a sink that notices itself that its time is over, and says so better."""
_LOG = "curio_persistence.alerts"


class SinkError(Exception):
    """A notification was not delivered; the message has no secret. `again`: a retry may help."""

    def __init__(self, message: str, *, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


class Job(NamedTuple):
    """A notification and the sink that is to get it."""

    sink: AlertSink
    given: Notification


def send_all(jobs: Sequence[Job], callables: Callables) -> list[SinkError | None]:
    """Send all at the same time; return for each the reason why it was not delivered, or None."""
    attempts = [_Attempt(job, callables) for job in jobs]
    for attempt in attempts:
        attempt.start()
    until = monotonic() + TIMEOUT + _MARGIN
    return [attempt.outcome(until) for attempt in attempts]


class _Attempt(Thread):
    """One attempt. It is left behind if it does not end: no sink can delay the others."""

    def __init__(self, job: Job, callables: Callables) -> None:
        super().__init__(name=f"curio-alert-{job.sink.kind}", daemon=True)
        self._job = job
        self._callables = callables
        self._error: SinkError | None = SinkError(f"no answer within {TIMEOUT:g} seconds")

    def run(self) -> None:
        try:
            _send(self._job, self._callables)
            self._error = None
        except SinkError as error:
            self._error = error
        except PersistenceError as error:  # A package is missing.
            self._error = SinkError(str(error))
        except Exception as error:
            # Without its message, which may have anything in it.
            self._error = SinkError(f"{type(error).__name__} was raised")

    def outcome(self, until: float) -> SinkError | None:
        self.join(max(until - monotonic(), 0))
        return self._error


def _send(job: Job, callables: Callables) -> None:
    sink, given = job
    match sink.kind:
        case "log":
            _log(given)
        case "callable":
            _function(sink, callables)(given)
        case "command":
            _run(sink, given)
        case "slack":
            _post(sink, {"text": for_slack(headline(given))})
        case "webhook":
            _post(sink, given)


def _function(sink: AlertSink, callables: Callables) -> Callable[[Notification], object]:
    if sink.name not in callables:
        raise SinkError(f"this program passed no function {sink.name!r}")
    return callables[sink.name]


def _log(given: Notification) -> None:
    import logging  # Imported here: the import takes longer than that of this package.

    level = logging.WARNING if given["told"] == "fired" else logging.INFO
    logging.getLogger(_LOG).log(level, "%s", headline(given))


def _run(sink: AlertSink, given: Notification) -> None:
    """Run a command to its end; its output is dropped."""
    import subprocess  # On use: most programs run none.

    try:
        done = subprocess.run(
            sink.argv,
            input=bytes(json.dumps(given), "ascii"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SinkError(f"the command took longer than {TIMEOUT:g} seconds") from error
    except OSError as error:
        raise SinkError(f"the command cannot be run: {error.strerror}") from error
    if done.returncode:
        raise SinkError(f"the command ended with {done.returncode}")


def _post(sink: AlertSink, body: Notification) -> None:
    from curio_persistence.capabilities.alerts.webhooks import post  # On use: it needs urllib3.

    url = sink.url if sink.url_env is None else variable(sink.url_env)
    key = None if sink.secret_env is None else variable(sink.secret_env)
    post(url or "", body, key=key, allow_private=sink.allow_private, timeout=TIMEOUT)


def variable(name: str) -> str:
    """Return a variable of the environment that has to be set."""
    if value := os.environ.get(name):
        return value
    raise SinkError(f"the environment variable {name} is not set")
