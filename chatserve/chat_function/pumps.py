"""Running the function as one async stream of batches, whatever kind of function it is.

Values are interpreted where and when they are yielded (`interpret` copies what matters of them), since the function may
change an object after it has yielded it. Strings are passed as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from chatserve.chat_function.async_call import AsyncCall
from chatserve.chat_function.call import Awaited, Batch, Blocking, Interpret
from chatserve.chat_function.context import Report
from chatserve.chat_function.sync_call import SyncCall
from chatserve.chat_function.threads import Threads


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
        if isinstance(last, Awaited):
            return AsyncCall(last.result, self._interpret)
        if isinstance(last, Blocking):
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


def _ignore() -> None:
    """Stand in until somebody wants to be told."""
