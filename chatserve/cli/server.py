"""The server process: uvicorn with a drain. Knows the application and its engine, no command and no target.

On SIGTERM or SIGINT readiness becomes 503 and new turns are refused, while connections are still accepted. Running
turns have `drain_timeout_s` to end; then they end as interrupted, with their partial text kept. Every stream sends
`bye`, the store is closed, and the process returns. A second signal ends the wait. `Deadline` ends a process that does
not end by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from chatserve.app import ChatServer
from chatserve.cli.deadline import FORCED_AFTER_S, Deadline
from chatserve.cli.listeners import BACKLOG

logger = logging.getLogger("chatserve.cli")

CLOSING_S: Final = 1.0
"""How long clients may take to read the end of their stream before their connection is cut."""

SWITCH_S: Final = 0.001
"""How long another thread may keep the event loop from running. With Python's own 5 ms, a few functions that compute in
threads delay every stream by tens of milliseconds."""

LEFTOVERS_S: Final = 0.5
"""How long tasks that swallow their cancellation may delay the exit once everything is stored and closed."""


class DrainingServer(uvicorn.Server):
    """Serves one application until a signal, then drains it."""

    def __init__(
        self, app: ChatServer, config: uvicorn.Config, deadline: Deadline, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._app = app
        self._drain_timeout_s = app.settings.drain_timeout_s
        self._deadline = deadline
        self._on_ready = on_ready
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the store, then accept connections. Raises: ConfigurationError."""
        self._loop = asyncio.get_running_loop()
        await self._app.start()
        await super().startup(sockets)
        _spare_the_collector()
        sys.setswitchinterval(SWITCH_S)
        self._on_ready()

    async def main_loop(self) -> None:
        """Serve until a signal, then until the drain is over."""
        await super().main_loop()
        await self._drain()

    async def _drain(self) -> None:
        engine = self._app.engine
        assert engine is not None
        logger.info("stopping: %d turn(s) run, %d stream(s) are open", len(engine.open_turns), len(engine.readers))
        hurrying = asyncio.create_task(self._hurry_up())
        await engine.drain(self._drain_timeout_s)
        hurrying.cancel()
        engine.readers.say_bye()

    async def _hurry_up(self) -> None:
        """Interrupt all running turns after a second signal, so that the drain ends."""
        await self._hurry.wait()
        assert self._app.engine is not None
        await self._app.engine.interrupt_all()
        self._app.engine.readers.say_bye()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, then the store."""
        cut = asyncio.get_running_loop().call_later(CLOSING_S, self._cut_connections)
        await super().shutdown(sockets)
        cut.cancel()
        await self._app.stop()

    def _cut_connections(self) -> None:
        connections = list(self.server_state.connections)
        logger.warning("cutting %d connection(s) that took nothing for %g s", len(connections), CLOSING_S)
        for connection in connections:
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals until the process ends: a late one must not turn a clean exit into a crash."""
        for number in HANDLED_SIGNALS:
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the drain, or at a second signal shorten it. Runs between any two steps of the loop's thread."""
        if self._app.engine is not None:
            self._app.engine.refuse_turns()
        if not self.should_exit:
            self.should_exit = True
            self._deadline.set(self._drain_timeout_s + FORCED_AFTER_S, exit_code=1)
            return
        self._deadline.set(FORCED_AFTER_S, exit_code=1)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hurry.set)


def serve(
    app: ChatServer, listeners: list[socket.socket], *, access_log: bool = False, on_ready: Callable[[], None]
) -> None:
    """Serve until a signal; return once everything is stored and closed. Call `on_ready` once requests are answered.

    Raises:
        ConfigurationError: the store cannot be opened.
    """
    deadline = Deadline()
    config = _config(app, access_log=access_log)
    server = DrainingServer(app, config, deadline, on_ready)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(listeners))
        deadline.set(LEFTOVERS_S, exit_code=0)


def _config(app: ChatServer, *, access_log: bool) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="auto",  # uvloop and httptools where they exist, else asyncio and h11
        http="auto",
        ws="none",
        lifespan="off",  # the server starts and stops the application itself, so that an error is one line
        log_config=None,
        access_log=access_log,
        timeout_keep_alive=app.settings.keep_alive_s,  # type: ignore[arg-type]  # it takes any number of seconds
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=2 * round(CLOSING_S),
    )


def _spare_the_collector() -> None:
    """Keep the garbage collector off the hot path: it skips what start-up made, and runs less often.

    Events are small tuples without cycles; with the default thresholds they would trigger a collection every few
    hundred.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
