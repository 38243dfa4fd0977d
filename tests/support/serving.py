"""An application on a real socket in this process, and clients that read it slowly or not at all."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from chatserve.cli.listeners import listen
from tests.support.engine import until, within
from tests.support.http import Address, Stream, decode_head, encode_request


@asynccontextmanager
async def running(http: str, app: Any) -> AsyncIterator[uvicorn.Server]:
    """Serve an application with uvicorn in this loop, on sockets as the command line's."""
    server = uvicorn.Server(uvicorn.Config(app, http=http, log_level="critical", lifespan="off"))
    listeners = listen("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve(listeners))
    await until(lambda: server.started)
    try:
        yield server
    finally:
        server.should_exit = True
        server.force_exit = True
        await within(serving)


def address_of(server: uvicorn.Server) -> Address:
    """Return where a server listens."""
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return host, port


@asynccontextmanager
async def served(http: str, app: Any) -> AsyncIterator[Address]:
    """Serve an application as `running` does; yield its address."""
    async with running(http, app) as server:
        yield address_of(server)


async def open_slowly(address: Address, method: str, path: str, body: Any, headers: Any) -> Stream:
    """Ask for a response of which next to nothing is taken until it is read, not even by the kernel."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, address)
    reader, writer = await asyncio.open_connection(sock=sock, limit=2048)
    writer.write(encode_request(address, method, path, body, headers))
    status, fields = decode_head(await within(reader.readuntil(b"\r\n\r\n")))
    return Stream(status, fields, reader, writer, idle_s=20)
