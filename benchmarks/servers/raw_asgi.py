"""The floor: a bare ASGI application that sends bytes encoded beforehand; `/chat` streams, `/answer` waits."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from benchmarks.servers.answer import TOKEN, stream, whole

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STREAM_HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
JSON_HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
EVENT = {"type": "http.response.body", "body": b'data: {"text":"%b"}\n\n' % TOKEN.encode(), "more_body": True}
END = {"type": "http.response.body", "body": b""}


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer both paths; there is no lifespan to speak of."""
    if scope["type"] != "http":
        return
    message = json.loads((await receive())["body"])["message"]
    if scope["path"] == "/answer":
        await send(JSON_HEAD)
        await send({"type": "http.response.body", "body": json.dumps({"text": await whole(message)}).encode()})
        return
    await send(STREAM_HEAD)
    async for _ in stream(message):
        await send(EVENT)
    await send(END)
