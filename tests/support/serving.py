"""An application on a real socket in this process, and clients that read it slowly or not at all."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from chatserve.cli.listeners import listen, port_of
from tests.support.engine import until, within
from tests.support.http import Stream, decode_head, encode_request

Address = tuple[str, int]


@asynccontextmanager
async def served(http: str, app: Any) -> AsyncIterator[Address]:
    """Serve an application with uvicorn in this loop, on sockets as the command line's; yield its address."""
    listeners = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http=http, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(listeners))
    await until(lambda: server.started)
    try:
        yield "127.0.0.1", port_of(listeners)
    finally:
        server.should_exit = True
        server.force_exit = True
        await within(serving)


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
