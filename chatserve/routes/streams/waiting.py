"""Waiting for a turn's end while its client waits too, for answers in one piece. Knows no format but the log's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import Request

from chatserve.engine import RunningTurn, TurnEngine
from chatserve.formats.wire.native import NativeEncoder

NATIVE: Final = NativeEncoder()
"""One for all readers, so that every event is encoded once."""

PATIENCE_S: Final = 0.2
"""Turns that end sooner need no watch over the connection."""


async def wait_for_end(engine: TurnEngine, request: Request, turn: RunningTurn) -> None:
    """Return when the turn has ended, or its client has left; then the turn's policy decides what becomes of it."""
    if turn.ended.is_set():
        return
    reader = engine.read_turn(turn, NATIVE)  # counts as somebody who reads
    try:
        async with asyncio.timeout(PATIENCE_S):
            await turn.ended.wait()
    except TimeoutError:
        await _ended_or_left(request, turn)
        leave = on_leave(engine, turn)
        if not turn.ended.is_set() and leave is not None:
            leave()
    finally:
        engine.detach(reader)


async def _ended_or_left(request: Request, turn: RunningTurn) -> None:
    ended = asyncio.ensure_future(turn.ended.wait())
    left = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        left.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def on_leave(engine: TurnEngine, turn: RunningTurn) -> Callable[[], None] | None:
    """Return what is to happen when the client of a turn leaves before its end, if anything is."""
    policy = turn.request.call.on_disconnect or turn.chat.options.on_disconnect
    return (lambda: engine.stop_soon(turn)) if policy == "stop" else None
