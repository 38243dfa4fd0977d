"""Running the function: an async stream of batches, whatever kind of function it is.

An async function is stepped by hand in the task that asks for batches: what it yields without waiting is handed out
together, and no longer than `BATCH_SECONDS` goes by, or `BATCH_ITEMS` items, before the loop gets its turn. A sync
function has a thread to itself for its whole life, with one context; its yields cross over in batches, at most
`HANDOVER_ITEMS` ahead, and its generator is closed in that same thread.

Values are interpreted where and when they are yielded (`interpret` copies what matters of them), since the function may
change an object after it has yielded it. Strings are passed as they are.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias

from chatserve.chat_function.context import Report
from chatserve.chat_function.threads import Threads
from chatserve.contracts import TextAppended

BATCH_ITEMS: Final = 64
BATCH_SECONDS: Final = 0.001
HANDOVER_ITEMS: Final = 64

Interpret: TypeAlias = Callable[[object], Any]
"""Makes an immutable meaning of a value that is no string."""

Batch: TypeAlias = list[Any]
"""Strings, `Report`s, and whatever `interpret` returned, in the order in which the function said them."""


class Call(Protocol):
    """One running call of a chat function."""

    def begin(self) -> None:
        """Let the function begin."""
        ...

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    def report(self, report: Report) -> None:
        """Take what the function reports, in its place among the items. Callable from the function's thread."""
        ...

    def when_reported(self, notify: Callable[[], None]) -> None:
        """Let `notify` be called, in any thread, when `take_reports` has something that would otherwise wait."""
        ...

    def take_reports(self) -> Batch:
        """Return what an async function's other tasks and threads reported while it waits; call it in the loop."""
        ...

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        ...

    def cancel(self) -> None:
        """Let the function stop: `ctx.cancelled` turns true, a sync generator is closed at its next step."""
        ...

    async def aclose(self) -> None:
        """Close what is still open. Returns when an async function has ended; a thread is not waited for."""
        ...

    @property
    def is_running(self) -> bool:
        """True while the function's code has not ended."""
        ...


