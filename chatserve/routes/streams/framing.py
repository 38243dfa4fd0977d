"""What stands around the frames of a stream: the head of its response, what is said first and last."""

from __future__ import annotations

import random
from typing import Final

from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response

from chatserve.contracts.streams import StreamReply

REFUSED_RETRY_MS: Final = 5000
"""When a client may come back to a server that takes no more streams."""

_HEADERS: Final = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
"""What keeps proxies from holding a stream back, and from packing it together."""

_EVENTS_HEAD: Final = tuple(EventSourceResponse(iter(()), headers=_HEADERS).raw_headers)
"""What sse-starlette sends before a stream, made once: one made per stream would cost a tenth of a turn."""


def head_of(reply: StreamReply) -> list[tuple[bytes, bytes]]:
    """Return the headers of a stream."""
    own = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.form.framing == "events":
        return [*_EVENTS_HEAD, *own]
    head = Response(None, headers=_HEADERS, media_type=reply.form.media_type).raw_headers
    return [*(field for field in head if field[0] != b"content-length"), *own]


def opening_of(reply: StreamReply) -> bytes:
    """Return what comes before all frames."""
    return (b"retry: %d\n\n" % _retry_ms() if _retries(reply) else b"") + reply.opening


def farewell_of(reply: StreamReply) -> bytes | None:
    """Return what ends a stream when the server goes away before its end; None: the stream is to be cut."""
    frames = reply.encoder.farewell()
    return b"retry: %d\n%b" % (_retry_ms(), frames) if frames is not None and _retries(reply) else frames


def refusal_of(reply: StreamReply) -> Response:
    """Return the whole stream of a server that takes no more of them: come back later.

    An EventSource that is given another status than 200 never comes back.
    """
    retry = b"retry: %d\n" % REFUSED_RETRY_MS if _retries(reply) else b""
    response = Response(retry + (reply.encoder.farewell() or b""))
    response.raw_headers = [*head_of(reply), *(each for each in response.raw_headers if each[0] == b"content-length")]
    return response


def _retries(reply: StreamReply) -> bool:
    """Whether the client is told when to come back, which server-sent events alone have a word for."""
    return reply.form.is_resumable and reply.form.framing == "events"


def _retry_ms() -> int:
    """Return a wait of 1 to 3 s, different for each client, so that a restart is no stampede."""
    return 1000 + int(random.random() * 2000)  # noqa: S311 - spreads load, guards nothing
