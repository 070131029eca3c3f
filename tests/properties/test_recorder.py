"""Runs, spans and calls, nested and left in any way, are each stored once under their parent."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from curio_persistence import (
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
    current_run,
)
from curio_persistence.recording.recorder import RunRecorder

Entry = tuple[Any, ...]
"""An event or a model call: its type or model, level or status, span and span around it."""

LEFT_BY: dict[type[BaseException] | None, str] = {
    None: "completed",
    SystemExit: "completed",  # With 0, which is not an error.
    ValueError: "error",
    TimeoutError: "timeout",
    CancelledError: "cancelled",
    GeneratorExit: "cancelled",
    KeyboardInterrupt: "cancelled",
}
DEEDS = ["log", "metric", "round", "call", "tag", "score"]
LEVEL_OF = {"error": "error", "timeout": "error", "cancelled": "warning"}


@dataclass
class Run:
    """A run as it should be stored."""

    recorder: RunRecorder
    parent: str | None
    status: str = "running"
    output: str | None = None
    error: str | None = None
    rounds: int = 0
    tags: list[str] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    events: list[Entry] = field(default_factory=list)
    calls: list[Entry] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.status != "running"


@dataclass
class Block:
    """An entered block: that of a run (`kind` is "run"), or of a part of one."""

    scope: Any
    kind: str
    run: Run


class Recording(RuleBasedStateMachine):
    """An agent that makes any calls, and the expected records."""

    persistence: ClassVar[Persistence]
    ids: ClassVar[Iterator[int]]

    def __init__(self) -> None:
        super().__init__()
        self.events_before = self.persistence.count_events()
        self.runs: list[Run] = []
        self.stack: list[Block] = []

    # --- the expected records ---------------------------------------------------------------------

    def open_blocks(self) -> list[Block]:
        """Return the blocks around the caller; that of a run ends with the run."""
        return [each for each in self.stack if each.kind != "run" or not each.run.has_ended]

    def innermost(self, run: Run) -> Any:
        """Return the innermost open block of this run."""
        return next(
            (each.scope for each in reversed(self.open_blocks()) if each.run is run), run.recorder
        )

    def entered(self) -> list[Run]:
        return [each.run for each in self.stack if each.kind == "run"]

    def logged(self, run: Run, event_type: str, level: str = "info") -> None:
        run.events.append((event_type, level, self.innermost(run).span_id, None))

    # --- blocks -----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.stack) < 8)
    @rule(is_child=st.booleans())
    def enter_run(self, is_child: bool) -> None:
        around = self.open_blocks()[-1:] if is_child else []
        given = {} if is_child else {"parent": None}
        recorder = self.persistence.record_run(
            agent_id="agent", run_id=f"run-{next(self.ids)}", on_error="raise", **given
        )
        recorder.__enter__()
        run = Run(recorder, around[0].run.recorder.run_id if around else None)
        span = around[0].scope.span_id if around else None
        run.events.append(("run_started", "info", recorder.span_id, span))
        if around:
            assert recorder.trace_id == around[0].scope.trace_id
        self.runs.append(run)
        self.stack.append(Block(recorder, "run", run))

    @precondition(lambda self: 0 < len(self.stack) < 8)
    @rule(kind=st.sampled_from(["span", "tool", "llm"]), at=st.integers(0, 7))
    def enter_part(self, kind: str, at: int) -> None:
        runs = self.entered()
        run = runs[at % len(runs)]
        around = self.innermost(run)
        recorder = run.recorder
        scope: Any = recorder.llm(model="m") if kind == "llm" else getattr(recorder, kind)("name")
        scope.__enter__()
        assert (scope.parent_span_id, scope.trace_id) == (around.span_id, recorder.trace_id)
        started = {"span": "span_started", "tool": "tool_call_started"}
        if kind in started:
            run.events.append((started[kind], "info", scope.span_id, around.span_id))
        self.stack.append(Block(scope, kind, run))

    @precondition(lambda self: self.stack)
    @rule(kind=st.sampled_from([*LEFT_BY]))
    def leave(self, kind: type[BaseException] | None) -> None:
        error = None if kind is None else kind(0) if kind is SystemExit else kind("said")
        block = self.stack.pop()
        scope = block.scope
        scope.__exit__(kind, error, None)
        said = None if error is None else f"{type(error).__name__}: {error}"
        if block.kind == "run":
            self.end_of_run(block.run, LEFT_BY[kind], said)
        elif block.kind == "llm":
            status = "success" if error is None else self.status_of(kind)
            block.run.calls.append(("m", status, scope.span_id, scope.parent_span_id))
        else:
            name = {"span": "span", "tool": "tool_call"}[block.kind]
            level = "info" if error is None else "warning"
            block.run.events.append((name, level, scope.span_id, scope.parent_span_id))

    def status_of(self, kind: type[BaseException] | None) -> str:
        return "cancelled" if kind is SystemExit else LEFT_BY[kind]

    def end_of_run(self, run: Run, status: str, error: str | None) -> None:
        if run.has_ended and status in ("completed", "cancelled"):
            return  # The result was complete before.
        run.status = status
        if status in LEVEL_OF:
            run.error = error
        self.ended(run)

    def ended(self, run: Run) -> None:
        name = "run_error" if run.status in LEVEL_OF else "run_completed"
        recorder = run.recorder
        level = LEVEL_OF.get(run.status, "info")
        run.events.append((name, level, recorder.span_id, recorder.parent_span_id))

    # --- in a block -------------------------------------------------------------------------------

    @precondition(lambda self: self.stack)
    @rule(at=st.integers(0, 7), status=st.sampled_from(["completed", "partial", "error"]))
    def finish(self, at: int, status: str) -> None:
        runs = self.entered()
        run = runs[at % len(runs)]
        run.output = f"output {len(run.events)}"
        run.recorder.finish(run.output, status=status)
        is_first = not run.has_ended
        run.status = status
        if is_first:
            self.ended(run)

    @precondition(lambda self: self.stack)
    @rule(
        at=st.integers(0, 7),
        what=st.sampled_from(["log", "metric", "round", "call", "tag", "score"]),
    )
    def do(self, at: int, what: str) -> None:
        runs = self.entered()
        run = runs[at % len(runs)]
        recorder = run.recorder
        number = len(run.events) + len(run.calls) + len(run.tags) + len(run.scores)
        match what:
            case "log":
                recorder.log("noted", {"n": number}, level="warning")
                self.logged(run, "noted", "warning")
            case "metric":
                recorder.metric("m", number)
                self.logged(run, "metric")
            case "round":
                run.rounds += 1
                assert recorder.iteration() == run.rounds
                self.logged(run, "iteration_started")
            case "call":
                around = self.innermost(run).span_id
                recorder.llm_call(model="told", error="no")
                run.calls.append(("told", "error", None, around))
            case "tag":
                recorder.update(tags=f"tag-{number}")
                run.tags.append(f"tag-{number}")
            case "score":
                recorder.score(f"score-{number}", number)
                run.scores[f"score-{number}"] = number

    # --- the stored records -----------------------------------------------------------------------

    @invariant()
    def the_current_run_is_that_of_the_innermost_block(self) -> None:
        blocks = self.open_blocks()
        expected = blocks[-1].run.recorder if blocks else None
        assert current_run() is expected
        assert current_run(self.persistence) is expected

    def teardown(self) -> None:
        try:
            while self.stack:
                self.leave(None)
            assert current_run() is None
            for run in self.runs:
                self.check(run)
            recorded = self.persistence.count_events() - self.events_before
            assert recorded == sum(len(run.events) for run in self.runs)
        finally:
            while self.stack:  # A failure must not leave a block behind in this thread's context.
                with suppress(Exception):
                    self.stack.pop().scope.__exit__(None, None, None)

    def check(self, run: Run) -> None:
        run_id = run.recorder.run_id
        stored = self.persistence.get_agent_run(run_id)
        assert stored is not None
        assert (stored.parent_run_id, stored.status) == (run.parent, run.status)
        assert (stored.final_synthesis_output, stored.error_message) == (run.output, run.error)
        assert (stored.total_iterations, stored.tags or []) == (run.rounds, run.tags)
        assert stored.finished_at is not None
        events = self.persistence.get_agent_run_events(run_id)
        assert [(e.event_type, e.level, e.span_id, e.parent_span_id) for e in events] == run.events
        calls = self.persistence.get_llm_usage(run_id=run_id, limit=None)[::-1]
        found = [
            (c.model, c.status, c.span_id if c.model == "m" else None, c.parent_span_id)
            for c in calls
        ]
        assert found == run.calls
        assert {each.trace_id for each in (*events, *calls)} == {run.recorder.trace_id}
        assert {s.name: s.value for s in self.persistence.scores.list(run_id)} == run.scores


@pytest.mark.parametrize("open_it", [InMemoryPersistence, partial(SQLitePersistence, ":memory:")])
def test_any_nesting_is_stored_once_under_its_parent(
    open_it: Callable[[], Persistence],
) -> None:
    with open_it() as persistence:
        members = {"persistence": persistence, "ids": count()}
        machine = type("Recording", (Recording,), members)
        run_state_machine_as_test(machine, settings=settings(stateful_step_count=30))
