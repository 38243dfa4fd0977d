"""An ASGI application of a test, served on loopback in a thread of this process: a peer, not the server under test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

START_TIMEOUT_S = 20


@contextmanager
def serve_in_thread(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port of this process; yield its address."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, *args: Any, **kwargs: Any) -> None:
            await super().startup(*args, **kwargs)
            started.set()

    server = Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert started.wait(START_TIMEOUT_S), "the server did not start"
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
