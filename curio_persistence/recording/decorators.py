"""Record functions without changing them: `@persistence.recorded(…)` for runs, `@tool` for tools.

Functions, coroutines, generators and asynchronous generators are taken. A generator is recorded
from its first item to its last, and what it yields is its result. A function that returns a
coroutine is recorded until that has been awaited.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import wraps
from types import CoroutineType
from typing import Any, NamedTuple, TypeVar, cast, overload

from curio_persistence.errors import UnsupportedError
from curio_persistence.recording.context import current_run
from curio_persistence.recording.repair import as_json_text

F = TypeVar("F", bound=Callable[..., Any])
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Recording(NamedTuple):
    """The way in which calls of a function are recorded.

    `begin` returns the block for one call, given its arguments and whether it is awaited; None
    records nothing. `keep` puts a result into the entered block; what a generator yields is
    collected for it only where `keeps_results`.
    """

    begin: Callable[[Arguments, bool], Any]
    keep: Callable[[Any, Any], None]
    keeps_results: bool


def recorded(
    persistence: Any,
    agent_id: str | Callable[..., Any] | None = None,
    *,
    capture_args: bool = True,
    capture_result: bool = True,
    awaited_only: bool = False,
    **run: Any,
) -> Callable[[F], F]:
    """See `BasePersistence.recorded`."""
    if callable(agent_id):
        name = _name_of(agent_id, "__name__")
        raise UnsupportedError(f"Write @persistence.recorded() with parentheses above {name}.")

    def decorate(function: F) -> F:
        named = _reader_of_arguments(function)
        given = {"agent_id": agent_id or _name_of(function, "__qualname__"), **run}

        def begin(arguments: Arguments, awaits: bool) -> Any:
            if not capture_args:
                return persistence.record_run(**given)
            return persistence.record_run(**{"objective": _objective(named(arguments)), **given})

        def keep(block: Any, result: Any) -> None:
            if capture_result:
                block.agent_run.final_synthesis_output = as_json_text(result)

        recording = Recording(begin, keep, capture_result)
        return _wrapped(function, recording, awaited_only=awaited_only)

    return _of_methods_too(decorate)


@overload
def tool(function: F) -> F: ...
@overload
def tool(
    *, name: str | None = None, capture_args: bool = True, capture_result: bool = True
) -> Callable[[F], F]: ...
def tool(
    function: Any = None,
    *,
    name: str | None = None,
    capture_args: bool = True,
    capture_result: bool = True,
) -> Any:
    """Record each call of a function as a tool call of the current run: `@tool` or `@tool(…)`.

    Outside of all runs the function is called and nothing is recorded. `name` is the tool's, by
    default the function's.
    """

    def decorate(function: F) -> F:
        named = _reader_of_arguments(function)
        called = name or _name_of(function, "__name__")

        def begin(arguments: Arguments, awaits: bool) -> Any:
            run: Any = current_run()
            if run is None:
                return None
            recorder = run._awaited if awaits and run._awaited is not None else run
            return recorder.tool(called, named(arguments) if capture_args else None)

        def keep(block: Any, result: Any) -> None:
            if capture_result:
                block.result = result

        return _wrapped(function, Recording(begin, keep, capture_result))

    if isinstance(function, str):
        raise UnsupportedError(f"Give a tool's name by its keyword: @tool(name={function!r:.80}).")
    decorator = _of_methods_too(decorate)
    return decorator if function is None else decorator(function)


def _of_methods_too(decorate: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that may stand above `@staticmethod` and `@classmethod` as well."""

    def call(function: Any) -> Any:
        if isinstance(function, staticmethod | classmethod):
            method: Any = function.__func__
            return type(function)(decorate(method))
        return decorate(function)

    return call


def _name_of(function: Any, attribute: str) -> str:
    """Return the name of a function, of that in a `partial`, or of the class of an object."""
    function = getattr(function, "func", function)
    name: str = getattr(function, attribute, None) or getattr(type(function), attribute)
    return name


