"""What every running call of a chat function can do, whatever kind of function it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, Protocol, TypeAlias

from chatserve.chat_function.context import Report

Interpret: TypeAlias = Callable[[object], Any]
"""Makes an immutable meaning of a value that is no string."""


class Batch(list[Any]):
    """What a thread has said since it was last listened to, in its order: strings, `Report`s, what `interpret` made."""

    __slots__ = ()


def join_deltas(items: Sequence[Any]) -> Iterator[Any]:
    """Join neighbouring strings: deltas that are told together are one event."""
    for is_text, group in groupby(items, lambda item: type(item) is str):
        if is_text:
            yield "".join(group)
        else:
            yield from group


def skip_snapshots(items: Sequence[Any]) -> Iterator[Any]:
    """Leave out each string that the next one extends: snapshots that are told together are one event."""
    for item, after in pairwise((*items, None)):
        if not (type(item) is str and type(after) is str and after.startswith(item)):
            yield item


class Call(Protocol):
    """One running call of a chat function."""

    def begin(self) -> None:
        """Let the function begin."""
        ...

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over what the function says: values as it gave them, and `Batch`es of values already interpreted."""
        ...

    def report(self, report: Report) -> None:
        """Take what the function reports. Callable from any thread."""
        ...

    def when_reported(self, hear: Callable[[Report], None]) -> None:
        """Let `hear` be called, in any thread, with reports that are in no batch: those of async functions."""
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


class Awaited:
    """What a sync function returned for the loop to run: a coroutine or an async generator."""

    __slots__ = ("result",)

    def __init__(self, result: Any) -> None:
        self.result = result


class Blocking:
    """What an async function returned for a thread to run: a plain iterator, whose steps may block."""

    __slots__ = ("iterator",)

    def __init__(self, iterator: Iterator[Any]) -> None:
        self.iterator = iterator


def as_error(error: BaseException) -> BaseException:
    """Return what is raised for an error that would otherwise mean the end of an iteration."""
    if not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    failure = RuntimeError(f"the chat function raised {type(error).__name__}")
    failure.__cause__ = error
    return failure