class AsyncCall:
    """A coroutine function or async generator, stepped in the task that iterates."""

    def __init__(self, result: Any, interpret: Interpret) -> None:
        self._interpret = interpret
        self._items: Batch = []
        self._source = result
        self._is_generator = not inspect.isawaitable(result)
        self._step: Any = None  # the coroutine or `__anext__` the function is suspended in
        self._waits_for: Any = None  # what it waits for, when the loop was not told yet
        self._owes_wait = False
        self._is_waiting = False
        self._notify: Callable[[], None] = _ignore
        self._error: BaseException | None = None
        self._ended = False
        self._cancelled = False

    def begin(self) -> None:
        """Do nothing: the function begins when the first batch is asked for."""

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    def __anext__(self) -> AsyncCall:  # awaitable itself: no coroutine per batch
        return self

    def report(self, report: Report) -> None:
        """Take what the function reports, in its place among the items."""
        self._items.append(report)
        if self._is_waiting:
            self._notify()

    def when_reported(self, notify: Callable[[], None]) -> None:
        self._notify = notify

    def take_reports(self) -> Batch:
        if not self._is_waiting:
            return []  # they are handed out with what the function says next
        reports, self._items = self._items, []
        return reports

    def cancel(self) -> None:
        self._cancelled = True

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    @property
    def is_running(self) -> bool:
        return not self._ended

    def __await__(self) -> Generator[Any, Any, Batch]:
        """Drive the function until there is a batch to hand out."""
        if self._ended:
            raise self._ending()
        argument: Any = None
        if self._owes_wait:
            self._owes_wait = False
            resume, argument = yield from self._wait(self._waits_for)
        else:
            resume = self._next_step()
        deadline = 0.0
        while True:
            try:
                waits_for = resume(argument)
            except StopIteration as stop:
                self._step = None
                if not self._take(stop.value):
                    break
                deadline = deadline or perf_counter() + BATCH_SECONDS
                if len(self._items) >= BATCH_ITEMS or perf_counter() > deadline:
                    return self._hand_out(None)
                resume, argument = self._next_step(), None
            except BaseException as error:  # noqa: BLE001 - handed on after what was said before it
                self._error = self._failure(error)
                break
            else:
                if self._items:
                    return self._hand_out(waits_for)
                resume, argument = yield from self._wait(waits_for)
        return self._hand_out_last()

    def _wait(self, waits_for: Any) -> Generator[Any, Any, tuple[Callable[[Any], Any], Any]]:
        """Let the loop wait, and return how to resume: with a value or with an exception (a cancel, say)."""
        self._is_waiting = True
        if self._items:
            self._notify()  # reported after the last batch was handed out
        try:
            argument = yield waits_for
        except BaseException as error:  # noqa: BLE001 - thrown into the function, whose it is
            return (self._step.throw if self._step is not None else _reraise), error
        finally:
            self._is_waiting = False
        return (self._step.send if self._step is not None else self._next_step()), argument

    def _next_step(self) -> Callable[[Any], Any]:
        self._step = self._source.__anext__().__await__() if self._is_generator else self._source.__await__()
        step = self._step
        return step.send if hasattr(step, "send") else lambda _argument: next(step)

    def _ending(self) -> BaseException:
        return self._error if self._error is not None else StopAsyncIteration()

    def _failure(self, error: BaseException) -> BaseException | None:
        """Return what went wrong: nothing, when the error is how an async iterator says that it is through."""
        return None if self._is_generator and isinstance(error, StopAsyncIteration) else _as_error(error)

    def _take(self, value: Any) -> bool:
        """Take what a step gave; False when that was the end."""
        try:
            if self._is_generator:
                self._items.append(value if type(value) is str else self._interpret(value))
            elif isinstance(value, AsyncIterator):
                self._source, self._is_generator = value, True
            else:
                self._items.append(self._returned(value))
                return False
        except Exception as error:  # noqa: BLE001 - the value is no answer; handed on after what was said before it
            self._error = error
            return False
        return True

    def _returned(self, value: Any) -> Any:
        if type(value) is str:
            return value
        return _Blocking(value) if isinstance(value, Iterator) else self._interpret(value)

    def _hand_out(self, waits_for: Any) -> Batch:
        """Hand out what there is; the loop is told what the function waits for when the next batch is asked for."""
        self._waits_for, self._owes_wait = waits_for, True
        items, self._items = self._items, []
        return items

    def _hand_out_last(self) -> Batch:
        """Hand out what was said before the end; the end itself comes when more is asked for."""
        self._ended = True
        if not self._items:
            raise self._ending()
        return self._hand_out(None)

    async def aclose(self) -> None:
        self._cancelled = True
        try:
            if self._step is not None and not self._ended:
                await _Unwinding(self._unwind())
            close = getattr(self._source, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._ended = True

    def _unwind(self) -> Generator[Any, Any, None]:
        """Cancel the function where it waits, as its task would, and let it clean up."""
        resume, argument = self._step.throw, asyncio.CancelledError()
        if self._owes_wait and self._waits_for is not None and self._waits_for.cancel():
            resume, argument = yield from self._wait(self._waits_for)
        while True:
            try:
                waits_for = resume(argument)
            except (StopIteration, StopAsyncIteration, asyncio.CancelledError):
                return
            resume, argument = yield from self._wait(waits_for)


class _Unwinding:
    """Makes a generator awaitable."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[Any, Any, None]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, None]:
        return self._steps


def _ignore() -> None:
    """Stand in until somebody wants to be told."""


def _reraise(error: BaseException) -> Any:
    raise error


def _as_error(error: BaseException) -> BaseException:
    """Return what is raised for an error that would otherwise mean the end of an iteration."""
    if not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    failure = RuntimeError(f"the chat function raised {type(error).__name__}")
    failure.__cause__ = error
    return failure


class SyncCall:
    """A plain function or generator in a thread of its own; the loop takes what it yields in batches."""

    def __init__(self, function: Callable[[], Any], interpret: Interpret, threads: Threads) -> None:
        self._function = function
        self._interpret = interpret
        self._loop = asyncio.get_running_loop()
        self._items: deque[Any] = deque()
        self._room: SimpleQueue[None] = SimpleQueue()
        self._thread_waits = False
        self._wake_is_due = False
        self._waiter: asyncio.Future[None] | None = None
        self._cancelled = False
        self._ended = False
        self._error: BaseException | None = None
        self._threads = threads

    def begin(self) -> None:
        """Let the thread begin."""
        context = contextvars.copy_context()
        self._threads.start(lambda: context.run(self._run))

    # in the function's thread

    def _run(self) -> None:
        try:
            self._say(self._function())
        except BaseException as error:  # noqa: BLE001 - the one place a thread's exceptions end; the turn reports them
            self._error = error
        self._ended = True
        self._wake_loop()

    def _say(self, result: Any) -> None:
        if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
            if not self._put(_Awaited(result)) and inspect.iscoroutine(result):
                result.close()
        elif isinstance(result, Iterator):
            self._iterate(result)
        else:
            self._put(self._meaning(result))

    def _iterate(self, iterator: Iterator[Any]) -> None:
        appends = hasattr(iterator, "text_queue")  # a Hugging Face TextIteratorStreamer, whose text is always appended
        try:
            for value in iterator:
                if not self._put((TextAppended(value),) if appends else self._meaning(value)):
                    break
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _meaning(self, value: Any) -> Any:
        return value if type(value) is str else self._interpret(value)

    def _put(self, item: Any) -> bool:
        """Hand one item over; wait while the loop is behind. False once nobody wants more."""
        if len(self._items) >= HANDOVER_ITEMS:
            self._wait_for_room()
        if self._cancelled:
            return False
        self._items.append(item)
        self._wake_loop()
        return True

    def _wait_for_room(self) -> None:
        while len(self._items) >= HANDOVER_ITEMS and not self._cancelled:
            self._thread_waits = True
            if len(self._items) >= HANDOVER_ITEMS and not self._cancelled:
                self._room.get()
        self._room.put(None)  # for other threads of the function, which report and wait as this one did

    def _wake_loop(self) -> None:
        if self._wake_is_due:
            return
        self._wake_is_due = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: nobody reads any more
            self._cancelled = True

    def report(self, report: Report) -> None:
        """Take what the function reports, in its place among the items."""
        self._put(report)

    def when_reported(self, notify: Callable[[], None]) -> None:
        """Do nothing: reports of threads wake the loop as all they say."""

    def take_reports(self) -> Batch:
        return []

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    # in the loop

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        while True:
            has_ended = self._ended  # asked first: what was said before the end counts
            if self._items:
                break
            if has_ended:
                if self._error is not None and not self._cancelled:
                    raise _as_error(self._error)
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        batch = list(self._items)
        for _ in batch:
            self._items.popleft()
        self._make_room()
        return batch

    def _wake(self) -> None:
        self._wake_is_due = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _make_room(self) -> None:
        if self._thread_waits:
            self._thread_waits = False
            self._room.put(None)

    def cancel(self) -> None:
        self._cancelled = True
        self._room.put(None)

    @property
    def is_running(self) -> bool:
        return not self._ended

    async def aclose(self) -> None:
        self.cancel()


class _Awaited:
    """What a sync function returned for the loop to run: a coroutine or an async generator."""

    __slots__ = ("result",)

    def __init__(self, result: Any) -> None:
        self.result = result


class _Blocking:
    """What an async function returned for a thread to run: a plain iterator, whose steps may block."""

    __slots__ = ("iterator",)

    def __init__(self, iterator: Iterator[Any]) -> None:
        self.iterator = iterator


class MixedCall:
    """A call that may change its kind: a sync function may return a coroutine, an async one an iterator."""

    def __init__(self, first: SyncCall | AsyncCall, interpret: Interpret, threads: Threads) -> None:
        self._call = first
        self._interpret = interpret
        self._threads = threads
        self._notify: Callable[[], None] = _ignore

    def begin(self) -> None:
        """Let the function begin."""
        self._call.begin()

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        batch = await self._call.__anext__()
        follow_up = self._follow_up(batch[-1]) if batch else None
        if follow_up is None:
            return batch
        self._call = follow_up
        follow_up.when_reported(self._notify)
        follow_up.begin()
        return batch[:-1] or await self._call.__anext__()

    def _follow_up(self, last: Any) -> SyncCall | AsyncCall | None:
        if isinstance(last, _Awaited):
            return AsyncCall(last.result, self._interpret)
        if isinstance(last, _Blocking):
            return SyncCall(lambda: last.iterator, self._interpret, self._threads)
        return None

    def report(self, report: Report) -> None:
        """Take what the function reports, in its place among the items."""
        self._call.report(report)

    def when_reported(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._call.when_reported(notify)

    def take_reports(self) -> Batch:
        return self._call.take_reports()

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._call.is_cancelled()

    def cancel(self) -> None:
        self._call.cancel()

    @property
    def is_running(self) -> bool:
        return self._call.is_running

    async def aclose(self) -> None:
        await self._call.aclose()


def prepare_call(
    invoke: Callable[[], Any], *, is_async: bool, interpret: Interpret, threads: Threads
) -> AsyncCall | MixedCall:
    """Prepare one call of `invoke`; nothing of the function runs before `begin` and the first batch."""
    if not is_async:
        return MixedCall(SyncCall(invoke, interpret, threads), interpret, threads)
    result = invoke()
    if isinstance(result, AsyncIterator):
        return AsyncCall(result, interpret)
    return MixedCall(AsyncCall(result, interpret), interpret, threads)
