"""A TCP proxy on loopback that breaks connections: cuts them at a byte, resets them, or stalls.

    async with open_proxy(address_of(server.url)) as proxy:
        proxy.faults.append(Fault(after_bytes=100, kind="reset"))

Each connection takes the first of `faults` and suffers it; without one it is carried as it is. `upstream` may change
when the server moves. Knows nothing of HTTP.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

Address = tuple[str, int]
RESET = struct.pack("ii", 1, 0)
PIECE = 64 * 1024
WAIT_S = 20


@dataclass(frozen=True)
class Fault:
    """What befalls a connection once so many bytes of the answer have passed."""

    after_bytes: int
    kind: Literal["close", "reset", "stall"]


@dataclass
class Proxy:
    """A running proxy. `cuts` counts the faults that have come to pass."""

    upstream: Address
    address: Address = ("", 0)
    faults: deque[Fault] = field(default_factory=deque)
    cuts: int = 0
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        self.connections.add(writer)
        fault = self.faults.popleft() if self.faults else None
        try:
            await self._carry(reader, writer, fault)
        except OSError:
            reset(writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self.upstream)
        asking = asyncio.create_task(_pass_on(reader, up_writer))
        answering = asyncio.create_task(_pass_on(up_reader, writer, None if fault is None else fault.after_bytes))
        try:
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
            if fault is not None and answering.done() and not answering.result():
                await self._suffer(fault, writer, asking)
        finally:
            for task in (asking, answering):
                task.cancel()
            up_writer.transport.abort()
            await asyncio.gather(asking, answering, return_exceptions=True)

    async def _suffer(self, fault: Fault, writer: asyncio.StreamWriter, asking: asyncio.Task[bool]) -> None:
        self.cuts += 1
        if fault.kind == "stall":
            await asking  # until the client has lost patience
        elif fault.kind == "reset":
            reset(writer)

    def drop_all(self) -> int:
        """Reset all connections; return how many there were."""
        writers = list(self.connections)
        for writer in writers:
            reset(writer)
        return len(writers)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None = None) -> bool:
    """Pass bytes on until their end, or until `limit` of them have passed: then False."""
    while piece := await reader.read(PIECE if limit is None else min(PIECE, limit)) if limit != 0 else b"":
        writer.write(piece)
        await writer.drain()
        limit = None if limit is None else limit - len(piece)
    return limit != 0


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@asynccontextmanager
async def open_proxy(upstream: Address) -> AsyncIterator[Proxy]:
    """Run a proxy in this event loop until the block ends."""
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.address = server.sockets[0].getsockname()[:2]
    try:
        yield proxy
    finally:
        server.close()
        proxy.drop_all()


class ThreadedProxy:
    """A proxy in a loop and thread of its own, for tests that are not asynchronous."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self.proxy = proxy
        self._loop = loop

    def drop_all(self) -> int:
        """Reset all connections; return how many there were."""

        async def drop() -> int:
            return self.proxy.drop_all()

        return asyncio.run_coroutine_threadsafe(drop(), self._loop).result(WAIT_S)


@contextmanager
def proxy_in_thread(upstream: Address) -> Iterator[ThreadedProxy]:
    """Run a proxy in a thread until the block ends."""
    opened: list[ThreadedProxy] = []
    is_open, is_over = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with open_proxy(upstream) as proxy:
            opened.append(ThreadedProxy(proxy, asyncio.get_running_loop()))
            is_open.set()
            await is_over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert is_open.wait(WAIT_S), "the proxy did not start"
    try:
        yield opened[0]
    finally:
        opened[0]._loop.call_soon_threadsafe(is_over.set)
        thread.join(WAIT_S)
