"""Sync functions: each runs in one thread, with one context, from its start to its end.

Items go to the event loop in batches; the thread may be at most `HANDOVER_ITEMS` ahead, and wakes the loop once per
batch. A generator is closed in the thread it ran in.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Any, Final

from chatserve.chat_function.call import Awaited, Batch, Interpret, as_error
from chatserve.chat_function.context import Report
from chatserve.chat_function.threads import Threads
from chatserve.contracts.formats import TextAppended

HANDOVER_ITEMS: Final = 128


class SyncCall:
    """A plain function or generator in a thread of its own. The event loop takes its items in batches."""

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

    # in the function's thread

    def _run(self) -> None:
        try:
            self._say(self._function())
        except BaseException as error:  # noqa: BLE001 - all errors of the thread end here; the turn reports them
            self._error = error
        self._ended = True
        self._wake_loop()

    def _say(self, result: Any) -> None:
        if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
            if not self._put(Awaited(result)) and inspect.iscoroutine(result):
                result.close()
        elif isinstance(result, Iterator):
            self._iterate(result)
        else:
            self._put(self._meaning(result))

    def _iterate(self, iterator: Iterator[Any]) -> None:
        appends = hasattr(iterator, "text_queue")  # a Hugging Face TextIteratorStreamer: its text is always appended
        values = _with_result(iterator) if inspect.isgenerator(iterator) else iterator
        try:
            for value in values:
                if not self._put((TextAppended(value),) if appends else self._meaning(value)):
                    break
        finally:
            close = getattr(values, "close", None)
            if close is not None:
                close()

    def _meaning(self, value: Any) -> Any:
        return value if type(value) is str else self._interpret(value)

    def _put(self, item: Any) -> bool:
        """Hand over one item; wait while the loop is behind. Return False when the call was cancelled."""
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
        self._room.put(None)  # wakes the next thread: the function's other threads may report and wait here, too

    def _wake_loop(self) -> None:
        if self._wake_is_due:
            return
        self._wake_is_due = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: nothing reads any more
            self._cancelled = True

    def report(self, report: Report) -> None:
        """Add a report, in its place among the items."""
        self._put(report)

    def when_reported(self, hear: Callable[[Report], None]) -> None:
        """Do nothing: a thread's reports are in its batches."""

    def is_cancelled(self) -> bool:
        return self._cancelled

    # in the loop

    def __aiter__(self) -> AsyncIterator[Batch]:
        context = contextvars.copy_context()
        self._threads.start(lambda: context.run(self._run))
        return self

    async def __anext__(self) -> Batch:
        while True:
            has_ended = self._ended  # read before the items: those added before the end still count
            if self._items:
                break
            if has_ended:
                if self._error is not None and not self._cancelled:
                    raise as_error(self._error)
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        batch = Batch(self._items)
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


def _with_result(generator: Generator[Any, Any, Any]) -> Iterator[Any]:
    """Yield what a generator yields and, unless it is None, what it returns."""
    result = yield from generator
    if result is not None:
        yield result
