"""Tasks with an owner that can end them in bounded time.

Not an `asyncio.TaskGroup`: a group waits for ever for a chat function that swallows its cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class OwnedTasks:
    """Tasks that live no longer than their owner wants."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        """Start a task and hold on to it until it has ended."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> None:
        """Start a task nobody waits for."""
        _ = self.start(coroutine, name=name)

    async def finish(self, coroutine: Coroutine[Any, Any, Result], *, name: str) -> Result:
        """Run a coroutine to its end, though whoever waits for it is cancelled."""
        return await asyncio.shield(self.start(coroutine, name=name))

    async def close(self, timeout_s: float) -> int:
        """Cancel what runs, wait at most `timeout_s`, and return how many tasks did not end."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if not tasks:
            return 0
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        return len(pending)
