"""The blocks of runs that a framework has begun and not ended yet, by the framework's own ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.adapters.guard import synchronous
from curio_persistence.interop.adapters.messages import last_question
from curio_persistence.recording.arguments import Parent
from curio_persistence.recording.context import Scope, current_run
from curio_persistence.recording.model_calls import LLMCall
from curio_persistence.recording.recorder import NoRun, RunRecorder
from curio_persistence.recording.repair import as_json_text
from curio_persistence.recording.spans import Block
from curio_persistence.store.codecs import ID_LENGTH

if TYPE_CHECKING:
    from logging import Logger

B = TypeVar("B", bound=Block)

_REFUSED = re.compile("[\x00\ud800-\udfff]")
_MOST = 10_000
"""Blocks that may be open at once; if a framework reports no ends, the oldest are forgotten."""


class Blocks:
    """Begins and ends blocks as a framework reports it, in whatever order and thread.

    What the framework does not name the parent of belongs to the run in which its caller runs.
    """

    def __init__(self, persistence: Any) -> None:
        self._persistence = synchronous(persistence)
        self._open: dict[Hashable, Scope] = {}
        self._within: dict[Hashable, Scope] = {}

    def around(self, parent: Hashable) -> Scope | None:
        """Return the open block that has this id, or that around what is not recorded under it."""
        return self._open.get(parent) or self._within.get(parent)

    def run(
        self, key: Hashable, parent: Hashable, *, current: bool = True, **run: Any
    ) -> RunRecorder:
        """Begin a run: `run` are arguments of `record_run`.

        Where one of them cannot be stored, as an id that is too long, the run is recorded without
        them, by a name that can.
        """
        around: Any = self.around(parent) or Parent.ENCLOSING
        record_run = partial(self._persistence.record_run, parent=around)
        try:
            recorder: RunRecorder = record_run(**run)
        except InvalidValueError as error:
            _logger().warning("A run is recorded without its session: %s", error)
            name = _REFUSED.sub("?", str(run["agent_id"]))[:ID_LENGTH] or "agent"
            recorder = record_run(agent_id=name, objective=run.get("objective", ""))
        self._open[key] = recorder.begin(current=current)
        return recorder

    def block(self, key: Hashable, parent: Hashable, make: Callable[[RunRecorder], B]) -> None:
        """Begin what `make` makes of the run that the parent is in; nothing outside of all runs."""
        around = self.around(parent)
        if (run := self._run(around)) is not None:
            self._open[key] = make(run).begin(inside=around)

    def call(
        self, key: Hashable, parent: Hashable, agent_id: str | None = None, **call: Any
    ) -> None:
        """Begin a model call, in a run or not: `call` are arguments of `RunRecorder.llm`."""
        around = self.around(parent)
        run = self._run(around) or NoRun(self._persistence, agent_id)
        self._open[key] = run.llm(**call).begin(inside=around, current=False)
        if len(self._open) > _MOST:
            self._open.pop(next(iter(self._open)), None)

    def _run(self, around: Scope | None) -> RunRecorder | None:
        if around is None:
            return current_run(self._persistence)
        return cast("RunRecorder", around._run)

    def skip(self, key: Hashable, parent: Hashable) -> None:
        """Record nothing under this id; what is below belongs to the parent."""
        if (around := self.around(parent)) is not None:
            self._within[key] = around

    def end(self, key: Hashable, error: Any = None, **outcome: Any) -> Scope | None:
        """End the block that has this id, and return it.

        `outcome` are attributes of it; that of a run is its `output`.
        """
        self._within.pop(key, None)
        if (block := self._open.pop(key, None)) is None:
            return None
        if isinstance(block, RunRecorder):
            if (output := outcome.get("output")) is not None:
                block.agent_run.final_synthesis_output = as_json_text(output)
            self._forget(block)
        else:
            for name, value in outcome.items():
                setattr(block, name, value)
        block.end(error)
        return block

    def end_call(self, key: Hashable, error: Any, response: Any, **record: Any) -> None:
        """End a model call with its response, and with fields of its record that are known now.

        The first question and the last answer of a run are its objective and its output.
        """
        call = self._open.get(key)
        if not isinstance(call, LLMCall):
            return
        for name, value in record.items():
            setattr(call.record, name, value)
        self.end(key, error, response=response)
        run = call._run.agent_run
        run.objective = run.objective or as_json_text(last_question(record.get("prompt"))) or ""
        if call.answer is not None and isinstance(call.answer.content, str):
            run.final_synthesis_output = call.answer.content

    def _forget(self, run: RunRecorder) -> None:
        """Forget the blocks of a run whose end the framework never reported."""
        for key, scope in list(self._open.items()):
            if scope._run is run and self._open.pop(key, None) is not None:
                scope._leave_context()  # Else the run would stay the current one.
        for key, scope in list(self._within.items()):
            if scope._run is run:
                self._within.pop(key, None)


def _logger() -> Logger:
    import logging  # On use, as in the recorder.

    return logging.getLogger(__name__)
