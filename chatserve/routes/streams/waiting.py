"""Waiting on behalf of a client, for a turn's end or a stream's first frames, unless it leaves. Knows no format."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable
from typing import Final, TypeVar

from starlette.requests import Request

from chatserve.core.errors import RequestError
from chatserve.engine import Reader, RunningTurn, TurnEngine

Result = TypeVar("Result")

PATIENCE_S: Final = 0.2
"""How long to wait before the connection is watched; many turns end sooner."""


class ClientLeft(RequestError):
    """The client disconnected before its answer was complete."""

    code = "client_left"
    status_code = 499


async def wait_for_end(engine: TurnEngine, request: Request, turn: RunningTurn) -> None:
    """Return when the turn has ended or its client has left; then `on_disconnect` decides whether the turn goes on."""
    if turn.ended.is_set():
        return
    with engine.awaited(turn):
        try:
            async with asyncio.timeout(PATIENCE_S):
                await turn.ended.wait()
        except TimeoutError:
            try:
                await unless_left(request, turn.ended.wait())
            except ClientLeft:
                release_turns(engine, [turn])


async def unless_left(request: Request, awaitable: Awaitable[Result]) -> Result:
    """Return the result of an awaitable. Raises: ClientLeft, and what the awaitable raises."""
    waited = asyncio.ensure_future(awaitable)
    left = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({waited, left}, return_when=asyncio.FIRST_COMPLETED)
        if not waited.done():
            raise ClientLeft("the client left before its answer was there")
        return waited.result()
    finally:
        waited.cancel()
        left.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def release_turns(engine: TurnEngine, turns: Iterable[RunningTurn]) -> None:
    """Stop those of the turns that their chats stop when the client leaves."""
    for turn in turns:
        if (turn.request.call.on_disconnect or turn.chat.options.on_disconnect) == "stop":
            engine.stop_soon(turn)


def release_served(engine: TurnEngine, reader: Reader, turn_ids: Collection[str]) -> None:
    """Stop the turns of a stream whose client has left, where `on_disconnect` says so."""
    release_turns(engine, [turn for turn in engine.turns_in(reader.room) if turn.turn_id in turn_ids])
