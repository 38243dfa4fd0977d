"""A hand-written endpoint over sse-starlette, as a careful developer writes it: numbered events, no sessions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.servers.answer import stream


async def events(message: str) -> AsyncIterator[dict[str, str]]:
    """Yield the answer as events with an id and a name, then `done`."""
    number = 0
    async for token in stream(message):
        number += 1
        yield {"id": str(number), "event": "delta", "data": json.dumps({"text": token})}
    yield {"id": str(number + 1), "event": "done", "data": "{}"}


async def chat(request: Request) -> EventSourceResponse:
    """Stream the answer."""
    return EventSourceResponse(events((await request.json())["message"]))


app = Starlette(routes=[Route("/chat", chat, methods=["POST"])])
