"""One running call of a chat function: the contract for sync and async functions, and what its items mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, Protocol, TypeAlias

from chatserve.chat_function.context import Report
from chatserve.core.frozen import frozen

Interpret: TypeAlias = Callable[[object], Any]
"""Turns a value other than a string into an immutable description of what it means."""


class Batch(list[Any]):
    """The items a thread has produced since the last batch, in order: strings, `Report`s, results of `interpret`."""

    __slots__ = ()


def join_deltas(items: Sequence[Any]) -> Iterator[Any]:
    """Join neighbouring strings: deltas that arrive together become one event."""
    for is_text, group in groupby(items, lambda item: type(item) is str):
        if is_text:
            yield "".join(group)
        else:
            yield from group


def skip_snapshots(items: Sequence[Any]) -> Iterator[Any]:
    """Leave out each string that the next one extends: snapshots that arrive together become one event."""
    for item, after in pairwise((*items, None)):
        if not (type(item) is str and type(after) is str and after.startswith(item)):
            yield item


class Call(Protocol):
    """One running call of a chat function."""

    def __aiter__(self) -> AsyncIterator[Any]:
        """Start the function, and iterate over its output: raw values, and `Batch`es of values already interpreted."""
        ...

    def report(self, report: Report) -> None:
        """Accept a report of the function. Callable from any thread."""
        ...

    def when_reported(self, hear: Callable[[Report], None]) -> None:
        """Call `hear`, in any thread, with each report that is in no batch: those of async functions."""
        ...

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        ...

    def cancel(self) -> None:
        """Ask the function to stop: `ctx.cancelled` becomes true, a sync generator is closed at its next step."""
        ...

    async def aclose(self) -> None:
        """Close the function's generator. Waits for an async function to end, but not for a thread."""
        ...

    @property
    def is_running(self) -> bool:
        """True until the function's code has ended."""
        ...


@frozen
class Awaited:
    """The result of a sync function that the event loop must run: a coroutine or an async generator."""

    result: Any


@frozen
class Blocking:
    """The result of an async function that a thread must run: a plain iterator, whose steps may block."""

    iterator: Iterator[Any]


def as_error(error: BaseException) -> BaseException:
    """Return the error to raise: StopIteration and StopAsyncIteration would look like the end of an iteration."""
    if not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    failure = RuntimeError(f"the chat function raised {type(error).__name__}")
    failure.__cause__ = error
    return failure
