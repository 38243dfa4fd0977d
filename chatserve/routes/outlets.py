"""Ways to send a piece of a response without waiting: from where it becomes known, with no task to be woken for it.

ASGI's `send` may wait, so a response awaits it in a task of its own. Where the server is known to wait for one thing
only, a client that is behind with what it was sent, and to frame a piece in one way only, both can be done here: a
third of what a word costs on its way from the log to the socket. Every other server's `send` is awaited as ever.
"""

from __future__ import annotations

from typing import Any

from starlette.types import Send

from chatserve.engine import Outlet


def outlet_of(send: Send) -> Outlet | None:
    """Return the outlet of a response whose head is sent; None where the server is not known to have one.

    `send` must be the server's own: what another application wrapped around it may do more.
    """
    cycle: Any = getattr(send, "__self__", None)
    if type(cycle).__module__ != "uvicorn.protocols.http.httptools_impl":
        return None
    try:
        return ChunkedOutlet(cycle) if cycle.chunked_encoding is True and not cycle.response_complete else None
    except AttributeError:  # of another version, which has its own ways
        return None


class ChunkedOutlet:
    """A response of uvicorn's without a length. Source: uvicorn 0.54, `RequestResponseCycle.send`; RFC 9112, 7.1."""

    __slots__ = ("_cycle", "_flow", "_write")

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._write = cycle.transport.write

    def offer(self, frames: bytes) -> bool:
        if self._flow.write_paused or self._cycle.disconnected:
            return False
        self._write(b"%x\r\n%b\r\n" % (len(frames), frames))
        return True
