"""Requests to an ASGI application in a thread, without sockets. Knows nothing of chats."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from chatserve.codec import loads

Result = TypeVar("Result")
START_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body's JSON value."""
        return loads(self.body)


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. The names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def scope(self) -> dict[str, Any]:
        """The request as an ASGI application is told of it."""
        route, _, query = self.path.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote(route),
            "raw_path": route.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 80),
            "state": {},
        }


class LoopThread:
    """An event loop in a thread of its own, from `start` to `close`."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(),), name="chatserve-testing", daemon=True)

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._ready.set()
        await self._closing.wait()

    def start(self) -> None:
        """Start the loop."""
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise TimeoutError(f"the event loop did not start within {START_TIMEOUT_S} s")

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, Result], timeout_s: float, what: str) -> Result:
        """Run a coroutine in the loop and return its result. Raises: what it raises; TimeoutError."""
        future = self.submit(coroutine)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if future.done():
                raise
            future.cancel()
            raise TimeoutError(f"{what} took longer than {timeout_s:g} s") from None

    def close(self, timeout_s: float) -> None:
        """Cancel the tasks that still run, and end the loop. Raises: TimeoutError."""
        self.loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(f"the event loop did not end within {timeout_s:g} s: a task swallows its cancellation")


class Exchange:
    """One request, and the part of its response that has arrived. The body grows while the test looks at it."""

    def __init__(self, thread: LoopThread, app: ASGIApp, request: Request) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_complete = False
        self._request = request
        self._messages: list[Message] = [{"type": "http.request", "body": request.body, "more_body": False}]
        self._changed = threading.Condition()
        self._left = asyncio.Event()
        self._loop = thread.loop
        self._future = thread.submit(self._run(app))
        self._future.add_done_callback(self._wake)

    async def _run(self, app: ASGIApp) -> None:
        await app(self._request.scope, self._receive, self._send)

    def _wake(self, _future: Future[None]) -> None:
        with self._changed:
            self._changed.notify_all()

    async def _receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        with self._changed:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
            else:
                self.body += message.get("body", b"")
                self.is_complete = not message.get("more_body", False)
            self._changed.notify_all()

    def wait_until(self, has_come: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `has_come` returns true or the response has ended; return which.

        Raises:
            TimeoutError: neither happened in time.
            Exception: what the application raised before its response ended.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: has_come() or self._is_over(), timeout_s):
                raise TimeoutError(f"{self._request} was not answered within {timeout_s:g} s")
        if not self.is_complete and self._future.done():
            self._future.result()
        return has_come()

    def _is_over(self) -> bool:
        return self.is_complete or self._future.done()

    def response(self, timeout_s: float) -> Response:
        """Return the whole response. Raises: as `wait_until`."""
        if not self.wait_until(lambda: self.is_complete, timeout_s) or self.status is None:
            raise RuntimeError(f"the application did not answer {self._request}")
        return Response(self.status, self.headers, bytes(self.body))

    def leave(self) -> None:
        """Close the connection, as a client does that leaves."""
        self._loop.call_soon_threadsafe(self._left.set)
