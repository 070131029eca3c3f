"""The published contract: ten methods, and the methods that each implementation inherits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from curio_persistence.clock import Clock
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.recording.arguments import OnError, Parent

if TYPE_CHECKING:
    from curio_persistence.recording.decorators import F
    from curio_persistence.recording.recorder import RunRecorder

P = ParamSpec("P")
T = TypeVar("T")


class BasePersistence(ABC):
    """Keeps what agents do.

    **Isolation.** What is handed in or out is a copy. An instance may be shared by threads.
    **Commit.** When a write returns it is committed; when it raises, nothing of it is stored.
    **Times** are aware and in UTC, to the microsecond; a naive datetime handed in is local time.
    **Order.** Runs and usage come newest first by `created_at`, then id; the events of a run oldest
    first, by `timestamp`, then id. **Writes fill the object in**: `id`, `created_at`, `updated_at`,
    an event's missing `timestamp`. **Filters**: `""` and None mean "no filter"; `limit=0` is
    nothing, `limit=None` everything. **Failures** are a `PersistenceError`; what is absent is None
    or an empty list, what could not be read is an exception.
    """

    clock: Clock = Clock()
    """The clock by which the recorder stamps its records."""

    @abstractmethod
    def create_agent_run(self, run: AgentRun) -> None:
        """Store a new run. Raises ConflictError if its `run_id` was created before."""

    @abstractmethod
    def update_agent_run(self, run_id: str, run: AgentRun) -> None:
        """Replace a run's fields with those of `run`, except id, run_id and created_at.

        The fields that came after the published ones (from `session_id` on) are replaced only
        where they are not None. Raises NotFoundError if the run does not exist.
        """

    @abstractmethod
    def get_agent_run(self, run_id: str) -> AgentRun | None:
        """One run, or None."""

    @abstractmethod
    def get_agent_runs(
        self, agent_id: str | None = None, limit: int | None = 10, offset: int = 0
    ) -> list[AgentRun]:
        """Runs, newest first."""

    @abstractmethod
    def delete_agent_run(self, run_id: str) -> bool:
        """Remove a run and its events; return False if the run does not exist.

        Its usage rows keep their numbers and lose their words and their run, so that spending
        stays true. Child runs stay, without a parent.
        """

    @abstractmethod
    def log_agent_run_event(self, event: AgentRunEvent) -> None:
        """Append an event. If its run was never created, a minimal one, `running`, is made."""

    @abstractmethod
    def get_agent_run_events(
        self, run_id: str, event_type: str | None = None
    ) -> list[AgentRunEvent]:
        """A run's events, oldest first."""

    @abstractmethod
    def log_llm_usage(self, usage: AgentLLMUsage) -> None:
        """Append one model call."""

    @abstractmethod
    def get_llm_usage(
        self, agent_id: str | None = None, run_id: str | None = None, limit: int | None = 100
    ) -> list[AgentLLMUsage]:
        """Model calls, newest first."""

    @abstractmethod
    def get_agent_run_stats(self, agent_id: str | None = None) -> dict[str, Any]:
        """Totals over all runs, or over one agent's.

        At least `total_runs`, `completed_runs`, `error_runs`, `avg_iterations` (two decimals),
        `total_llm_calls`, `total_input_tokens` and `total_output_tokens`: numbers, 0 of nothing.
        """

    def _begin_run(self, run: AgentRun) -> None:
        """Store the beginning of a run that is recorded."""
        self.create_agent_run(run)

    def _end_run(self, run_id: str, run: AgentRun) -> None:
        """Store the end of a run that is recorded."""
        self.update_agent_run(run_id, run)

    def record_run(
        self,
        *,
        agent_id: str,
        objective: Any = "",
        agent_name: str = "",
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        parent: RunRecorder | str | Parent | None = Parent.ENCLOSING,
        additional_context: Any = None,
        metadata: Any = None,
        tags: str | Collection[str] | None = None,
        resume: bool = False,
        on_error: OnError = "log",
    ) -> RunRecorder:
        """Record a run as it happens: `with persistence.record_run(agent_id="a") as run: …`.

        The run is created on entering. On leaving it is `completed`, `error` (the block raised; the
        exception goes on), `timeout` (a TimeoutError) or `cancelled` (interrupted). A run inside
        another's block is its child, of the same session and user; in a plain thread name the
        `parent`. `parent=None` is a run without a parent.

        Ids may be UUIDs or integers too, and `objective` any value. An argument that cannot be
        stored raises InvalidValueError here. With `on_error="log"` no failure to record reaches
        the agent: it is counted in `run.dropped` and logged once, a value that cannot be stored is
        stored as the nearest one that can, and a `run_id` that is taken is replaced with a new
        one. With `"raise"` the error is raised. `resume=True` goes on with the run that has this
        `run_id`, if there is one: what it recorded stays, and it is running again.
        """
        from curio_persistence.recording.recorder import record_run  # On use: others only read.

        return record_run(
            self,
            agent_id=agent_id,
            objective=objective,
            agent_name=agent_name,
            run_id=run_id,
            session_id=session_id,
            user_id=user_id,
            parent=parent,
            additional_context=additional_context,
            metadata=metadata,
            tags=tags,
            resume=resume,
            on_error=on_error,
        )

    def recorded(
        self,
        agent_id: str | None = None,
        *,
        capture_args: bool = True,
        capture_result: bool = True,
        **run: Any,
    ) -> Callable[[F], F]:
        """Record each call of a function as a run: `@persistence.recorded(agent_id="planner")`.

        The arguments are its objective, the result is its output. `run` are arguments of
        `record_run`; `agent_id` is the function's name by default. Functions, coroutines and
        generators are taken, of which the run lasts from the first item to the last.
        """
        from curio_persistence.recording.decorators import recorded  # On use: others only read.

        return recorded(
            self, agent_id, capture_args=capture_args, capture_result=capture_result, **run
        )

    async def startup(self) -> None:
        """Create the tables; for frameworks that start their components."""
        await _in_thread(self.initialize_schema)

    async def shutdown(self) -> None:
        """Close it; for frameworks that stop their components."""
        await _in_thread(self.close)

    async def acreate_agent_run(self, run: AgentRun) -> None:
        """Await `create_agent_run`, which works in a thread."""
        await _in_thread(self.create_agent_run, run)

    async def aupdate_agent_run(self, run_id: str, run: AgentRun) -> None:
        """Await `update_agent_run`, which works in a thread."""
        await _in_thread(self.update_agent_run, run_id, run)

    async def aget_agent_run(self, run_id: str) -> AgentRun | None:
        """Await `get_agent_run`, which works in a thread."""
        return await _in_thread(self.get_agent_run, run_id)

    async def alog_agent_run_event(self, event: AgentRunEvent) -> None:
        """Await `log_agent_run_event`, which works in a thread."""
        await _in_thread(self.log_agent_run_event, event)

    async def alog_llm_usage(self, usage: AgentLLMUsage) -> None:
        """Await `log_llm_usage`, which works in a thread."""
        await _in_thread(self.log_llm_usage, usage)

    def initialize_schema(self) -> None:  # nothing to create is a fine answer  # noqa: B027
        """Create or migrate the tables, where there are any."""

    def health_check(self) -> bool:
        """Return True if the database answers a read now. Never raises."""
        try:
            self.get_agent_runs(limit=1)
        except Exception:
            return False
        return True

    def close(self) -> None:  # nothing to release is a fine answer  # noqa: B027
        """Release connections. Closing twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


async def _in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    import asyncio  # On use: it takes almost as long to import as all of this package.

    return await asyncio.to_thread(call, *args, **kwargs)
