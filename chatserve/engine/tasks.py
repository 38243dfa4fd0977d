"""Tasks with an owner that can end them in bounded time, and events that tasks wait for.

This is not an `asyncio.TaskGroup`, which would wait forever for a chat function that suppresses its cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class OwnedTasks:
    """Tasks that their owner can cancel together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        """Start a task and keep a reference to it until it has ended."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> None:
        """Start a task whose result is not awaited."""
        _ = self.start(coroutine, name=name)

    async def finish(self, coroutine: Coroutine[Any, Any, Result], *, name: str) -> Result:
        """Run a coroutine to its end, even if its caller is cancelled."""
        return await asyncio.shield(self.start(coroutine, name=name))

    async def close(self, timeout_s: float) -> int:
        """Cancel the running tasks, wait at most `timeout_s`, and return how many did not end."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if not tasks:
            return 0
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        return len(pending)


class Moment:
    """An `asyncio.Event` that is never cleared. It is cheap while no task waits, as every turn has three."""

    __slots__ = ("_is_set", "_waits")

    def __init__(self) -> None:
        self._is_set = False
        self._waits: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._is_set

    def set(self) -> None:
        """Set the moment and wake the waiting tasks."""
        self._is_set = True
        waits, self._waits = self._waits, None
        for wait in waits or ():
            if not wait.done():
                wait.set_result(None)

    async def wait(self) -> None:
        """Wait until `set` is called."""
        if self._is_set:
            return
        if self._waits is None:
            self._waits = []
        wait = asyncio.get_running_loop().create_future()
        self._waits.append(wait)
        await wait
