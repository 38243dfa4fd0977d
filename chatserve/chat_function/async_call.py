"""Async functions: stepped by hand in the task that asks for batches.

What a function yields without waiting is handed out together, and so is what it yields within a beat of the last batch:
the first word goes at once, a burst in pieces. Where it does not wait, the loop gets its turn every millisecond.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from time import monotonic
from typing import Any, Final

from chatserve.chat_function.call import Batch, Blocking, Interpret, as_error
from chatserve.chat_function.context import Report

BEAT_S: Final = 0.004
"""How long words are held that come right behind others: a quarter of the time a screen shows an image."""

GIVE_WAY_S: Final = 0.001

Resumption = tuple[Callable[[Any], Any], Any]
"""How a function goes on: a method of the step it is in, and what to call it with, a value or an exception."""


class AsyncCall:
    """A coroutine function or async generator, stepped in the task that iterates."""

    __slots__ = (
        "_cancelled",
        "_ended",
        "_error",
        "_holds_until",
        "_interpret",
        "_is_generator",
        "_is_waiting",
        "_items",
        "_notify",
        "_owes_wait",
        "_source",
        "_step",
        "_waits_for",
    )

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
        self._holds_until = 0.0
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
        """Drive the function until there is a batch to hand out: the hot loop, a turn of it or two per word."""
        if self._ended:
            raise self._ending()
        waits_for, is_owed, self._owes_wait = self._waits_for, self._owes_wait, False
        argument: Any = None
        gives_way_at = 0.0
        while True:
            if not is_owed:
                resume = self._next_step()
            elif not self._items:
                resume, argument = yield from self._wait(waits_for)
            else:
                resumption = yield from self._wait_a_beat(waits_for)
                if resumption is None:
                    return self._hand_out(waits_for)
                resume, argument = resumption
            try:
                waits_for = resume(argument)
                is_owed = True
            except StopIteration as stop:
                self._step = None
                if not self._take(stop.value):
                    break
                now = monotonic()
                gives_way_at = gives_way_at or now + GIVE_WAY_S
                is_owed, waits_for, argument = now > gives_way_at, None, None
            except BaseException as error:  # noqa: BLE001 - handed on after what was said before it
                self._error = self._failure(error)
                break
        return self._hand_out_last()

    def _wait(self, waits_for: Any) -> Generator[Any, Any, Resumption]:
        """Let the loop wait."""
        self._is_waiting = True
        if self._items:
            self._notify()  # reported after the last batch was handed out
        try:
            argument = yield waits_for
        except BaseException as error:  # noqa: BLE001 - thrown into the function, whose it is
            return self._throw(), error
        finally:
            self._is_waiting = False
        return self._send(), argument

    def _wait_a_beat(self, waits_for: Any) -> Generator[Any, Any, Resumption | None]:
        """Let the loop wait while words are held; None when the beat is over first, or all is to end."""
        left_s = self._holds_until - monotonic()
        if left_s <= 0:
            return None
        try:
            if waits_for is None:
                yield
            elif not (yield from _comes_within(waits_for, left_s)):
                return None
        except asyncio.CancelledError as error:
            if waits_for is not None and waits_for.cancel():
                return None  # the function learns of it as it would from its task: where what it waits for ends
            return self._throw(), error
        except BaseException as error:  # noqa: BLE001 - thrown into the function, whose it is
            return self._throw(), error
        return self._send(), None

    def _send(self) -> Callable[[Any], Any]:
        return self._step.send if self._step is not None else self._next_step()

    def _throw(self) -> Callable[[Any], Any]:
        return self._step.throw if self._step is not None else _reraise

    def _next_step(self) -> Callable[[Any], Any]:
        self._step = self._source.__anext__().__await__() if self._is_generator else self._source.__await__()
        step = self._step
        return step.send if hasattr(step, "send") else lambda _argument: next(step)

    def _ending(self) -> BaseException:
        return self._error if self._error is not None else StopAsyncIteration()

    def _failure(self, error: BaseException) -> BaseException | None:
        """Return what went wrong: nothing, when the error is how an async iterator says that it is through."""
        return None if self._is_generator and isinstance(error, StopAsyncIteration) else as_error(error)

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
        return Blocking(value) if isinstance(value, Iterator) else self._interpret(value)

    def _hand_out(self, waits_for: Any) -> Batch:
        """Hand out what there is; the loop is told what the function waits for when the next batch is asked for."""
        self._waits_for, self._owes_wait = waits_for, True
        self._holds_until = monotonic() + BEAT_S
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


def _comes_within(future: Any, left_s: float) -> Generator[Any, Any, bool]:
    """Let the loop wait for what a function waits for, but no longer than this; tell whether it came."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()

    def end(_done: object = None) -> None:
        if not first.done():
            first.set_result(None)

    future.add_done_callback(end)
    timer = loop.call_later(left_s, end)
    try:
        yield from first
    finally:
        timer.cancel()
        future.remove_done_callback(end)
    return bool(future.done())


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
