"""What surrounds the frames of a stream: the response's head, its opening, its last frames."""

from __future__ import annotations

import random
from typing import Final

from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response

from chatserve.contracts.streams import StreamReply

REFUSED_RETRY_MS: Final = 5000
"""When a client may reconnect to a server that accepts no more streams."""

_HEADERS: Final = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
"""Headers that keep proxies from buffering or compressing a stream."""

_EVENTS_HEAD: Final = tuple(EventSourceResponse(iter(()), headers=_HEADERS).raw_headers)
"""The head that sse-starlette sends, made once: making one per stream would cost a tenth of a turn."""


def head_of(reply: StreamReply) -> list[tuple[bytes, bytes]]:
    """Return the headers of a stream."""
    own = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.form.framing == "events":
        return [*_EVENTS_HEAD, *own]
    head = Response(None, headers=_HEADERS, media_type=reply.form.media_type).raw_headers
    return [*(field for field in head if field[0] != b"content-length"), *own]


def opening_of(reply: StreamReply) -> bytes:
    """Return the bytes that precede all frames."""
    return (b"retry: %d\n\n" % _retry_ms() if _retries(reply) else b"") + reply.opening


def farewell_of(reply: StreamReply) -> bytes | None:
    """Return the frames that end a stream early when the server stops; None: cut the connection instead."""
    frames = reply.encoder.farewell()
    return b"retry: %d\n%b" % (_retry_ms(), frames) if frames is not None and _retries(reply) else frames


def refusal_of(reply: StreamReply) -> Response:
    """Return a complete stream that only asks the client to reconnect later, as the server accepts no more streams.

    An EventSource that receives a status other than 200 never reconnects.
    """
    retry = b"retry: %d\n" % REFUSED_RETRY_MS if _retries(reply) else b""
    response = Response(retry + (reply.encoder.farewell() or b""))
    response.raw_headers = [*head_of(reply), *(each for each in response.raw_headers if each[0] == b"content-length")]
    return response


def _retries(reply: StreamReply) -> bool:
    """Whether the stream has a reconnection time, which only server-sent events can express."""
    return reply.form.is_resumable and reply.form.framing == "events"


def _retry_ms() -> int:
    """Return a random wait of 1 to 3 s, so that clients do not all reconnect at once after a restart."""
    return 1000 + int(random.random() * 2000)  # noqa: S311 - spreads load, no secret
