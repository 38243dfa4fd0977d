"""Draining when another server stops: some servers notify the application only after all streams have ended."""

from __future__ import annotations

import asyncio

from sse_starlette.sse import AppStatus

from chatserve.engine import TurnEngine

SERVER_POLL_S = 0.25
"""How often `drain_with_server` checks whether the server stops."""


async def drain_with_server(engine: TurnEngine) -> None:
    """Drain when the server that runs the application begins to stop.

    sse-starlette observes uvicorn's signals. It never resets its flag, so a flag that is already set at the start
    belongs to an earlier server.
    """
    if _server_exits():
        return
    while not _server_exits():  # noqa: ASYNC110 - a signal handler sets the flag without waking a task
        await asyncio.sleep(SERVER_POLL_S)
    await engine.drain(engine.settings.drain_timeout_s)
    engine.readers.say_bye()


def _server_exits() -> bool:
    return AppStatus.should_exit
