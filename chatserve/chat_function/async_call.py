"""Async functions: they run directly in the task that iterates over the call."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

from chatserve.chat_function.call import Blocking
from chatserve.chat_function.context import Report, ignore_report


class AsyncCall:
    """A coroutine function or an async generator."""

    __slots__ = ("_cancelled", "_ended", "_hear", "_results", "_source")

    def __init__(self, result: Any) -> None:
        self._source = result
        self._results: AsyncGenerator[Any, None] | None = None  # only for a coroutine
        self._hear: Callable[[Report], None] = ignore_report
        self._ended = False
        self._cancelled = False

    def __aiter__(self) -> AsyncIterator[Any]:
        if not inspect.isawaitable(self._source):
            return aiter(self._source)
        self._results = self._results_of(self._source)
        return self._results

    async def _results_of(self, coroutine: Any) -> AsyncGenerator[Any, None]:
        result = self._source = await coroutine
        if isinstance(result, AsyncIterator):
            async for value in result:
                yield value
        else:
            yield Blocking(result) if isinstance(result, Iterator) else result

    def report(self, report: Report) -> None:
        """Pass a report on."""
        self._hear(report)

    def when_reported(self, hear: Callable[[Report], None]) -> None:
        self._hear = hear

    def cancel(self) -> None:
        self._cancelled = True

    def is_cancelled(self) -> bool:
        return self._cancelled

    @property
    def is_running(self) -> bool:
        return not self._ended

    async def aclose(self) -> None:
        self._cancelled = True
        try:
            for each in (self._results, self._source):
                close = getattr(each, "aclose", None)
                if close is not None:
                    await close()
            if inspect.iscoroutine(self._source):
                self._source.close()  # it never began
        finally:
            self._ended = True
