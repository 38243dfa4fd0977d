"""Draining with a server that is not ours: for servers that wait for streams to end before they tell anybody."""

from __future__ import annotations

import asyncio

from sse_starlette.sse import AppStatus

from chatserve.engine import TurnEngine

SERVER_POLL_S = 0.25
"""How often `drain_with_server` looks."""


async def drain_with_server(engine: TurnEngine) -> None:
    """Drain when the server around begins to stop.

    sse-starlette sees uvicorn's signals. Its flag is never taken back: one that is set already is an earlier server's.
    """
    if _server_exits():
        return
    while not _server_exits():  # noqa: ASYNC110 - a signal handler sets the flag, and wakes nobody
        await asyncio.sleep(SERVER_POLL_S)
    await engine.drain(engine.settings.drain_timeout_s)
    engine.readers.say_bye()


def _server_exits() -> bool:
    return AppStatus.should_exit