def _objective(arguments: Mapping[str, Any]) -> Any:
    """Return the only argument, if it is text, else all by name."""
    values = list(arguments.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else arguments or ""


def _reader_of_arguments(function: Any) -> Callable[[Arguments], dict[str, Any]]:
    """Return a function that tells the arguments of a call by name, without `self`."""
    import inspect  # On use: it takes a tenth of the time that the package takes to import.

    if isinstance(function, type) or not callable(function):
        raise UnsupportedError(
            f"{function!r:.80} is not a function. Decorate the method that does the work."
        )
    try:
        signature = inspect.signature(function)
    except ValueError:  # Some functions written in C do not tell theirs.
        signature = inspect.signature(lambda *args, **kwargs: None)

    def named(arguments: Arguments) -> dict[str, Any]:
        try:
            bound = signature.bind(*arguments[0], **arguments[1]).arguments
        except TypeError:  # The call itself raises it.
            return {}
        return {name: value for name, value in bound.items() if name not in ("self", "cls")}

    return named


def _wrapped(function: F, recording: Recording, *, awaited_only: bool = False) -> F:
    import inspect

    called: Any = (function, getattr(type(function), "__call__"))  # noqa: B004, B009
    if any(map(inspect.isasyncgenfunction, called)):
        wrap = _async_generator
    elif any(map(inspect.iscoroutinefunction, called)):
        wrap = _coroutine
    elif awaited_only:
        raise UnsupportedError(
            f"{function!r:.80} is not awaited. Record it in a blocking persistence."
        )
    elif any(map(inspect.isgeneratorfunction, called)):
        wrap = _generator
    else:
        wrap = _function
    wrapped: Any = wraps(function)(wrap(function, recording))
    return cast("F", wrapped)


def _function(function: Any, recording: Recording) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        if (block := recording.begin((args, kwargs), False)) is None:
            return function(*args, **kwargs)
        block.__enter__()
        try:
            result = function(*args, **kwargs)
            if isinstance(result, CoroutineType):  # Which does the work when it is awaited.
                block._leave_context()
                return _rest(block, result, recording)
            recording.keep(block, result)
        except BaseException as error:
            block.__exit__(type(error), error, error.__traceback__)
            raise
        block.__exit__(None, None, None)
        return result

    return call


async def _rest(block: Any, work: Any, recording: Recording) -> Any:
    """Await the coroutine that a function returned, in the block that was entered for it."""
    block._enter_context(sys._getframe())
    try:
        result = await work
        recording.keep(block, result)
    except BaseException as error:
        block.__exit__(type(error), error, error.__traceback__)
        raise
    block.__exit__(None, None, None)
    return result


class _Blocking:
    """A block of a blocking recorder around a coroutine: its writes block the event loop."""

    def __init__(self, block: Any) -> None:
        self._block = block

    async def __aenter__(self) -> Any:
        self._block._start()
        self._block._enter_context(sys._getframe(1))
        return self._block

    async def __aexit__(self, *raised: Any) -> None:
        self._block.__exit__(*raised)


def _awaited(block: Any) -> Any:
    return block if hasattr(block, "__aenter__") else _Blocking(block)


def _coroutine(function: Any, recording: Recording) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        if (block := recording.begin((args, kwargs), True)) is None:
            return await function(*args, **kwargs)
        async with _awaited(block) as entered:
            result = await function(*args, **kwargs)
            recording.keep(entered, result)
            return result

    return call


def _generator(function: Any, recording: Recording) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        if (block := recording.begin((args, kwargs), False)) is None:
            return (yield from function(*args, **kwargs))
        items: list[Any] = []
        with block as entered:
            try:
                collect = items.append if recording.keeps_results else _ignore
                returned = yield from _collected(function(*args, **kwargs), collect)
            except BaseException:
                recording.keep(entered, _joined(items))
                raise
            recording.keep(entered, _joined(items) if returned is None else returned)
            return returned

    return call


def _ignore(item: Any) -> None:
    """Do nothing with an item that is not kept."""


def _collected(generator: Any, collect: Callable[[Any], None]) -> Any:
    """Do as `yield from` does, and collect what is yielded."""
    resume, argument = generator.send, None
    while True:
        try:
            item = resume(argument)
        except StopIteration as stop:
            return stop.value
        collect(item)
        try:
            resume, argument = generator.send, (yield item)
        except GeneratorExit:
            generator.close()
            raise
        except BaseException as error:
            resume, argument = generator.throw, error


def _async_generator(function: Any, recording: Recording) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        block = recording.begin((args, kwargs), True)
        items: list[Any] = []
        collect = items.append if block is not None and recording.keeps_results else _ignore
        async with nullcontext() if block is None else _awaited(block) as entered:
            resume, argument = generator.asend, None
            try:  # As `yield from` does, which there is not in asynchronous generators.
                while True:
                    item = await resume(argument)
                    collect(item)
                    try:
                        resume, argument = generator.asend, (yield item)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume, argument = generator.athrow, error
            except StopAsyncIteration:
                pass
            finally:
                if block is not None:
                    recording.keep(entered, _joined(items))
                await generator.aclose()

    return call


def _joined(items: list[Any]) -> Any:
    """Return texts as one text, as they are the chunks of an answer; else the list."""
    return "".join(items) if items and all(isinstance(item, str) for item in items) else items
