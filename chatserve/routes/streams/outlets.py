"""Ways to send pieces of a response without waiting: from where they become known, with no task to be woken for them.

ASGI's `send` may wait, so a response awaits it in a task of its own. Where the server is known to wait for one thing
only, a client that is behind with what it was sent, and to frame a piece in one way only, both can be done here: a
third of what a word costs on its way from the log to the socket. Its head and what comes with it go in one piece, too,
for each piece is a call of the kernel. Every other server's `send` is awaited as ever.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.types import Message, Send

from chatserve.engine import Outlet

SERVER_SEND: Final = "chatserve.send"
"""Where the application keeps the server's own `send`: frames need none of what routing wraps around it."""

MAX_PIECE_BYTES: Final = 64 * 1024
"""How much is written in one piece. How far a client is behind is known between pieces only."""

_KNOWN: Final = "uvicorn.protocols.http.httptools_impl"


async def open_outlet(send: Send, server_send: Send | None, head: Message, frames: bytes) -> Outlet | None:
    """Send a response's head and first frames, and return its outlet; None: the server is not known, nothing was sent.

    The head goes through `send`. `server_send` is the server's own: what another application wrapped around it may do
    more.
    """
    cycle = _cycle_of(server_send)
    if cycle is None or server_send is None:
        return None
    with Cork(cycle):
        await send(head)
        await server_send({"type": "http.response.body", "body": frames, "more_body": True})
    return ChunkedOutlet(cycle)


def drop_connection(server_send: Send | None) -> None:
    """Cut the connection of a client that takes nothing, where the server is known.

    A server that only closes it waits for the client to take what is left.
    """
    cycle: Any = getattr(server_send, "__self__", None)
    if type(cycle).__module__.startswith("uvicorn."):
        abort = getattr(getattr(cycle, "transport", None), "abort", None)
        if abort is not None:
            abort()


def _cycle_of(send: Send | None) -> Any:
    """Return uvicorn's state of a response of which nothing is sent, where sending does not wait; None of any other."""
    cycle: Any = getattr(send, "__self__", None)
    try:
        is_known = type(cycle).__module__ == _KNOWN and cycle.transport is not None
        waits = is_known and (cycle.flow.write_paused or cycle.disconnected)
        is_new = is_known and not cycle.response_started and cycle.chunked_encoding is None
    except AttributeError:  # of another version, which has its own ways
        return None
    return cycle if is_new and not waits else None


class ChunkedOutlet:
    """A response of uvicorn's without a length. Source: uvicorn 0.54, `RequestResponseCycle.send`; RFC 9112, 7.1."""

    __slots__ = ("_cycle", "_flow", "_write")

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._write = cycle.transport.write

    def offer(self, frames: bytes) -> bool:
        size = len(frames)
        if self._flow.write_paused or self._cycle.disconnected or size > MAX_PIECE_BYTES:
            return False
        self._write(b"%x\r\n%b\r\n" % (size, frames))
        return True


class Cork:
    """In the place of a response's transport: what is written to it meanwhile reaches the transport in one piece."""

    __slots__ = ("_cycle", "_pieces", "_transport")

    def __init__(self, cycle: Any) -> None:
        self._cycle, self._transport = cycle, cycle.transport
        self._pieces: list[bytes] = []

    def __enter__(self) -> None:
        self._cycle.transport = self

    def __exit__(self, *_: object) -> None:
        self._cycle.transport = self._transport
        self._flush()

    def _flush(self) -> None:
        if self._pieces:
            self._transport.write(b"".join(self._pieces))
            self._pieces.clear()

    def write(self, piece: bytes) -> None:
        """Take what is written."""
        self._pieces.append(piece)

    def close(self) -> None:
        """Close the transport behind what was written: the client wants no other response."""
        self._flush()
        self._transport.close()
