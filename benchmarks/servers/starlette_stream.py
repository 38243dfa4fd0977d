"""Starlette's StreamingResponse: an async generator at `/chat`, a sync one at `/chat-sync`, JSON at `/answer`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from benchmarks.servers.answer import stream, stream_sync, whole


async def events(message: str) -> AsyncIterator[str]:
    """Yield the answer as server-sent events."""
    async for token in stream(message):
        yield f'data: {{"text":"{token}"}}\n\n'


def events_sync(message: str) -> Iterator[str]:
    """Yield the answer as server-sent events, from a thread."""
    for token in stream_sync(message):
        yield f'data: {{"text":"{token}"}}\n\n'


async def chat(request: Request) -> StreamingResponse:
    """Stream from an async generator."""
    message = (await request.json())["message"]
    return StreamingResponse(events(message), media_type="text/event-stream")


async def chat_sync(request: Request) -> StreamingResponse:
    """Stream from a sync generator."""
    message = (await request.json())["message"]
    return StreamingResponse(events_sync(message), media_type="text/event-stream")


async def answer(request: Request) -> JSONResponse:
    """Answer at once."""
    return JSONResponse({"text": await whole((await request.json())["message"])})


app = Starlette(
    routes=[
        Route("/chat", chat, methods=["POST"]),
        Route("/chat-sync", chat_sync, methods=["POST"]),
        Route("/answer", answer, methods=["POST"]),
    ]
)
