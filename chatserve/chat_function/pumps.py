"""Calls of any kind of function, as one async stream of its output."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from chatserve.chat_function.async_call import AsyncCall
from chatserve.chat_function.call import Awaited, Batch, Blocking, Interpret
from chatserve.chat_function.context import Report, ignore_report
from chatserve.chat_function.sync_call import SyncCall
from chatserve.chat_function.threads import Threads


class MixedCall:
    """A call that may change its kind: a sync function may return a coroutine, an async function an iterator."""

    def __init__(self, first: SyncCall | AsyncCall, interpret: Interpret, threads: Threads) -> None:
        self._call = first
        self._interpret = interpret
        self._threads = threads
        self._hear: Callable[[Report], None] = ignore_report
        self._items: AsyncGenerator[Any, None] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        self._items = self._said()
        return self._items

    async def _said(self) -> AsyncGenerator[Any, None]:
        next_call: SyncCall | AsyncCall | None = self._call
        while next_call is not None:
            self._call, next_call = next_call, None
            async for item in self._call:
                next_call = self._follow_up(item[-1] if type(item) is Batch else item)
                if next_call is None:
                    yield item
                elif type(item) is Batch and len(item) > 1:
                    yield Batch(item[:-1])
            if next_call is not None:
                next_call.when_reported(self._hear)

    def _follow_up(self, last: Any) -> SyncCall | AsyncCall | None:
        if isinstance(last, Awaited):
            return AsyncCall(last.result)
        if isinstance(last, Blocking):
            return SyncCall(lambda: last.iterator, self._interpret, self._threads)
        return None

    def report(self, report: Report) -> None:
        self._call.report(report)

    def when_reported(self, hear: Callable[[Report], None]) -> None:
        self._hear = hear
        self._call.when_reported(hear)

    def is_cancelled(self) -> bool:
        return self._call.is_cancelled()

    def cancel(self) -> None:
        self._call.cancel()

    @property
    def is_running(self) -> bool:
        return self._call.is_running

    async def aclose(self) -> None:
        try:
            if self._items is not None:
                await self._items.aclose()
        finally:
            await self._call.aclose()


def prepare_call(
    invoke: Callable[[], Any], *, is_async: bool, interpret: Interpret, threads: Threads
) -> AsyncCall | MixedCall:
    """Prepare one call of `invoke`. The function's body does not run before the iteration begins."""
    if not is_async:
        return MixedCall(SyncCall(invoke, interpret, threads), interpret, threads)
    result = invoke()
    if isinstance(result, AsyncIterator):
        return AsyncCall(result)
    return MixedCall(AsyncCall(result), interpret, threads)
