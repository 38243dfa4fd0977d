"""Model SDKs talking to a server that is a canned body, so that what tests read is what the real SDK makes of it."""

from collections.abc import Iterable
from typing import Any

import httpx2

from chatserve import codec


def http_client(events: Iterable[dict[str, Any]] | dict[str, Any]) -> httpx2.Client:
    """Return a client whose every request is answered with these events as SSE, or with this JSON object."""
    if isinstance(events, dict):
        response = httpx2.Response(200, content=codec.dumps(events), headers={"content-type": "application/json"})
        return httpx2.Client(transport=httpx2.MockTransport(lambda _: response))
    lines = [_event_line(event) + f"data: {codec.dumps(event).decode()}\n\n" for event in events]
    body = "".join([*lines, "data: [DONE]\n\n" * ("choices" in lines[0])])
    headers = {"content-type": "text/event-stream"}
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, text=body, headers=headers)))


def _event_line(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\n" if "type" in event else ""
