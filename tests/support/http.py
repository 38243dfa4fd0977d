"""HTTP/1.1 as a client that looks closely: one connection for each request, the end of every body seen.

    stream = await open_stream(address, "GET", "/turns/t_1/events", headers={"Last-Event-ID": "7"})
    async for event in stream.events():
        ...
    assert stream.is_whole

A connection that ends before its response does raises `Cut`. For load and faults, where a client library would hide
what happened to a connection, retry by itself, or take too much of the machine. Source: RFC 9112 sections 6 and 7.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.support.sse import SseEvent, read_events

WAIT_S = 20
MAX_HEAD = 64 * 1024
Result = TypeVar("Result")
Address = tuple[str, int]


class Cut(Exception):
    """The connection ended, or was refused, before the response was whole."""


@dataclass(frozen=True)
class Response:
    """A whole response; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def version(self) -> int:
        """The session's version, as the ETag tells it."""
        return int(self.headers["etag"].strip('"'))


@dataclass
class Stream:
    """A response whose body is read as it comes. `is_whole`: it ended as HTTP says, not with the connection."""

    status: int
    headers: Mapping[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_s: float
    is_whole: bool = False
    rest: bytes = field(default=b"", init=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises: Cut."""
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                while size := int(await self._within(self.reader.readline()) or b"x", 16):
                    yield (await self._within(self.reader.readexactly(size + 2)))[:-2]
                await self._within(self.reader.readexactly(2))
            elif self.status != 204:
                yield await self._within(self.reader.readexactly(int(self.headers.get("content-length", 0))))
            self.is_whole = True
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            raise Cut(repr(error)) from error

    async def events(self) -> AsyncIterator[SseEvent]:
        """Yield the events of a stream; a block that is not ended is not dispatched. Raises: Cut."""
        async for chunk in self.chunks():
            *blocks, self.rest = (self.rest + chunk).split(b"\n\n")
            for block in blocks:
                for event in read_events([*block.decode().split("\n"), ""]):
                    yield event

    async def response(self) -> Response:
        """Return the whole response. Raises: Cut."""
        return Response(self.status, self.headers, b"".join([chunk async for chunk in self.chunks()]))

    def close(self) -> None:
        """Leave, as a client does that has seen enough."""
        self.writer.transport.abort()

    async def _within(self, awaitable: Awaitable[Result]) -> Result:
        return await asyncio.wait_for(awaitable, self.idle_s)


async def open_stream(
    address: Address,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    idle_s: float = WAIT_S,
) -> Stream:
    """Send a request and return its response as soon as the head is there. Raises: Cut."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(*address, limit=MAX_HEAD), idle_s)
    except (OSError, TimeoutError) as error:
        raise Cut(repr(error)) from error
    try:
        writer.write(encode_request(address, method, path, body, headers or {}))
        status, fields = decode_head(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), idle_s))
    except (OSError, EOFError, TimeoutError) as error:
        writer.transport.abort()
        raise Cut(repr(error)) from error
    except BaseException:
        writer.transport.abort()
        raise
    return Stream(status, fields, reader, writer, idle_s)


@asynccontextmanager
async def streaming(
    address: Address, method: str, path: str, body: Any = None, **options: Any
) -> AsyncIterator[Stream]:
    """Open a stream, and leave it at the end of the block. Raises: Cut."""
    stream = await open_stream(address, method, path, body, **options)
    try:
        yield stream
    finally:
        stream.close()


async def request(address: Address, method: str, path: str, body: Any = None, **options: Any) -> Response:
    """Send a request and return the whole response. Raises: Cut."""
    async with streaming(address, method, path, body, **options) as stream:
        return await stream.response()


def address_of(url: str) -> Address:
    """Return host and port of `http://host:port`."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def encode_request(address: Address, method: str, path: str, body: Any, headers: Mapping[str, str]) -> bytes:
    """Return a request as bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": f"{address[0]}:{address[1]}", "Connection": "close", **headers}
    if body is not None:
        fields["Content-Type"] = "application/json"
    if method != "GET":
        fields["Content-Length"] = str(len(content))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


def decode_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Return status and fields of a response's head."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines if line)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in fields}
