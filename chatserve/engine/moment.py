"""What happens once, and who waits for it."""

from __future__ import annotations

import asyncio


class Moment:
    """An `asyncio.Event` that is never cleared. While nobody waits it is next to nothing: every turn has two."""

    __slots__ = ("_is_set", "_waits")

    def __init__(self) -> None:
        self._is_set = False
        self._waits: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Whether it has come."""
        return self._is_set

    def set(self) -> None:
        """Let it come."""
        self._is_set = True
        waits, self._waits = self._waits, None
        for wait in waits or ():
            if not wait.done():
                wait.set_result(None)

    async def wait(self) -> None:
        """Return when it has come."""
        if self._is_set:
            return
        if self._waits is None:
            self._waits = []
        wait = asyncio.get_running_loop().create_future()
        self._waits.append(wait)
        await wait
